# SPDX-License-Identifier: Apache-2.0
"""What happens to a tunnel after it is up: rekeying, deletion, a peer that dies, traffic that asks for it."""
from interop.registry import scenario
from lib.bed import PEERS
from lib.proc import require, wait_for

REKEY_AFTER = 10  # seconds, for a daemon that rekeys by the clock only


def up_with_rekeying_side(bed, side, lifetime):
    """Brings the tunnel up so that `side` will rekey: by command where it has one, otherwise by a short `lifetime`."""
    conn = bed.conn()
    by_clock = not PEERS[bed.kinds[side]].rekeys_on_command
    mine = conn.but(**{lifetime: REKEY_AFTER}) if by_clock else conn
    bed.start(*((mine, conn) if side == "left" else (conn, mine)))
    bed.left.up()
    bed.wait_up()
    bed.traffic()


def rekey_child(bed, side):
    up_with_rekeying_side(bed, side, "lifetime")
    ike, child = bed.left.sa().spis, bed.left.child()
    peer = getattr(bed, side)
    if peer.rekeys_on_command:
        peer.rekey_child()

    def rekeyed():
        now = bed.left.child()
        return now and now.spi_in != child.spi_in and now.spi_out != child.spi_out
    wait_for(rekeyed, "the CHILD_SA to be rekeyed", timeout=40)
    bed.wait_up()
    require(bed.left.sa().spis == ike, "rekeying a CHILD_SA replaced the IKE_SA")
    bed.traffic()
    if bed.backend == "kernel":
        bed.wait_kernel_pairs()


def rekey_ike(bed, side):
    up_with_rekeying_side(bed, side, "ike_lifetime")
    ike, child = bed.left.sa().spis, bed.left.child()
    peer = getattr(bed, side)
    if peer.rekeys_on_command:
        peer.rekey_ike()

    def rekeyed():
        now = bed.left.sa()
        return now and now.spis[0] != ike[0] and now.spis[1] != ike[1]
    wait_for(rekeyed, "the IKE_SA to be rekeyed", timeout=40)
    bed.wait_up()
    require(bed.left.child().spi_in == child.spi_in, "rekeying the IKE_SA replaced its CHILD_SA")
    bed.traffic()
    bed.left.down()
    bed.wait_gone()


def no_libreswan(initiator, responder, backend):
    return "libreswan" not in (initiator, responder)


@scenario()
def rekey_child_by_initiator(bed):
    """CHILD_SA rekeyed by the original initiator"""
    rekey_child(bed, "left")


@scenario()
def rekey_child_by_responder(bed):
    """CHILD_SA rekeyed by the original responder"""
    rekey_child(bed, "right")


@scenario(no_libreswan)
def rekey_ike_by_initiator(bed):
    """IKE_SA rekeyed by the original initiator, its CHILD_SA kept"""
    rekey_ike(bed, "left")


@scenario(no_libreswan)
def rekey_ike_by_responder(bed):
    """IKE_SA rekeyed by the original responder, its CHILD_SA kept"""
    rekey_ike(bed, "right")


def up(bed, conn=None):
    bed.start(conn or bed.conn())
    bed.left.up()
    bed.wait_up()
    bed.traffic(transfer_size=0)


@scenario()
def delete_by_initiator(bed):
    """the initiator deletes the tunnel, and can bring it up again"""
    up(bed)
    bed.left.down()
    bed.wait_gone()
    bed.left.up()
    bed.wait_up()
    bed.traffic(transfer_size=0)


# libreswan, told to bring a connection up, brings it up again when the peer takes it down or is gone
@scenario(lambda i, r, b: i != "libreswan")
def delete_by_responder(bed):
    """the responder deletes the tunnel"""
    up(bed)
    bed.right.down()
    bed.wait_gone()


@scenario(no_libreswan)
def delete_child_by_initiator(bed):
    """the initiator deletes the CHILD_SA only; the IKE_SA carries a new one"""
    delete_child(bed, "left")


@scenario(no_libreswan)
def delete_child_by_responder(bed):
    """the responder deletes the CHILD_SA only; the IKE_SA carries a new one"""
    delete_child(bed, "right")


def delete_child(bed, side):
    up(bed)
    ike = bed.left.sa().spis
    getattr(bed, side).down_child()
    bed.wait_up(children=0)
    bed.left.up()
    bed.wait_up()
    require(bed.left.sa().spis == ike, "the new CHILD_SA brought a new IKE_SA with it")
    bed.traffic(transfer_size=0)


@scenario()
def liveness(bed):
    """a peer that was killed is noticed, and its SAs go"""
    up(bed, bed.conn(dpd=2))
    bed.right.kill()
    bed.wait_gone(bed.left, timeout=60)


# libreswan, as initiator, does not say INITIAL_CONTACT; as responder it closes the old CHILD_SA and keeps the old IKE_SA
@scenario(lambda i, r, b: i != "libreswan")
def restarted_peer(bed):
    """an initiator that was killed comes back, and the responder keeps only the new SA (INITIAL_CONTACT)"""
    if bed.kinds["right"] != "libreswan":
        up(bed)
        bed.left.restart()
        bed.left.up()
        bed.wait_up()
        bed.traffic(transfer_size=0)
        return
    # it does nothing else while its script runs, which takes 20 s in a guest
    up(bed, bed.conn(options={"leftupdown": "/bin/true"}))
    bed.left.restart()
    bed.left.up()

    def only_the_new():
        new = bed.left.child()
        return new and [c.spi_in for sa in bed.right.sas() for c in sa.children] == [new.spi_out]
    wait_for(only_the_new, "libreswan to have only the new CHILD_SA")
    bed.traffic(transfer_size=0, counted=False)


@scenario(lambda i, r, backend: backend == "kernel" or i == "cygnet")
def ondemand(bed):
    """the first packet brings the tunnel up (trap policy)"""
    bed.start(bed.conn(), None, left_changes={"start": "route"})
    bed.left.wait_trap()
    require(not bed.left.sas(), "the tunnel is up before there was traffic")
    bed.traffic(transfer_size=0, counted=False)
    bed.wait_up()
    bed.traffic()
    bed.left.down()
    bed.wait_gone()
    bed.traffic(transfer_size=0, counted=False)
    bed.wait_up()
