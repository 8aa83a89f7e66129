# SPDX-License-Identifier: Apache-2.0
"""IKEv1 (RFC 2409): the same that IKEv2 has to show, and what only IKEv1 has."""
from interop.registry import scenario
from lib.proc import require, wait_for
from lib.traffic import require_ping

from . import auth, lifecycle

IKE, ESP = "aes128-sha256-modp2048", "aes128gcm16"


def v1(bed, **changes):
    return bed.conn(**{"version": 1, "ike": IKE, "esp": ESP, **changes})


def no_libreswan(initiator, responder, backend):
    return "libreswan" not in (initiator, responder)


@scenario()
def v1_main_psk(bed):
    """IKEv1 main mode with a pre-shared key"""
    auth.tunnel(bed, v1(bed))
    bed.left.down()
    bed.wait_gone()


@scenario(no_libreswan)
def v1_main_psk_pfs(bed):
    """IKEv1, quick mode with a key exchange of its own, AES-CBC"""
    auth.tunnel(bed, v1(bed, ike="aes256-sha384-ecp256", esp="aes256-sha256-ecp256"))


@scenario(no_libreswan)
def v1_old_suite(bed):
    """IKEv1 with what clients of the nineties have, since the connection names it: 3DES, MD5, a group of 1024 bits, a key exchange in quick mode"""
    auth.tunnel(bed, v1(bed, ike="3des-md5-modp1024", esp="3des-md5-modp1024"))


@scenario(no_libreswan)
def v1_main_psk_nat(bed):
    """IKEv1 from behind a NAT: RFC 3947"""
    bed.lay(nat=True)
    auth.tunnel(bed, v1(bed))
    bed.left.down()
    bed.wait_gone()


@scenario(no_libreswan)
def v1_wrong_psk(bed):
    """IKEv1, a wrong pre-shared key is refused, and the initiator says so"""
    conn = v1(bed)
    auth.refused(bed, conn, conn.but(psk="another secret"), "pre-shared", "failed", "not respond")


@scenario(no_libreswan)
def v1_no_proposal(bed):
    """IKEv1, no common proposal is refused, and the initiator says so"""
    conn = v1(bed)
    auth.refused(bed, conn, conn.but(ike="aes256-sha384-ecp256"), "proposal")


@scenario(no_libreswan)
def v1_delete_by_responder(bed):
    """IKEv1, the responder deletes the tunnel"""
    lifecycle.up(bed, v1(bed))
    bed.right.down()
    bed.wait_gone()


@scenario(no_libreswan)
def v1_delete_child(bed):
    """IKEv1, the CHILD_SA alone is deleted; the IKE_SA carries a new one"""
    lifecycle.up(bed, v1(bed))
    ike = bed.left.sa().spis
    bed.left.down_child()
    bed.wait_up(children=0)
    bed.left.up()
    bed.wait_up()
    require(bed.left.sa().spis == ike, "the new CHILD_SA brought a new IKE_SA with it")
    bed.traffic(transfer_size=0)


@scenario(no_libreswan)
def v1_liveness(bed):
    """IKEv1, a peer that was killed is noticed by dead peer detection (RFC 3706)"""
    lifecycle.up(bed, v1(bed, dpd=2))
    bed.right.kill()
    bed.wait_gone(bed.left, timeout=60)


def rekey(bed, side, lifetime, seconds=10):
    mine, other = v1(bed, **{lifetime: seconds}), v1(bed)
    bed.start(*((mine, other) if side == "left" else (other, mine)))
    bed.left.up()
    bed.wait_up()
    bed.traffic()
    return bed.left.sa().spis, bed.left.child()


def rekey_child(bed, side):
    ike, child = rekey(bed, side, "lifetime")

    def rekeyed():
        now = bed.left.child()
        return now and now.spi_in != child.spi_in and now.spi_out != child.spi_out
    wait_for(rekeyed, "the CHILD_SA to be rekeyed", timeout=40)
    bed.traffic(counted=False)
    require(bed.left.sa().spis == ike, "rekeying a CHILD_SA replaced the IKE_SA")


@scenario(no_libreswan)
def v1_rekey_child_by_initiator(bed):
    """IKEv1, the CHILD_SA is replaced by the original initiator, without a gap"""
    rekey_child(bed, "left")


@scenario(no_libreswan)
def v1_rekey_child_by_responder(bed):
    """IKEv1, the CHILD_SA is replaced by the original responder, without a gap"""
    rekey_child(bed, "right")


