# SPDX-License-Identifier: Apache-2.0
"""How long a gateway takes to answer liveness checks, as its peer sees it: the times at which INFORMATIONAL requests leave the
peer's interface and their answers arrive there, by the kernel's clock."""
import socket
import struct
import threading

from lib.proc import require

ETH_P_ALL, SO_TIMESTAMPNS, SO_RCVBUFFORCE, OUTGOING = 3, 35, 33, 4
INFORMATIONAL, RESPONSE = 37, 0x20


class Rtt:
    """Runs from the moment it is made to stop()."""

    def __init__(self, ns, device):
        self.sent, self.took = {}, []
        self._done = threading.Event()
        self._sock = ns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self._sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._sock.bind((device, ETH_P_ALL))
        self._sock.settimeout(0.1)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def stop(self):
        self._done.set()
        self._thread.join()
        self._sock.close()

    def _loop(self):
        while not self._done.is_set():
            try:
                frame, control, _, address = self._sock.recvmsg(128, 256)
            except socket.timeout:
                continue
            except OSError:
                return
            for level, kind, data in control:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, nanos = struct.unpack("qq", data[:16])
                    self._packet(frame, seconds + nanos / 1e9, address[2] == OUTGOING)

    def _packet(self, frame, when, outgoing):
        if len(frame) < 14 + 20 + 8 + 28 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
            return
        ike = frame[14 + (frame[14] & 15) * 4 + 8:]
        if ike[:4] == b"\0\0\0\0":
            ike = ike[4:]
        if len(ike) < 28 or ike[18] != INFORMATIONAL:
            return
        key, response = (ike[:16], ike[20:24]), ike[19] & RESPONSE
        if outgoing and not response:
            # a repetition counts from the first
            self.sent.setdefault(key, when)
        elif not outgoing and response and key in self.sent:
            self.took.append((when - self.sent.pop(key)) * 1000)

    def quantiles(self, least=20):
        """(median, 99th percentile) in milliseconds, and how many there were."""
        took = sorted(self.took)
        require(len(took) >= least, f"only {len(took)} liveness checks were answered")
        return took[len(took) // 2], took[min(len(took) - 1, int(len(took) * 0.99))], len(took)
