# SPDX-License-Identifier: Apache-2.0
"""Authentication and algorithms: the tunnel comes up and carries traffic."""
from interop.registry import scenario
from lib.proc import Failure, require


def tunnel(bed, conn, right_conn=None):
    bed.start(conn, right_conn)
    bed.left.up()
    bed.wait_up()
    return bed.traffic()


def both_are(*kinds):
    return lambda initiator, responder, backend: initiator in kinds and responder in kinds


@scenario()
def psk(bed):
    """pre-shared key, AES-GCM"""
    tunnel(bed, bed.conn())
    bed.left.down()
    bed.wait_gone()


@scenario()
def psk_chacha20(bed):
    """pre-shared key, ChaCha20-Poly1305 for IKE and ESP"""
    tunnel(bed, bed.conn(ike="chacha20poly1305-prfsha256-x25519", esp="chacha20poly1305"))


@scenario()
def psk_cbc(bed):
    """pre-shared key, AES-CBC with HMAC-SHA2-256, MODP 2048"""
    tunnel(bed, bed.conn(ike="aes128-sha256-modp2048", esp="aes128-sha256"))


@scenario()
def psk_cbc256(bed):
    """pre-shared key, AES-256-CBC with HMAC-SHA2-256, ECP 256"""
    tunnel(bed, bed.conn(ike="aes256-sha256-ecp256", esp="aes256-sha256"))


@scenario()
def rsa(bed):
    """RSA certificates"""
    tunnel(bed, bed.with_certs(bed.conn(), "rsa"))


@scenario()
def ecdsa(bed):
    """ECDSA P-256 certificates"""
    tunnel(bed, bed.with_certs(bed.conn(), "ecdsa"))


@scenario(both_are("cygnet", "strongswan"))
def ecdsa384(bed):
    """ECDSA P-384 certificates"""
    tunnel(bed, bed.with_certs(bed.conn(), "ecdsa384"))


@scenario(both_are("cygnet", "strongswan"))
def ed25519(bed):
    """Ed25519 certificates"""
    tunnel(bed, bed.with_certs(bed.conn(), "ed25519"))


@scenario()
def chain(bed):
    """certificates below an intermediate authority that only its owner has"""
    tunnel(bed, bed.with_certs(bed.conn(), "ecdsa", intermediates=1))


@scenario()
def fragmentation(bed):
    """large certificates force IKE fragmentation (RFC 7383); IP never fragments"""
    conn = bed.with_certs(bed.conn(), "rsa4096", bulk=1200, intermediates=1)
    bed.start(conn)
    with bed.wire() as wire:
        bed.left.up(timeout=90)
        bed.wait_up()
        wire.stop()
    for end in wire.ends:
        require(end.count["ikefrag"] >= 2, f"{end.ns.label} sent no IKE fragments: {wire.summary()}")
        require(end.count["fragment"] == 0, f"{end.ns.label} sent IP fragments: {wire.summary()}")
    bed.traffic()


def refused(bed, conn, right_conn, *words, gone=()):
    """up fails, says why in one sentence with one of these words in it, and nothing remains (on those sides, or on both)."""
    bed.start(conn, right_conn)
    try:
        bed.left.up()
    except Failure as err:
        reason = str(err)
    else:
        raise Failure("the tunnel came up; it must not")
    require(any(w in reason.lower() for w in words), f"the reason given does not name the cause: {reason}")
    bed.wait_gone(*(getattr(bed, side) for side in gone))


def refused_again(bed, *words):
    """As refused() says, of daemons that run; all the words are in the reason."""
    try:
        bed.left.up()
    except Failure as err:
        reason = str(err).lower()
    else:
        raise Failure("the tunnel came up; it must not")
    require(all(w in reason for w in words), f"the reason given does not name the cause: {reason}")
    bed.wait_gone()


@scenario()
def wrong_psk(bed):
    """a wrong pre-shared key is refused, and the initiator says so"""
    conn = bed.conn()
    refused(bed, conn, conn.but(psk="another secret"), "authentication", "auth_failed")


@scenario()
def no_proposal(bed):
    """no common IKE proposal is refused, and the initiator says so"""
    conn = bed.conn()
    refused(bed, conn, conn.but(ike="aes256-sha256-ecp256"), "proposal")


@scenario(lambda i, r, b: i == "cygnet" or (i, r) == ("strongswan", "strongswan"))
def wrong_id(bed):
    """a certificate that does not hold the configured identity is refused by the initiator"""
    conn = bed.with_certs(bed.conn(), "ecdsa")
    other = conn.but()
    conn.right.id = "elsewhere.example.org"
    refused(bed, conn, other, "authentication", "identity", "constraint", "expects elsewhere.example.org")
