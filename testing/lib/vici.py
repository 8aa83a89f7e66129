# SPDX-License-Identifier: Apache-2.0
"""strongSwan's control protocol (vici), as much of it as the tests need."""
import socket
import struct

from .proc import Failure

CMD_REQUEST, CMD_RESPONSE, CMD_UNKNOWN, EVENT_REGISTER, EVENT_UNREGISTER, EVENT_CONFIRM, EVENT_UNKNOWN, EVENT = range(8)
SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = range(1, 7)


def encode(message):
    """A dict of strings, lists and dicts as vici writes it."""
    out = b""
    for key, value in message.items():
        name = bytes([len(key)]) + key.encode()
        if isinstance(value, dict):
            out += bytes([SECTION_START]) + name + encode(value) + bytes([SECTION_END])
        elif isinstance(value, (list, tuple)):
            out += bytes([LIST_START]) + name
            for item in value:
                out += bytes([LIST_ITEM]) + _text(item)
            out += bytes([LIST_END])
        else:
            out += bytes([KEY_VALUE]) + name + _text(value)
    return out


def _text(value):
    raw = str(value).encode()
    return struct.pack("!H", len(raw)) + raw


def decode(data):
    """The inverse of encode()."""
    root = {}
    stack, current_list, at = [root], None, 0

    def name():
        nonlocal at
        size = data[at]
        at += 1 + size
        return data[at - size:at].decode(errors="replace")

    def text():
        nonlocal at
        size = struct.unpack_from("!H", data, at)[0]
        at += 2 + size
        return data[at - size:at].decode(errors="replace")

    while at < len(data):
        kind = data[at]
        at += 1
        if kind == SECTION_START:
            section = {}
            stack[-1][name()] = section
            stack.append(section)
        elif kind == SECTION_END:
            stack.pop()
        elif kind == KEY_VALUE:
            key = name()
            stack[-1][key] = text()
        elif kind == LIST_START:
            current_list = []
            stack[-1][name()] = current_list
        elif kind == LIST_ITEM:
            current_list.append(text())
        elif kind != LIST_END:
            raise Failure(f"vici: unknown element {kind}")
    return root


class Session:
    """A connection to a charon. Usable as a context manager."""

    def __init__(self, path, timeout=30):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(path)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def _read(self, size):
        data = b""
        while len(data) < size:
            chunk = self.sock.recv(size - len(data))
            if not chunk:
                raise Failure("vici: charon closed the connection")
            data += chunk
        return data

    def _packet(self):
        packet = self._read(struct.unpack("!I", self._read(4))[0])
        return packet[0], packet[1:]

    def _send(self, kind, name, body=b""):
        packet = bytes([kind, len(name)]) + name.encode() + body
        try:
            self.sock.sendall(struct.pack("!I", len(packet)) + packet)
        except OSError as err:
            raise Failure(f"vici: {err}") from None

    def request(self, command, message=None, event=None):
        """Sends a command and returns (answer, events): the events are those named `event` that came before it."""
        events = []
        try:
            if event:
                self._send(EVENT_REGISTER, event)
                kind, _ = self._packet()
                if kind != EVENT_CONFIRM:
                    raise Failure(f"vici: no event {event}")
            self._send(CMD_REQUEST, command, encode(message or {}))
            while True:
                kind, data = self._packet()
                if kind == EVENT:
                    events.append(decode(data[1 + data[0]:]))
                elif kind == CMD_RESPONSE:
                    return decode(data), events
                else:
                    raise Failure(f"vici: charon does not know the command {command}")
        except socket.timeout:
            raise Failure(f"vici: no answer to {command}: {events[-3:]}") from None
