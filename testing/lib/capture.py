# SPDX-License-Identifier: Apache-2.0
"""What really passes over a wire: raw packet sockets in the namespaces at its ends, and counters by kind of packet.

As a program, for the shell scripts (see main() below): python3 -m lib.capture NAMESPACE:DEVICE,... SECONDS PREFIX..."""
import ipaddress
import json
import signal
import socket
import struct
import sys
import threading
from collections import Counter

from .net import Namespace
from .proc import Failure, require

ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 3, 263, 6, 33
OUTGOING = 4  # sll_pkttype
IKE_SKF = 53  # "encrypted and authenticated fragment", RFC 7383
IKE_V1_FRAGMENT = 132  # of IKEv1, by the vendors


class Capture:
    """Counts the packets that leave through one device, until stop(). Only those that leave: the kernel shows the
    packets that it has decrypted as coming in on the device once more. Kinds: esp (protocol 50), espudp, ike,
    ikefrag (also counted as ike), keepalive, inner (an address of a private network in clear), fragment (of IP), other.
    `size` are the bytes of the IP packets, `spis` the ESP SPIs seen, `ports` the UDP source ports of IKE and ESP,
    `exchanges` the IKE exchange types."""

    def __init__(self, ns, device, inner):
        self.ns = ns
        self.inner = [ipaddress.ip_network(x) for x in inner]
        self.count = Counter()
        self.size = Counter()
        self.spis = Counter()
        self.exchanges = Counter()
        self.ports = set()
        self.examples = []
        self.lost = 0
        self._done = threading.Event()
        self._sock = ns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._sock.bind((device, ETH_P_ALL))
        self._sock.settimeout(0.1)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def stop(self):
        """Ends the capture after what the kernel has queued was read."""
        if self._done.is_set():
            return
        self._done.set()
        self._thread.join()
        self.lost = struct.unpack("II", self._sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        self._sock.close()

    def _loop(self):
        while True:
            try:
                frame, address = self._sock.recvfrom(160)
            except socket.timeout:
                if self._done.is_set():
                    return
                continue
            except OSError:  # the device went away
                return
            if address[2] == OUTGOING:
                kind, size = self._classify(frame)
                self.count[kind] += 1
                self.size[kind] += size

    def _classify(self, frame):
        proto = struct.unpack_from("!H", frame, 12)[0] if len(frame) >= 14 else 0
        packet = frame[14:]
        if proto == 0x0800 and len(packet) >= 20:
            head = (packet[0] & 15) * 4
            size, frag, next_proto = struct.unpack_from("!2xH2xHxB", packet)
            src, dst = ipaddress.ip_address(packet[12:16]), ipaddress.ip_address(packet[16:20])
            later_fragment = frag & 0x1FFF
        elif proto == 0x86DD and len(packet) >= 40:
            head, next_proto = 40, packet[6]
            size = 40 + struct.unpack_from("!H", packet, 4)[0]
            src, dst = ipaddress.ip_address(packet[8:24]), ipaddress.ip_address(packet[24:40])
            later_fragment = 0
            if next_proto == 44 and len(packet) >= 48:
                head, next_proto = 48, packet[40]
                later_fragment = struct.unpack_from("!H", packet, 42)[0] >> 3
        else:
            return "other", len(packet)
        if any(a in n for n in self.inner for a in (src, dst) if a.version == n.version):
            if len(self.examples) < 5:
                self.examples.append(f"{src} > {dst} protocol {next_proto}")
            return "inner", size
        if later_fragment:
            return "fragment", size
        body = packet[head:]
        if next_proto == 50 and len(body) >= 4:
            self.spis[body[:4].hex()] += 1
            return "esp", size
        if next_proto == 17 and len(body) >= 8:
            return self._classify_udp(body), size
        return "other", size

    def _classify_udp(self, body):
        sport, dport, length = struct.unpack_from("!HHH", body)
        payload = body[8:]
        if 4500 in (sport, dport):
            if length == 9 and payload[:1] == b"\xff":
                return "keepalive"
            self.ports.add(sport)
            if payload[:4] != b"\0\0\0\0":
                self.spis[payload[:4].hex()] += 1
                return "espudp"
            payload = payload[4:]
        elif 500 in (sport, dport):
            self.ports.add(sport)
        else:
            return "other"
        if len(payload) >= 28:
            self.exchanges[payload[18]] += 1
            if payload[16] in (IKE_SKF, IKE_V1_FRAGMENT):
                self.count["ikefrag"] += 1
        return "ike"


class Wire:
    """The packets on the wire between two gateways, each seen where it leaves. A context manager."""

    def __init__(self, ends, inner):
        """`ends`: (namespace, device) of both."""
        self.ends = [Capture(ns, device, inner) for ns, device in ends]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        for end in self.ends:
            end.stop()

    def total(self, kind):
        return sum(end.count[kind] for end in self.ends)

    def summary(self):
        return "; ".join(f"{end.ns.label} sent " + (", ".join(f"{n} {k}" for k, n in sorted(end.count.items())) or "nothing")
                         for end in self.ends)

    def least(self, kinds=("esp", "espudp")):
        """The ESP packets of the end that sent fewer."""
        return min(sum(end.count[k] for k in kinds) for end in self.ends)

    def require_encrypted(self, packets, kinds=("esp", "espudp")):
        """Stops, and holds that each end sent at least `packets` ESP packets, and none of a private network in clear."""
        self.stop()
        for end in self.ends:
            require(end.lost == 0, f"the capture on {end.ns.label} lost {end.lost} packets")
            require(end.count["inner"] == 0, f"{end.ns.label} sent {end.count['inner']} packets in clear: "
                                             f"{'; '.join(end.examples)}")
            seen = sum(end.count[k] for k in kinds)
            require(seen >= packets, f"{end.ns.label} sent only {seen} ESP packets, not {packets} ({self.summary()})")


def main(argv):
    """Counts until SIGTERM, or for SECONDS; prints "ready" first and one line of JSON at the end."""
    if len(argv) < 2:
        raise SystemExit("usage: capture NAMESPACE:DEVICE,... SECONDS [PREFIX...]")
    ends = [end.split(":") for end in argv[0].split(",")]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    wire = Wire([(Namespace(ns, ns), device) for ns, device in ends], argv[2:])
    print("ready", flush=True)
    stop.wait(float(argv[1]))
    wire.stop()
    total = sum((end.count for end in wire.ends), Counter())
    json.dump({**total, "lost": sum(end.lost for end in wire.ends), "examples": wire.ends[0].examples}, sys.stdout)
    print()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Failure, OSError) as err:
        raise SystemExit(f"capture: {err}") from None
