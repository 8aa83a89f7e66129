# SPDX-License-Identifier: Apache-2.0
"""A data plane without IKE: testing/esp/tun_host in a namespace, with keys of the test's making."""
import os
import select
import subprocess
import time

from .proc import SLOW, Failure, require, run_status

PORT = 4500
# encr, bytes of key with salt, integ, bytes of its key
SUITES = {
    "aes128gcm16": (20, 20, 0, 0), "aes256gcm16": (20, 36, 0, 0), "aes128gcm8": (18, 20, 0, 0),
    "aes128ccm16": (16, 19, 0, 0), "chacha20poly1305": (28, 36, 0, 0), "null-aes128gmac": (21, 20, 0, 0),
    "aes128ctr-sha256": (13, 20, 12, 32), "aes128-sha1": (12, 16, 2, 20), "aes256-sha512": (12, 32, 14, 64),
    "3des-sha256": (3, 24, 12, 32), "null-sha256": (11, 0, 12, 32), "camellia128-sha256": (23, 16, 12, 32),
    "aes128-xcbc": (12, 16, 5, 16), "aes128-cmac": (12, 16, 8, 16),
}


class Host:
    """tun_host in a namespace, and a conversation with it."""

    def __init__(self, ns, args, *settings, stderr=None):
        self.ns = ns
        self.events = []
        self.buffer = b""
        self.process = subprocess.Popen(
            ns.argv("setpriv", "--pdeathsig", "KILL", args.host, args.plugins, str(PORT), *settings),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        require(self._answer() == [], "tun_host said something before it was ready")

    def _line(self, timeout):
        end = time.monotonic() + timeout * SLOW
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                raise Failure(f"tun_host ended with status {self.process.wait()}")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def _answer(self):
        lines = []
        while True:
            line = self._line(10)
            require(line is not None, "tun_host does not answer")
            if line == "ok":
                return lines
            if line.startswith("error"):
                raise Failure(f"tun_host: {line}")
            (self.events if line.startswith("event") else lines).append(line)

    def __call__(self, command, **options):
        options = {k.rstrip("_"): v for k, v in options.items() if v is not None}
        self.process.stdin.write(" ".join([command, *(f"{k}={v}" for k, v in options.items())]).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def event(self, begin, timeout=5):
        """Waits for an event and takes it."""
        end = time.monotonic() + timeout * SLOW
        while True:
            for e in self.events:
                if e.startswith("event " + begin):
                    self.events.remove(e)
                    return e
            line = self._line(max(0, end - time.monotonic()) / SLOW)
            require(line is not None, f"no event {begin}; there were {self.events}")
            self.events.append(line)

    def counters(self):
        return {k: int(v) for k, v in (line.split("=") for line in self("counters"))}

    def sa(self, **which):
        return {k: int(v) for k, v in (x.split("=") for x in self("sa-query", **which)[0].split())}

    def quit(self):
        self("quit")
        status = self.process.wait(10 * SLOW)
        require(status == 0, f"tun_host ended with status {status}")

    def kill(self):
        self.process.kill()
        self.process.wait()


def ping(ns, to, *options, count=3, ok=True):
    status, out = run_status(ns.argv("ping", "-n", "-q", "-i", "0.05", "-W", "2", "-c", str(count), *options, to))
    require((status == 0) == ok, f"ping {to}: {'no' if ok else 'an'} answer: {out.strip()[-300:]}")
