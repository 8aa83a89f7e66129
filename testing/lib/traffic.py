# SPDX-License-Identifier: Apache-2.0
"""Traffic through a tunnel: pings and checked TCP transfers."""
import hashlib
import os
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

from .proc import Failure, require, run_status, wait_for


def ping(ns, address, count=3, size=56, source=None, deadline=15):
    """Sends `count` pings and returns how many were answered."""
    argv = ["ping", "-n", "-c", str(count), "-i", "0.2", "-W", "3", "-w", str(deadline), "-s", str(size), address]
    if source:
        argv[1:1] = ["-I", source]
    _, out = run_status(ns.argv(*argv), timeout=deadline + 10)
    found = re.search(r"(\d+) received", out)
    if not found:
        raise Failure(f"ping {address} in {ns.label}: {out.strip()[-300:]}")
    return int(found.group(1))


def unanswered(ns, address, sources):
    """Pings from each of many addresses, some at a time; those that got no answer."""
    with ThreadPoolExecutor(16) as some:
        got = some.map(lambda source: ping(ns, address, count=2, source=source), sources)
        return [source for source, n in zip(sources, got) if n == 0]


def require_ping(ns, address, **kw):
    """At least one answer within the deadline. A first packet may be lost while a route or an SA settles."""
    got = wait_for(lambda: ping(ns, address, **kw), f"ping {address} from {ns.label} to be answered", timeout=20)
    return got


def require_no_ping(ns, address):
    got = ping(ns, address, count=2, deadline=4)
    require(got == 0, f"{got} pings from {ns.label} to {address} were answered; none should be")


def transfer(sender, receiver, address, size=2 << 20, timeout=60):
    """Sends `size` bytes over one TCP connection to `address` in the receiver's namespace and compares both ends' hashes.
    Unlike a ping this also finds a wrong MTU, and reordering or corruption in the data path."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    result = {}
    listener = receiver.socket(family, socket.SOCK_STREAM)
    client = sender.socket(family, socket.SOCK_STREAM)
    try:
        listener.settimeout(timeout)
        client.settimeout(timeout)
        listener.bind((address, 0))
        listener.listen(1)

        def receive():
            digest, total = hashlib.sha256(), 0
            try:
                conn, _ = listener.accept()
                with conn:
                    conn.settimeout(timeout)
                    while chunk := conn.recv(65536):
                        digest.update(chunk)
                        total += len(chunk)
                    conn.sendall(digest.digest())
                result["bytes"] = total
            except OSError as err:
                result["error"] = err

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        block = os.urandom(65521)  # of no length that packets have: what comes in another order is another stream
        digest = hashlib.sha256()
        client.connect(listener.getsockname())
        left = size
        while left > 0:
            piece = block[:min(left, len(block))]
            client.sendall(piece)
            digest.update(piece)
            left -= len(piece)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while len(answer) < 32 and (chunk := client.recv(32 - len(answer))):
            answer += chunk
        thread.join(timeout)
    except OSError as err:
        raise Failure(f"TCP transfer of {size} bytes from {sender.label} to {address}: {err}") from None
    finally:
        client.close()
        listener.close()
    require("error" not in result, f"TCP receiver in {receiver.label}: {result.get('error')}")
    require(answer == digest.digest(), f"TCP transfer to {address}: the receiver's hash differs ({result.get('bytes')} "
                                       f"of {size} bytes)")
