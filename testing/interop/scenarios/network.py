# SPDX-License-Identifier: Apache-2.0
"""Addresses: virtual ones, translated ones, IPv6 ones."""
import ipaddress

from interop.registry import scenario
from lib.proc import require, wait_for
from lib.traffic import require_ping


def no_libreswan(initiator, responder, backend):
    return "libreswan" not in (initiator, responder)


def client(bed, v4=True, v6=False):
    """A connection by which the left gateway asks for virtual addresses."""
    site = bed.site or bed.lay()
    conn = bed.conn()
    conn.left.ts = []
    conn.left.vips = ["0.0.0.0"] * v4 + ["::"] * v6
    conn.right.ts = [site.RIGHT_NET] * v4 + [site.RIGHT_NET6] * v6
    conn.right.pools = [site.POOL] * v4 + [site.POOL6] * v6
    conn.right.dns = ["10.2.0.53"] * v4 + ["fd02::53"] * v6
    return conn


def use_client(bed, conn):
    bed.start(conn)
    bed.left.up()
    bed.wait_up()
    site, sa = bed.site, bed.left.sa()
    require(len(sa.vips) == len(conn.left.vips), f"got the virtual addresses {sa.vips}")
    for vip in sa.vips:
        pool = ipaddress.ip_network(site.POOL6 if ":" in vip else site.POOL)
        require(ipaddress.ip_address(vip) in pool, f"the virtual address {vip} is not from {pool}")
        given = [a for leases in bed.right.leases().values() for a in leases]
        require(vip in given, f"{vip} is not among the leases {given}")
        bed.traffic(site.left, site.bob, site.BOB6 if ":" in vip else site.BOB)
        with bed.wire() as wire:  # and from behind the gateway to the client
            require_ping(site.bob, vip)
            wire.require_encrypted(1)
    wait_for(lambda: sorted(bed.left.dns()) == sorted(conn.right.dns), f"the name servers {conn.right.dns} to be received")
    bed.left.down()
    bed.wait_gone()
    wait_for(lambda: not any(bed.right.leases().values()), "the lease to be given back")


@scenario(no_libreswan)
def virtual_ip(bed):
    """a virtual IPv4 address and a DNS server from the responder's pool"""
    use_client(bed, client(bed))


@scenario(no_libreswan)
def virtual_ip6(bed):
    """a virtual IPv6 address and a DNS server from the responder's pool"""
    use_client(bed, client(bed, v4=False, v6=True))


@scenario(no_libreswan)
def virtual_ip_both(bed):
    """virtual addresses of both kinds at once"""
    use_client(bed, client(bed, v6=True))


def through_nat(bed, conn):
    bed.start(conn)
    bed.left.up()
    bed.wait_up()


@scenario()
def nat(bed):
    """the initiator behind a masquerading NAT: everything moves to UDP port 4500"""
    bed.lay(nat=True)
    through_nat(bed, bed.conn())
    wire = bed.traffic(kinds=("espudp",))
    require(wire.total("esp") == 0, f"ESP went without UDP: {wire.summary()}")


@scenario(no_libreswan)
def nat_virtual_ip(bed):
    """a roaming client behind a NAT with a virtual address"""
    bed.lay(nat=True)
    use_client(bed, client(bed))


@scenario()
def nat_rsa(bed):
    """RSA certificates through a NAT"""
    bed.lay(nat=True)
    through_nat(bed, bed.with_certs(bed.conn(), "rsa"))
    bed.traffic(kinds=("espudp",))


@scenario()
def forced_encap(bed):
    """UDP encapsulation without a NAT, because the configuration says so"""
    bed.start(bed.conn(encap=True))
    bed.left.up()
    bed.wait_up()
    bed.traffic(kinds=("espudp",))


@scenario()
def ipv6_outer(bed):
    """IPv4 networks through a tunnel between IPv6 gateways"""
    bed.start(bed.conn(v6_outer=True))
    bed.left.up()
    bed.wait_up()
    bed.traffic()


@scenario()
def ipv6_inner(bed):
    """IPv6 networks through a tunnel between IPv4 gateways"""
    conn = bed.conn()
    conn.left.ts, conn.right.ts = [bed.site.LEFT_NET6], [bed.site.RIGHT_NET6]
    bed.start(conn)
    bed.left.up()
    bed.wait_up()
    bed.traffic(address=bed.site.BOB6)


@scenario()
def ipv6_both(bed):
    """IPv6 networks through a tunnel between IPv6 gateways"""
    conn = bed.conn(v6_outer=True)
    conn.left.ts, conn.right.ts = [bed.site.LEFT_NET6], [bed.site.RIGHT_NET6]
    bed.start(conn)
    bed.left.up()
    bed.wait_up()
    bed.traffic(address=bed.site.BOB6)


@scenario(no_libreswan)
def several_selectors(bed):
    """several traffic selectors of both families in one CHILD_SA"""
    conn = bed.conn()
    site = bed.site
    conn.left.ts = [site.LEFT_NET, site.LEFT_NET6]
    conn.right.ts = [site.RIGHT_NET, site.EXTRA_NET, site.RIGHT_NET6]
    site.right.batch(f"addr add {site.EXTRA}/24 dev lan0\n")
    bed.start(conn)
    bed.left.up()
    bed.wait_up()
    bed.traffic()
    bed.traffic(receiver=site.right, address=site.EXTRA)
    bed.traffic(address=site.BOB6)


@scenario(no_libreswan)
def narrowing(bed):
    """the responder allows less than the initiator asks for"""
    conn = bed.conn()
    narrow = conn.but()
    narrow.right.ts = ["10.2.0.0/24"]
    bed.start(conn, narrow)
    bed.left.up()
    bed.wait_up()
    bed.traffic()
    require([bed.left.child().remote_ts] == [["10.2.0.0/24"]], f"the selectors are {bed.left.child().remote_ts}")
