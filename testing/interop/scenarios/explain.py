# SPDX-License-Identifier: Apache-2.0
"""What the daemon says about itself, while what it should find is done to it."""
import json
import os
import re
import signal
import socket
import subprocess
import time

from interop.registry import scenario
from lib.proc import Failure, require

FLOOD = 30000  # small datagrams: more than the receive buffer of 4 MiB holds


def ours_in_userspace(initiator, responder, backend):
    return initiator == responder == "cygnet" and backend == "userspace"


def flood(bed):
    """Datagrams to a daemon that is stopped, as one that does not get a CPU."""
    out = bed.right.ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with out:
        out.connect((bed.site.left_addr, 500))
        for _ in range(FLOOD):
            try:
                out.send(b"x" * 64)
            except OSError:
                pass


def finding(answer, name):
    found = [f for f in answer["findings"] if f["id"] == name]
    require(found, f"the doctor does not find {name}, but {[f['id'] for f in answer['findings']]}")
    return found[0]


def check_openmetrics(text):
    lines = text.splitlines()
    require(lines and lines[-1] == "# EOF", "metrics do not end with # EOF")
    family, kinds = None, {}
    for line in lines[:-1]:
        declared = re.fullmatch(r"# TYPE ([a-z_]+) (counter|gauge|info)", line)
        if declared:
            family, kind = declared.groups()
            require(family not in kinds, f"{family} is there twice")
            kinds[family] = kind
            continue
        if line.startswith("# "):
            require(line.split()[2] == family, f"{line} is not about {family}")
            continue
        suffix = {"counter": "_total", "gauge": "", "info": "_info"}[kinds[family]]
        require(re.fullmatch(re.escape(family + suffix) + r'(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? [-0-9.e+]+', line),
                f"no sample of {family}: {line}")


@scenario(ours_in_userspace)
def doctor(bed):
    """usage, cpus and metrics of a tunnel with traffic; the doctor sees a receive queue that overflows"""
    bed.start(bed.conn())
    bed.left.up()
    bed.wait_up()
    bed.traffic(transfer_size=0)

    usage = bed.left.query("usage")
    mine = [c for c in usage["connections"] if c["name"] == "net-net"]
    require(mine and mine[0]["count"] > 0, f"usage does not know the connection: {usage['connections']}")
    require(any(e["exchange"] == "IKE_AUTH" for e in usage["exchanges"]), "usage does not know the IKE_AUTH exchange")
    require(any(t["name"].startswith("cygnet-esp") for t in usage["threads"]), "usage does not know the ESP thread")

    cpus = bed.left.query("cpus", "0.2")
    require(cpus["sa_cpus_known"], "kernel-tun does not say which CPU carries what")
    directions = sorted((s["direction"], s["thread"]) for s in cpus["sas"])
    require(directions == [("in", 0), ("out", 0)], f"cpus lists {directions}")
    require(all(s["cpu"] in [c["cpu"] for c in cpus["cpus"]] for s in cpus["sas"]), "an SA is on no CPU")
    require(sum(c["sas_in"] for c in cpus["cpus"]) == 1, "the inbound SA is not on one CPU")

    metrics = bed.left.ipsec("metrics")
    check_openmetrics(metrics)
    received = re.search(r'^cygnet_connection_received_packets_total\{connection="net-net"\} (\d+)$', metrics, re.M)
    require(received and int(received[1]) > 0, "metrics count no packet of the connection")

    watching = subprocess.Popen(bed.left.ns.argv(*bed.left.tool_argv("doctor", "6", "--json")), stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(1)
        os.kill(bed.left.process.pid, signal.SIGSTOP)
        try:
            flood(bed)
        finally:
            os.kill(bed.left.process.pid, signal.SIGCONT)
        answer = json.loads(watching.communicate(timeout=60)[0])
    except subprocess.TimeoutExpired:
        raise Failure("the doctor does not answer") from None
    finally:
        watching.kill()
    full = finding(answer, "receive-queue")
    require(full["level"] == "limits" and full["value"] > 0, f"{full}")
    require("port 500" in full["text"] and "bytes" in full["text"] and full["advice"], f"{full}")
    require(answer["limits"] >= 1, "nothing limits it, it says")
    again = finding(bed.left.query("doctor", "1"), "receive-queue")
    require(again["level"] == "past", f"it is over, and yet: {again}")
    bed.traffic(transfer_size=0)
