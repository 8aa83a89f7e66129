# SPDX-License-Identifier: Apache-2.0
"""What is in the kernel while a tunnel lives: for the kernel back end, in a guest."""
import os

from interop.registry import scenario
from lib.proc import require


def kernel_only(initiator, responder, backend):
    return backend == "kernel"


@scenario(kernel_only)
def kernel_state(bed):
    """`ip xfrm state` and `ip xfrm policy` after up, down, up again; empty after stop; no XFRM error counted"""
    bed.start(bed.conn())
    bed.require_kernel_empty()
    for _ in range(2):
        bed.left.up()
        bed.wait_up()
        bed.wait_kernel_pairs()
        wire = bed.traffic(kinds=("esp",))
        require(wire.total("espudp") == 0, f"ESP in UDP without a NAT: {wire.summary()}")
        bed.left.down()
        bed.wait_gone()
        bed.require_kernel_empty()
    bed.left.up()
    bed.wait_up()
    bed.stop()
    for peer in bed.peers:
        errors = {k: v for k, v in peer.ns.xfrm_counters().items() if v and k.endswith(("Error", "ProtoError", "Invalid"))}
        require(not errors, f"XFRM errors counted at {peer.label}: {errors}")


@scenario(kernel_only)
def transport(bed):
    """transport mode between the two gateways themselves"""
    conn = bed.conn(mode="transport")
    conn.left.ts = conn.right.ts = []
    bed.start(conn)
    bed.left.up()
    bed.wait_up()
    site = bed.site
    bed.traffic(sender=site.left, receiver=site.right, address=site.right_addr, kinds=("esp",))
    for peer in bed.tidy_peers:
        states = bed.kernel_states(peer)
        require(len(states) == 2 and all("mode transport" in s for s in states), f"{peer.label}: {' | '.join(states)}")
    bed.left.down()
    bed.wait_gone()
    bed.require_kernel_empty()


def older_kernel(initiator, responder, backend):
    """Before SAs of CPUs: Linux has them since 6.13, Debian in 6.12."""
    return kernel_only(initiator, responder, backend) and initiator == responder == "cygnet" and \
        tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12)


@scenario(older_kernel)
def per_cpu_lacking(bed):
    """a kernel that ignores the attribute of SAs of CPUs (RFC 9611): found by asking it, said at load, and one CHILD_SA does"""
    bed.start(bed.conn(options={"per-cpu-sas": "yes"}))
    bed.left.up()
    bed.wait_up()
    bed.traffic(transfer_size=0)
    for peer in bed.peers:
        features = peer.query("statusall")["kernel"]["features"]
        require("esp" in features and "per-cpu" not in features, f"{peer.label}: the kernel has {features}")
        require("the data plane kernel-netlink has no SAs of CPUs" in peer.log_text(), f"{peer.label}: nothing is said of it")
    bed.left.down()
    bed.wait_gone()
    bed.require_kernel_empty()
