# SPDX-License-Identifier: Apache-2.0
"""What only some connections ask for: a reload beside them, reauthentication, limits by traffic, ESN, keys without certificates."""
import os
import subprocess
import time

from interop.registry import scenario
from lib.proc import require, wait_for


def ours_first(initiator, responder, backend):
    return initiator == "cygnet" and responder in ("cygnet", "strongswan")


def only_ours(initiator, responder, backend):
    return initiator == responder == "cygnet"


def only_ours_in_kernel(initiator, responder, backend):
    return only_ours(initiator, responder, backend) and backend == "kernel"


def up(bed, conn, **changes):
    bed.start(conn, None, left_changes=changes)
    bed.left.up()
    bed.wait_up()


@scenario(ours_first)
def reload(bed):
    """a reload touches only what changed: what is established stays, byte for byte"""
    conn = bed.conn()
    up(bed, conn)
    bed.traffic(transfer_size=0)
    before, child = bed.left.sa().spis, bed.left.child()
    other = conn.but(name="other", esp="aes256gcm16")
    bed.left.configure(other)
    require(bed.left.sa().spis == before and bed.left.child().spi_in == child.spi_in, "adding a connection touched another one")
    bed.left.conns[-1] = other.but(esp="chacha20poly1305")
    bed.left.configure()
    bed.left.conns.pop()
    bed.left.configure()
    now = bed.left.child()
    require(bed.left.sa().spis == before and now.spi_in == child.spi_in, "changing and removing a connection touched another one")
    require(now.packets_in >= child.packets_in, "the counters started again")
    bed.traffic(transfer_size=0)