@scenario(no_libreswan)
def v1_reauth(bed):
    """IKEv1, the IKE_SA is replaced by another one, its CHILD_SA goes on"""
    # strongSwan keeps a replaced one for 10 s
    ike, child = rekey(bed, "left", "ike_lifetime", 20)

    def replaced():
        now = bed.left.sa()
        return now and now.spis[0] != ike[0] and now.spis[1] != ike[1]
    wait_for(replaced, "the IKE_SA to be replaced", timeout=60)
    bed.wait_up()
    require(bed.left.child().spi_in == child.spi_in, "replacing the IKE_SA replaced its CHILD_SA")
    bed.traffic()
    bed.left.down()
    bed.wait_gone()


@scenario(no_libreswan)
def v1_aggressive_psk(bed):
    """IKEv1 aggressive mode with a pre-shared key"""
    auth.tunnel(bed, v1(bed, aggressive=True))
    bed.left.down()
    bed.wait_gone()


@scenario(no_libreswan)
def v1_aggressive_psk_nat(bed):
    """IKEv1 aggressive mode from behind a NAT"""
    bed.lay(nat=True)
    auth.tunnel(bed, v1(bed, aggressive=True))


@scenario(no_libreswan)
def v1_main_rsa(bed):
    """IKEv1 main mode with RSA certificates"""
    auth.tunnel(bed, bed.with_certs(v1(bed), "rsa"))


@scenario(no_libreswan)
def v1_main_ecdsa(bed):
    """IKEv1 main mode with ECDSA P-384 certificates, which are not of the IKE_SA's hash"""
    auth.tunnel(bed, bed.with_certs(v1(bed), "ecdsa384"))


@scenario(no_libreswan)
def v1_aggressive_rsa(bed):
    """IKEv1 aggressive mode with RSA certificates"""
    auth.tunnel(bed, bed.with_certs(v1(bed, aggressive=True), "rsa"))


@scenario(no_libreswan)
def v1_fragmentation(bed):
    """IKEv1, large certificates in the fragments of the vendors; IP never fragments"""
    conn = bed.with_certs(v1(bed), "rsa4096", bulk=1200, intermediates=1)
    bed.start(conn)
    with bed.wire() as wire:
        bed.left.up(timeout=90)
        bed.wait_up()
        wire.stop()
    for end in wire.ends:
        require(end.count["ikefrag"] >= 2, f"{end.ns.label} sent no IKE fragments: {wire.summary()}")
        require(end.count["fragment"] == 0, f"{end.ns.label} sent IP fragments: {wire.summary()}")
    bed.traffic()


def remote_access(bed, **changes):
    """A client with a user's name and password that gets its address from the server."""
    site = bed.lay(nat=changes.pop("nat", False))
    conn = v1(bed, **changes)
    conn.left.user = ("carol", "a password with spaces")
    conn.left.ts, conn.left.vips = [], ["0.0.0.0"]
    conn.right.pools, conn.right.dns = [site.POOL], ["10.2.0.53"]
    return conn


def has_address(bed, conn):
    bed.start(conn)
    bed.left.up()
    bed.wait_up()
    sa = bed.left.sa()
    require(len(sa.vips) == 1, f"got the virtual addresses {sa.vips}")
    require_ping(bed.site.left, bed.site.BOB)
    leases = [a for pool in bed.right.leases().values() for a in pool]
    require(leases == sa.vips, f"the server has given {leases}, the client has {sa.vips}")
    wait_for(lambda: bed.left.dns() == conn.right.dns, f"the name servers {conn.right.dns} to be received")
    bed.left.down()
    bed.wait_gone()
    wait_for(lambda: not [a for pool in bed.right.leases().values() for a in pool], "the address to be given back")


@scenario(no_libreswan)
def v1_xauth_psk_pull(bed):
    """IKEv1, XAUTH after a pre-shared key, the client pulls its address (Mode Config)"""
    has_address(bed, remote_access(bed))


@scenario(no_libreswan)
def v1_xauth_psk_push(bed):
    """IKEv1, XAUTH after a pre-shared key, the server pushes the address (Mode Config)"""
    has_address(bed, remote_access(bed, push=True))


@scenario(no_libreswan)
def v1_xauth_aggressive_nat(bed):
    """IKEv1, XAUTH after aggressive mode from behind a NAT"""
    has_address(bed, remote_access(bed, aggressive=True, nat=True))


@scenario(no_libreswan)
def v1_xauth_rsa(bed):
    """IKEv1, XAUTH after RSA signatures"""
    has_address(bed, bed.with_certs(remote_access(bed), "rsa"))


