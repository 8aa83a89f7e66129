# SPDX-License-Identifier: Apache-2.0
"""One connection, described once and written in the language of each peer: swanctl.conf, ipsec.conf of either dialect."""
import copy
from dataclasses import dataclass, field

from .certs import Cert


@dataclass
class End:
    """One end of a connection."""
    addr: str                                    # "%any" as seen by a peer that does not know it
    id: str
    auth: str = "psk"                            # or "pubkey"
    cert: Cert = None
    key: str = ""                                # without a certificate: files with the private key
    pub: str = ""                                # and the public key
    ts: list = field(default_factory=list)       # networks behind it
    vips: list = field(default_factory=list)     # "0.0.0.0", "::": asks the other end for a virtual address
    user: tuple = ()                             # (name, password) with which it logs in (XAUTH)
    pools: list = field(default_factory=list)    # networks it gives virtual addresses from
    dns: list = field(default_factory=list)      # and name servers with them


@dataclass
class Conn:
    """`left` and `right` are the two gateways; seen_from() turns it so that local and remote are right for one of them."""
    left: End
    right: End
    name: str = "net-net"
    psk: str = ""
    ike: str = "aes128gcm16-prfsha256-x25519"
    esp: str = "aes128gcm16"
    mode: str = "tunnel"
    ike_lifetime: int = 0                        # seconds, 0: as the daemon likes
    lifetime: int = 0
    dpd: int = 0                                 # delay in seconds, 0: off
    start: str = "add"                           # or "route", "start"
    fragmentation: bool = True
    encap: bool = False
    version: int = 2                             # of IKE
    aggressive: bool = False
    push: bool = False                           # Mode Config of IKEv1: the server pushes
    xauthby: str = "file"                        # what libreswan asks for users
    options: dict = field(default_factory=dict)  # further keys of cygnet's ipsec.conf

    def seen_from(self, side):
        """(local, remote) for the gateway "left" or "right"."""
        return (self.left, self.right) if side == "left" else (self.right, self.left)

    def but(self, **changes):
        """A copy with some things different: conn.but(psk="wrong")."""
        other = copy.deepcopy(self)
        for key, value in changes.items():
            if not hasattr(other, key):
                raise AttributeError(key)
            setattr(other, key, value)
        return other


@dataclass
class Child:
    """A CHILD_SA as any of the peers reports it."""
    name: str
    spi_in: str
    spi_out: str
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    remote_ts: list = field(default_factory=list)


@dataclass
class Sa:
    """An established IKE_SA as any of the peers reports it."""
    name: str
    spis: tuple
    remote_id: str
    children: list
    vips: list


def ipsec_conf_common(conn, side):
    """The lines that both ipsec.conf dialects write alike, as (key, value); left is local."""
    local, remote = conn.seen_from(side)
    lines = [("left", local.addr), ("leftid", local.id), ("right", remote.addr), ("rightid", remote.id)]
    if local.ts:
        lines.append(("leftsubnet", ",".join(local.ts)))
    if remote.ts:
        lines.append(("rightsubnet", ",".join(remote.ts)))
    lines.append(("type", conn.mode))
    return lines


def ipsec_section(kind, name, lines):
    """One section of an ipsec.conf."""
    return f"{kind} {name}".rstrip() + "\n" + "".join(f"\t{k}={v}\n" for k, v in lines) + "\n"
