# SPDX-License-Identifier: Apache-2.0
"""leftfirewall=yes: the script that is installed, with Debian's iptables."""
import itertools

from interop.registry import scenario
from lib.cygnet import installed
from lib.proc import require, wait_for
from lib.traffic import ping, require_ping

OPTIONS = {"leftfirewall": "yes", "lefthostaccess": "yes"}
TOOLS = ("iptables", "ip6tables")


def only_ours(initiator, responder, backend):
    return initiator == responder == "cygnet"


def only_ours_in_kernel(initiator, responder, backend):
    return only_ours(initiator, responder, backend) and backend == "kernel"


def rules(ns, tool):
    """What is in the filter table, without counters."""
    return [line for line in ns.run(tool, "-S").splitlines() if line]


def all_rules(*spaces):
    return {(ns.name, tool): rules(ns, tool) for ns in spaces for tool in TOOLS}


def prepare(*spaces):
    """A rule of somebody else's, which must stay; the first one makes the table."""
    for ns in spaces:
        for tool in TOOLS:
            ns.run(tool, "-A", "FORWARD", "-i", "no-such-device", "-j", "DROP")
    return all_rules(*spaces)


@scenario(only_ours)
def firewall_script(bed):
    """each verb of the script adds its rules, and the one that ends it takes away just those"""
    ns = bed.lay().left
    before = prepare(ns)
    script = installed("lib", "cygnet", "_updown")
    ends = {"": ("10.1.0.0/16", "10.2.0.0/16", "10.9.0.1/32", "10.9.0.2/32"),
            "-v6": ("fd01::/64", "fd02::/64", "fd09::1/128", "fd09::2/128")}
    ports = (("0", "0", "0"), ("17", "0", "0"), ("6", "443", "0"), ("17", "1701", "1701"), ("58", "0", "0"))
    for what, v6, (proto, mine, theirs), access, device in itertools.product(
            ("client", "host"), ("", "-v6"), ports, ("", "1"), ("wan0", "unknown")):
        me, peer = ends[v6][0:2] if what == "client" else ends[v6][2:4]
        env = {"PLUTO_MY_CLIENT": me, "PLUTO_PEER_CLIENT": peer, "PLUTO_MY_PROTOCOL": proto, "PLUTO_MY_PORT": mine,
               "PLUTO_PEER_PORT": theirs, "PLUTO_PROTO": "esp", "PLUTO_REQID": "7", "PLUTO_INTERFACE": device,
               "PLUTO_HOST_ACCESS": access}

        def call(verb, word="iptables"):
            ns.run(script, *([word] if word else []), env={**env, "PLUTO_VERB": f"{verb}-{what}{v6}"})
        case = f"{what}{v6} protocol {proto} {mine} {theirs} access {access} device {device}"
        call("up", "")
        require(all_rules(ns) == before, f"{case}: rules without the word iptables")
        call("up")
        added = [r for r in rules(ns, TOOLS[v6 != ""]) if r not in before[ns.name, TOOLS[v6 != ""]]]
        chains = sorted(r.split()[1] for r in added)
        want = ["INPUT", "OUTPUT"] if what == "host" else sorted(["FORWARD"] * 2 + (["INPUT", "OUTPUT"] if access else []))
        require(chains == want, f"{case}: rules in {chains}: {added}")
        for r in added:
            require("--pol ipsec" in r and "--reqid 7" in r and r.endswith("-j ACCEPT"), f"{case}: {r}")
            inward = "--dir in" in r
            require(f"-s {peer if inward else me} " in r and f"-d {me if inward else peer} " in r, f"{case}: {r}")
            require((" -i wan0 " if inward else " -o wan0 ") in r or device == "unknown", f"{case}: {r}")
            for word, port in (("--dport" if inward else "--sport", mine), ("--sport" if inward else "--dport", theirs)):
                require(port == "0" or f"{word} {port} " in r, f"{case}: {r}")
        call("down")
        require(all_rules(ns) == before, f"{case}: what is left is {all_rules(ns)}")


def appear(spaces, before, count):
    for ns in spaces:
        for tool in TOOLS:
            wait_for(lambda n=ns, t=tool: len(rules(n, t)) == len(before[n.name, t]) + count, f"the rules of {tool}", timeout=20)


@scenario(only_ours)
def firewall(bed):
    """rules come with the tunnel, for both families, let its traffic through where all else is dropped, and go with it"""
    conn = bed.conn(options=OPTIONS)
    site = bed.site
    conn.left.ts, conn.right.ts = [site.LEFT_NET, site.LEFT_NET6], [site.RIGHT_NET, site.RIGHT_NET6]
    gateways = (site.left, site.right)
    if bed.backend == "kernel":
        for ns in gateways:
            for tool in TOOLS:
                ns.run(tool, "-P", "FORWARD", "DROP")
    before = prepare(*gateways)
    bed.start(conn)
    bed.left.up()
    bed.wait_up()
    appear(gateways, before, 4)
    if bed.backend == "kernel":
        for address in (site.BOB, site.BOB6):
            bed.traffic(address=address, transfer_size=0)
    first = bed.left.child().spi_in
    bed.left.ipsec("reload")
    require(bed.left.child().spi_in == first, "a reload replaced the CHILD_SA")
    bed.left.down()
    bed.wait_gone()
    appear(gateways, before, 0)
    require(all_rules(*gateways) == before, f"left behind: {all_rules(*gateways)}")
    if bed.backend == "kernel":
        require(ping(site.alice, site.BOB, count=1, deadline=2) == 0, "traffic passes without a tunnel")


@scenario(only_ours_in_kernel)
def firewall_host(bed):
    """the same between the gateways themselves: in and out of a host that drops all but IKE and ESP"""
    conn = bed.conn(mode="transport", options=OPTIONS)
    site = bed.site
    conn.left.ts, conn.right.ts = [], []
    gateways = (site.left, site.right)
    for ns in gateways:
        for chain in ("INPUT", "OUTPUT"):
            ns.run("iptables", "-A", chain, "-p", "udp", "--dport", "500", "-j", "ACCEPT")
            ns.run("iptables", "-A", chain, "-p", "esp", "-j", "ACCEPT")
            ns.run("iptables", "-A", chain, "-i" if chain == "INPUT" else "-o", "lo", "-j", "ACCEPT")
            ns.run("iptables", "-P", chain, "DROP")
    before = prepare(*gateways)
    bed.start(conn)
    require(ping(site.left, site.right_addr, count=1, deadline=2) == 0, "traffic passes without a tunnel")
    bed.left.up()
    bed.wait_up()
    for ns in gateways:
        wait_for(lambda n=ns: len(rules(n, "iptables")) == len(before[n.name, "iptables"]) + 2, "the rules", timeout=20)
    require_ping(site.left, site.right_addr)
    bed.left.down()
    bed.wait_gone()
    wait_for(lambda: all_rules(*gateways) == before, "the rules to be gone", timeout=20)
