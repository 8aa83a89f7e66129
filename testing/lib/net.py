# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, the links between them, and the topologies that the tests use.

Everything made here carries the pid of the process that made it, and only that is ever removed."""
import ctypes
import os
import socket
import threading

from .proc import Failure, run

CLONE_NEWNET = 0x40000000
NETNS_DIR = "/run/netns"
PREFIX = "cygnet-test"
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """One network namespace. Made and removed by Net."""

    def __init__(self, name, label):
        self.name = name
        self.label = label

    def argv(self, *argv):
        """The command line that runs argv inside, with the pid of the program itself."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv, **kw):
        return run(self.argv(*argv), **kw)

    def ip(self, *argv, **kw):
        return run(["ip", "-n", self.name, *argv], **kw)

    def batch(self, text):
        """Several ip commands with one fork."""
        run(["ip", "-n", self.name, "-batch", "-"], stdin=text)

    def nft(self, text):
        self.run("nft", "-f", "-", stdin=text)

    def socket(self, family, kind, proto=0):
        """A socket of this process that lives in the namespace."""
        return self.call(lambda: socket.socket(family, kind, proto))

    def call(self, function):
        """function() on a thread that has entered the namespace. Only for making sockets and reading /proc/thread-self."""
        box = {}

        def inside():
            try:
                with open(f"{NETNS_DIR}/{self.name}", "rb") as ns:
                    if _libc.setns(ns.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                box["value"] = function()
            except BaseException as err:  # noqa: BLE001 - handed to the caller
                box["error"] = err

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if "error" in box:
            raise box["error"]
        return box["value"]

    def xfrm_counters(self):
        """/proc/net/xfrm_stat as a dict, {} where the kernel has none."""
        def read():
            try:
                with open("/proc/thread-self/net/xfrm_stat") as f:
                    return {k: int(v) for k, v in (line.split() for line in f)}
            except FileNotFoundError:
                return {}
        return self.call(read)

    def sysctl(self, **values):
        """sysctl(net_ipv4_ip_forward=1) would be ambiguous about dots, so: keys with '/' as under /proc/sys."""
        args = [f"{key}={value}" for key, value in values.items()]
        self.run("sysctl", "-qw", *args)


class Net:
    """The namespaces of one test, as a context manager: they vanish with it, exception or not."""
    _count = 0

    def __init__(self):
        Net._count += 1
        self.prefix = f"{PREFIX}-{os.getpid()}-{Net._count}"
        self.made = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        errors = []
        for ns in reversed(self.made):
            try:
                run(["ip", "netns", "del", ns.name])
            except Failure as err:
                errors.append(str(err))
        self.made = []
        if errors and exc[0] is None:
            raise Failure("; ".join(errors))

    def namespace(self, label):
        ns = Namespace(f"{self.prefix}-{label}", label)
        run(["ip", "netns", "add", ns.name])
        self.made.append(ns)
        ns.batch("link set lo up\n")
        ns.sysctl(**{"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1, "net/ipv4/conf/all/rp_filter": 0,
                     "net/ipv4/conf/default/rp_filter": 0, "net/ipv4/conf/all/send_redirects": 0,
                     "net/ipv4/conf/default/send_redirects": 0, "net/ipv6/conf/default/accept_ra": 0})
        return ns

    @staticmethod
    def link(a, a_dev, a_addrs, b, b_dev, b_addrs, mtu=1500):
        """A veth pair a_dev in a <-> b_dev in b, with addresses (v4 and v6 alike) and up."""
        run(["ip", "link", "add", a_dev, "mtu", str(mtu), "netns", a.name, "type", "veth",
             "peer", "name", b_dev, "mtu", str(mtu), "netns", b.name])
        for ns, dev, addrs in ((a, a_dev, a_addrs), (b, b_dev, b_addrs)):
            lines = [f"addr add {x} dev {dev}" + (" nodad" if ":" in x else "") for x in addrs]
            ns.batch("\n".join([*lines, f"link set {dev} up", ""]))

    @staticmethod
    def remove_leftovers(pid):
        """Namespaces of a test process that was killed. Only ever called for a child of the caller that has ended."""
        if not os.path.isdir(NETNS_DIR):
            return
        for name in os.listdir(NETNS_DIR):
            if name.startswith(f"{PREFIX}-{pid}-"):
                run(["ip", "netns", "del", name], check=False)


class Site:
    """Two gateways, a host in the private network behind each, and the wire between the gateways:

        alice 10.1.0.10 -- 10.1.0.1 left 10.9.0.1 ==wire== 10.9.0.2 right 10.2.0.1 -- 10.2.0.10 bob

    and the same in IPv6 with fd01::, fd02::, fd09::. With nat=True a masquerading router stands between:

        left 10.8.0.1 -- 10.8.0.254 nat 10.9.0.254 ==wire== 10.9.0.2 right

    Each gateway has a default route to the other, so that without a tunnel traffic passes in clear and is seen."""

    LEFT_NET, RIGHT_NET = "10.1.0.0/16", "10.2.0.0/16"
    LEFT_NET6, RIGHT_NET6 = "fd01::/64", "fd02::/64"
    ALICE, BOB, ALICE6, BOB6 = "10.1.0.10", "10.2.0.10", "fd01::10", "fd02::10"
    EXTRA_NET, EXTRA = "10.4.0.0/24", "10.4.0.1"   # for a scenario that wants a second network behind right
    POOL, POOL6 = "10.3.0.0/24", "fd03::/120"
    #: what must never be seen in clear on the wire
    INNER = ("10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/24", "10.4.0.0/24", "fd01::/64", "fd02::/64", "fd03::/120")

    def __init__(self, net, nat=False, mtu=1500):
        self.net = net
        self.nat = None
        self.alice, self.left = net.namespace("alice"), net.namespace("left")
        self.right, self.bob = net.namespace("right"), net.namespace("bob")
        self.left_addr, self.right_addr = "10.9.0.1", "10.9.0.2"
        self.left_addr6, self.right_addr6 = "fd09::1", "fd09::2"
        net.link(self.alice, "eth0", ["10.1.0.10/16", "fd01::10/64"], self.left, "lan0", ["10.1.0.1/16", "fd01::1/64"])
        net.link(self.bob, "eth0", ["10.2.0.10/16", "fd02::10/64"], self.right, "lan0", ["10.2.0.1/16", "fd02::1/64"])
        if nat:
            self.nat = net.namespace("nat")
            self.left_addr, self.left_addr6 = "10.8.0.1", "fd08::1"
            net.link(self.left, "wan0", ["10.8.0.1/24", "fd08::1/64"],
                     self.nat, "in0", ["10.8.0.254/24", "fd08::254/64"], mtu)
            net.link(self.nat, "out0", ["10.9.0.254/24", "fd09::254/64"],
                     self.right, "wan0", ["10.9.0.2/24", "fd09::2/64"], mtu)
            self.nat.nft("table inet nat { chain post { type nat hook postrouting priority 100; policy accept;\n"
                         "oifname out0 masquerade\n}\n}\n")
            hop, hop6, back, back6 = "10.8.0.254", "fd08::254", "10.9.0.254", "fd09::254"
        else:
            net.link(self.left, "wan0", ["10.9.0.1/24", "fd09::1/64"],
                     self.right, "wan0", ["10.9.0.2/24", "fd09::2/64"], mtu)
            hop, hop6, back, back6 = "10.9.0.2", "fd09::2", "10.9.0.1", "fd09::1"
        for ns, via, via6 in ((self.left, hop, hop6), (self.right, back, back6), (self.alice, "10.1.0.1", "fd01::1"),
                              (self.bob, "10.2.0.1", "fd02::1")):
            ns.batch(f"route add default via {via}\nroute add ::/0 via {via6}\n")
