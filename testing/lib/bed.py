# SPDX-License-Identifier: Apache-2.0
"""The bed a scenario lies in: its topology, its two peers, and the checks that most scenarios make."""
import os

from .capture import Wire
from .certs import Pki
from .conn import Conn, End
from .cygnet import Cygnet
from .libreswan import Libreswan
from .net import Site
from .proc import Failure, require, wait_for
from .strongswan import StrongSwan
from .traffic import require_ping, transfer

PEERS = {p.kind: p for p in (Cygnet, StrongSwan, Libreswan)}
PSK = "a secret 'with' spaces, 43 chars of it or so"
LEFT_ID, RIGHT_ID = "left.example.org", "right.example.org"


class Bed:
    """What a scenario function gets. `initiator` and `responder` name the kinds of the peers on the left and right gateway."""

    def __init__(self, net, directory, initiator, responder, backend):
        self.net = net
        self.dir = directory
        self.kinds = {"left": initiator, "right": responder}
        self.backend = backend
        self.site = None
        self.left = self.right = None
        self.pki = Pki(os.path.join(directory, "pki"))

    # Making things

    def lay(self, nat=False, mtu=1500):
        """Makes the topology; see net.Site."""
        self.site = Site(self.net, nat=nat, mtu=mtu)
        return self.site

    def conn(self, v6_outer=False, **changes):
        """A PSK connection between the private networks, with `changes`."""
        site = self.site or self.lay()
        addrs = (site.left_addr6, site.right_addr6) if v6_outer else (site.left_addr, site.right_addr)
        return Conn(End(addrs[0], LEFT_ID, ts=[site.LEFT_NET]), End(addrs[1], RIGHT_ID, ts=[site.RIGHT_NET]),
                    psk=PSK).but(**changes)

    def with_certs(self, conn, kind, bulk=0, intermediates=0):
        """Gives both ends certificates of that kind of key from one root."""
        above = self.pki.ca("root", kind)
        for i in range(intermediates):
            above = self.pki.ca(f"intermediate{i}", kind, above, bulk)
        for end in (conn.left, conn.right):
            end.auth, end.cert = "pubkey", self.pki.leaf(end.id, above, kind, bulk)
        return conn

    def start(self, conn, right_conn=None, left_changes=None):
        """Starts both daemons with that connection; right_conn when the responder has it written differently, left_changes
        for what only the initiator does."""
        if self.site.nat and right_conn is None:
            right_conn = conn.but()
            right_conn.left.addr = "%any"
        for side, mine in (("right", right_conn or conn), ("left", conn.but(**(left_changes or {})))):
            peer = PEERS[self.kinds[side]](getattr(self.site, side), side, os.path.join(self.dir, side), self.backend)
            setattr(self, side, peer)
            peer.start()
            peer.configure(mine)
        return self.left, self.right

    @property
    def peers(self):
        return [p for p in (self.left, self.right) if p]

    def stop(self):
        """Ends both daemons. Each must end by itself, with status 0 and nothing left behind."""
        for peer in self.peers:
            peer.stop()
        if self.backend == "kernel":
            self.require_kernel_empty()

    # Checking things

    def wire(self):
        site = self.site
        return Wire([(site.left, "wan0"), (site.right, "wan0")], site.INNER)

    def wait_up(self, name="net-net", children=1):
        """Both ends hold exactly one IKE_SA of that name with so many CHILD_SAs, and agree about their SPIs."""
        def agreed():
            left, right = self.left.sa(name), self.right.sa(name)
            if not left or not right or len(left.children) != children or len(right.children) != children:
                return False
            spis = lambda sa, a, b: sorted((int(getattr(c, a), 16), int(getattr(c, b), 16)) for c in sa.children)
            return spis(left, "spi_in", "spi_out") == spis(right, "spi_out", "spi_in")
        wait_for(agreed, f"both ends to agree on one {name} with {children} CHILD_SA")

    def wait_gone(self, *peers, timeout=30):
        for peer in peers or self.peers:
            wait_for(lambda p=peer: not p.sas(), f"{peer.label} to have no SA left", timeout)

    def traffic(self, sender=None, receiver=None, address=None, transfer_size=1 << 20, kinds=("esp", "espudp"),
                counted=True):
        """Pings and a TCP transfer through the tunnel: answered, only ESP on the wire, and counted by both ends. Without
        `counted` the tunnel may still be coming up, and a first ping may be lost."""
        site = self.site
        sender, receiver = sender or site.alice, receiver or site.bob
        address = address or site.BOB
        for _ in range(3):
            before = [p.child() for p in self.peers] if counted else []
            with self.wire() as wire:
                require_ping(sender, address)
                if transfer_size:
                    transfer(sender, receiver, address, transfer_size)
                wire.require_encrypted(1, kinds)
            if counted and wire.least(kinds) < 3:
                continue  # a first packet may be lost while an SA settles
            after = [p.child() for p in self.peers] if counted else []
            if all(old and new and old.spi_in == new.spi_in for old, new in zip(before, after)):
                break
            # a rekeying by the clock came between: the new one need not have counted any of it
            require(all(after), "there is no CHILD_SA after the traffic")
        else:
            raise Failure(f"in each of three rounds the CHILD_SA was replaced or packets were missing: {wire.summary()}")
        for peer, old, new in zip(self.peers, before, after):
            for key in ("bytes_in", "bytes_out"):
                require(getattr(new, key) > getattr(old, key), f"{peer.label} counted no {key} for the traffic")
        return wire

    def kernel_states(self, peer):
        """The SAs in a gateway's kernel, as sets of words."""
        text = peer.ns.ip("xfrm", "state")
        return [("src" + part) for part in ("\n" + text).split("\nsrc")[1:]]

    def kernel_policies(self, peer):
        """The policies in a gateway's kernel, without those that belong to sockets."""
        text = peer.ns.ip("xfrm", "policy")
        return [x for x in (("src" + part) for part in ("\n" + text).split("\nsrc")[1:]) if "\n\tsocket " not in x]

    @property
    def tidy_peers(self):
        return [p for p in self.peers if p.tidy_kernel]

    def wait_kernel_pairs(self):
        """As kernel_fault() says, for both gateways. A daemon may keep a replaced inbound SA for some seconds."""
        for peer in self.tidy_peers:
            try:
                wait_for(lambda p=peer: not self.kernel_fault(p), "the right state in the kernel", timeout=15)
            except Failure:
                raise Failure(self.kernel_fault(peer) or "the kernel's state settled too late") from None

    def kernel_fault(self, peer):
        """What is wrong, or None: there must be exactly one SA each way, with the SPIs that the daemon names, and the out,
        in and fwd policies of one tunnel."""
        child = peer.child()
        if not child:
            return f"{peer.label} has no CHILD_SA"
        states, policies = self.kernel_states(peer), self.kernel_policies(peer)
        if len(states) != 2:
            return f"{peer.label}: {len(states)} SAs in the kernel, not 2: {' | '.join(states)}"
        for spi in (child.spi_in, child.spi_out):
            if not any(f"spi 0x{int(spi, 16):08x} " in s for s in states):
                return f"{peer.label}: no SA with SPI {spi} in the kernel: {' | '.join(states)}"
        dirs = sorted(d for p in policies for d in ("out", "in", "fwd") if f"dir {d} " in p)
        if dirs != ["fwd", "in", "out"] or not all("tmpl " in p for p in policies):
            return f"{peer.label}: not the policies of one tunnel: {' | '.join(policies)}"
        return None

    def require_kernel_empty(self):
        for peer in self.tidy_peers:
            left = self.kernel_states(peer) + self.kernel_policies(peer)
            require(not left, f"left in the kernel by {peer.label}: {' | '.join(left)}")