@scenario(ours_first)
def reload_under_load(bed):
    """reloads one after the other beside traffic and rekeying: no packet is lost, and what is coming up comes up"""
    conn = bed.conn()
    up(bed, conn, lifetime=2)
    bed.traffic(transfer_size=0, counted=False)
    before, child = bed.left.sa().spis, bed.left.child().spi_in
    argv = bed.site.alice.argv("ping", "-n", "-q", "-i", "0.02", "-c", "400", "-W", "2", bed.site.BOB)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as ping:
        for i in range(12):
            if i % 2:
                bed.left.conns.pop()
                bed.left.configure()
            else:
                bed.left.configure(conn.but(name="other", esp="aes256gcm16" if i % 4 else "chacha20poly1305"))
            time.sleep(0.2)
        out = ping.communicate(timeout=60)[0]
    require(", 0% packet loss" in out, f"packets were lost: {out.strip()[-200:]}")
    require(bed.left.sa().spis == before, "a reload replaced the IKE_SA")
    require(bed.left.child().spi_in != child, "nothing was rekeyed meanwhile")
    bed.left.down()
    bed.wait_gone()
    coming = bed.left.ns.argv(*bed.left.tool_argv("up", conn.name))
    with subprocess.Popen(coming, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as tool:
        for _ in range(3):
            bed.left.configure()
        out = tool.communicate(timeout=60)[0]
    require(tool.returncode == 0, f"a reload stopped what was coming up: {out.strip()[-200:]}")
    bed.wait_up()
    bed.traffic(transfer_size=0, counted=False)


@scenario(ours_first)
def reload_bad_file(bed):
    """a file with an error is refused as a whole line, with its place, and the established tunnel stays"""
    up(bed, bed.conn())
    before = bed.left.sa().spis
    with open(bed.left.path("ipsec.conf"), "a") as conf:
        conf.write("conn broken\n\tkeyexchange=ikev2\n\tesp=aes1234\n\tauto=add\n")
    out = bed.left.ipsec_status("reload")[1]
    require("ipsec.conf:" in out and "aes1234" in out, f"the reload does not say what is wrong where: {out.strip()[-200:]}")
    require(bed.left.sa().spis == before, "a bad file closed a tunnel")
    bed.traffic(transfer_size=0)


@scenario(ours_first)
def reauth(bed):
    """reauthentication: a new IKE_SA is made before the old one is closed, and no packet is lost meanwhile"""
    conn = bed.conn()
    up(bed, conn, ike_lifetime=8, options={"reauth": "yes"})
    before = bed.left.sa().spis
    ping = bed.site.alice.argv("ping", "-n", "-q", "-i", "0.1", "-c", "150", "-W", "2", bed.site.BOB)
    out = subprocess.run(ping, capture_output=True, text=True, timeout=90, check=False).stdout
    require(", 0% packet loss" in out, f"packets were lost: {out.strip()[-200:]}")
    wait_for(lambda: bed.left.sa() and bed.left.sa().spis != before, "a new IKE_SA", timeout=40)
    bed.wait_up()
    bed.traffic(transfer_size=0, counted=False)


def rekeyed_by_traffic(bed, options):
    conn = bed.conn()
    up(bed, conn, options=options)
    first = bed.left.child().spi_in
    bed.traffic(counted=False)

    def replaced():
        child = bed.left.child()
        return child and child.spi_in != first
    wait_for(replaced, "the CHILD_SA to be rekeyed by its traffic", timeout=30)
    bed.wait_up()
    bed.traffic(transfer_size=0, counted=False)


@scenario(ours_first)
def life_bytes(bed):
    """a CHILD_SA is rekeyed when it has carried so many bytes"""
    rekeyed_by_traffic(bed, {"lifebytes": "8000000", "marginbytes": "7500000"})


@scenario(ours_first)
def life_packets(bed):
    """a CHILD_SA is rekeyed when it has carried so many packets"""
    rekeyed_by_traffic(bed, {"lifepackets": "100000", "marginpackets": "99900"})


@scenario(lambda i, r, backend: only_ours(i, r, backend) or (i == "cygnet" and backend == "kernel"))
def esn(bed):
    """extended sequence numbers"""
    up(bed, bed.conn(esp="aes128gcm16-esn"))
    bed.traffic()
    status = bed.left.ipsec("statusall")
    require("ESN" in status or "EXT_SEQ" in status, "statusall does not show extended sequence numbers")


@scenario(only_ours)
def raw_keys(bed):
    """raw public keys: each end knows the other's key, nobody has a certificate"""
    conn = bed.conn()
    for side, end in (("left", conn.left), ("right", conn.right)):
        end.auth = "pubkey"
        end.key, end.pub = (os.path.join(bed.dir, f"{side}.{what}") for what in ("pem", "pub"))
        subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519", "-out", end.key], check=True, capture_output=True)
        os.chmod(end.key, 0o600)
        subprocess.run(["openssl", "pkey", "-in", end.key, "-pubout", "-out", end.pub], check=True, capture_output=True)
    bed.start(conn)
    bed.left.up()
    bed.wait_up()
    bed.traffic()


@scenario(only_ours_in_kernel)
def transport(bed):
    """transport mode between the gateways themselves"""
    conn = bed.conn(mode="transport")
    conn.left.ts, conn.right.ts = [], []
    up(bed, conn)
    out = bed.left.ns.run("ping", "-n", "-c", "5", "-i", "0.2", "-W", "5", conn.right.addr)
    require(out is not None, "no answer")
    require(bed.left.child().packets_out >= 5, "the packets did not go through the CHILD_SA")


def one_ours_with_strongswan(initiator, responder, backend):
    return {initiator, responder} == {"cygnet", "strongswan"}


@scenario(one_ours_with_strongswan)
def per_cpu_not_known(bed):
    """a peer that has never heard of SAs of CPUs (RFC 9611): the first CHILD_SA is the only one, and is not asked for again"""
    conn = bed.conn(options={"per-cpu-sas": "yes"})
    bed.start(conn)
    ours = bed.left if bed.left.kind == "cygnet" else bed.right
    require("per-cpu" in ours.query("statusall")["kernel"]["features"], "this data plane has no SAs of CPUs")
    bed.left.up()
    bed.wait_up()
    for cpu in range(os.cpu_count()):
        bed.site.alice.run("taskset", "-c", str(cpu), "ping", "-n", "-q", "-c", "5", "-i", "0.1", "-W", "4", bed.site.BOB)
    bed.traffic(transfer_size=0)
    (child,) = [c for sa in ours.query("status")["ike_sas"] for c in sa["children"]]
    require("per_cpu" not in child and "cpu" not in child, f"it is one of several: {child}")
    require(bed.left.child().packets_out >= 5 * os.cpu_count(), "packets took another way")
    sas = ours.query("statusall")["sas"]
    require(sas["child_established"] == 1 and not sas["failed"], f"more were asked for: {sas}")
    bed.left.down()
    bed.wait_gone()