@scenario(no_libreswan)
def v1_hybrid(bed):
    """IKEv1, hybrid authentication: the server by its certificate, the client by its user alone"""
    conn = bed.with_certs(remote_access(bed), "rsa")
    conn.left.auth, conn.left.cert = "xauth", None
    has_address(bed, conn)


@scenario(no_libreswan)
def v1_hybrid_aggressive_push(bed):
    """IKEv1, hybrid authentication in aggressive mode, the address is pushed"""
    conn = bed.with_certs(remote_access(bed, aggressive=True, push=True), "rsa")
    conn.left.auth, conn.left.cert = "xauth", None
    has_address(bed, conn)


@scenario(no_libreswan)
def v1_xauth_wrong_password(bed):
    """IKEv1, a wrong password is refused, the client says so, and it gets nothing"""
    conn = remote_access(bed)
    other = conn.but()
    other.left.user = ("carol", "another password")
    auth.refused(bed, conn, other, "xauth", "password", "failed")
    require(not [a for pool in bed.right.leases().values() for a in pool], "an address was given to a stranger")


def logs_in_at_libreswan(bed, conn):
    conn.left.user = ("carol", "secret")  # no blanks: libreswan's ipsec.secrets
    bed.start(conn)
    bed.left.up()
    bed.wait_up()
    require_ping(bed.site.left, bed.site.BOB)
    bed.left.down()
    bed.wait_gone()


@scenario(lambda initiator, responder, backend: responder == "libreswan")
def v1_xauth_libreswan(bed):
    """IKEv1, XAUTH after a pre-shared key and an address by Mode Config, from libreswan and its file of passwords"""
    logs_in_at_libreswan(bed, remote_access(bed))


@scenario(lambda initiator, responder, backend: responder == "libreswan")
def v1_xauth_pam_libreswan(bed):
    """IKEv1, XAUTH with libreswan, which asks PAM"""
    logs_in_at_libreswan(bed, remote_access(bed, xauthby="pam"))


@scenario(lambda initiator, responder, backend: responder == "libreswan")
def v1_xauth_pam_refused_libreswan(bed):
    """IKEv1, libreswan's PAM refuses a password, and the client says so"""
    conn = remote_access(bed, xauthby="pam")
    conn.left.user = ("carol", "secret")
    wrong = conn.but()
    wrong.left.user = ("carol", "another")
    auth.refused(bed, wrong, conn, "refused user 'carol' (xauth)", gone=["left"])  # libreswan asks again and again


@scenario(lambda initiator, responder, backend: initiator == "libreswan")
def v1_xauth_by_libreswan(bed):
    """IKEv1, libreswan logs in with XAUTH after a pre-shared key and gets its address by Mode Config"""
    conn = remote_access(bed)
    conn.left.user = ("carol", "secret")  # no blanks: libreswan's ipsec.secrets
    bed.start(conn)
    bed.left.up()
    wait_for(lambda: bed.right.sa() and bed.right.child(), "libreswan's tunnel")
    sa = next(x for x in bed.right.query("status")["ike_sas"] if x["state"] == "ESTABLISHED")
    require(sa.get("user") == "carol", f"the user is not known: {sa}")
    leased = [a for pool in bed.right.leases().values() for a in pool]
    require(len(leased) == 1 and bed.right.child().remote_ts == [f"{leased[0]}/32"], f"leased {leased}: {bed.right.child()}")
    bed.site.left.batch(f"addr add {leased[0]}/32 dev lo\n")
    before = bed.right.child()
    require_ping(bed.site.left, bed.site.BOB, source=leased[0])
    require(bed.right.child().bytes_in > before.bytes_in, "the pings did not go through the tunnel")
    bed.left.down()
    bed.wait_gone(bed.right)
    require(not any(bed.right.leases().values()), "the address was not returned")


@scenario(lambda initiator, responder, backend: initiator == "libreswan")
def v1_xauth_refused_libreswan(bed):
    """IKEv1, libreswan with a wrong password gets nothing"""
    conn = remote_access(bed)
    conn.left.user = ("carol", "secret")
    wrong = conn.but()
    wrong.left.user = ("carol", "another")
    bed.start(conn, wrong)
    bed.left._whack_status("--initiate", "--asynchronous", "--name", conn.name)  # pylint: disable=protected-access
    wait_for(lambda: bed.right.query("stats")["sas"]["failed"] > 0, "the login to be refused")
    require(not bed.right.sas() and not any(bed.right.leases().values()), "it got something")
