# SPDX-License-Identifier: Apache-2.0
"""Debian's libreswan as a peer. Needs a kernel with ESP, that is: a guest. Unpacked and laid over /usr as strongSwan is."""
import ipaddress
import os
import re

from . import unpacked
from .conn import Child, Sa, ipsec_conf_common, ipsec_section
from .peer import Peer
from .proc import Background, Failure, require, run, run_status

START = ('mount -t overlay overlay -o "lowerdir=$1:/usr" /usr && mount --bind "$2/pam.d" /etc/pam.d && exec /usr/libexec/ipsec/pluto --nofork --stderrlog '
         '--config "$2/ipsec.conf" --secretsfile "$2/ipsec.secrets" --nssdir "$2/nss" --rundir "$2/run"')

# pluto's names for what the strongSwan dialect calls by another
IKE_ALGS = {"aes128gcm16-prfsha256-x25519": "aes_gcm128-sha2_256-dh31", "aes128-sha256-modp2048": "aes128-sha2_256-modp2048",
            "aes256-sha256-ecp256": "aes256-sha2_256-dh19", "chacha20poly1305-prfsha256-x25519": "chacha20_poly1305-sha2_256-dh31"}
ESP_ALGS = {"aes128gcm16": "aes_gcm128", "aes128-sha256": "aes128-sha2_256", "aes256-sha256": "aes256-sha2_256",
            "chacha20poly1305": "chacha20_poly1305", "aes128gcm16-x25519": "aes_gcm128-dh31"}


class Libreswan(Peer):
    kind = "libreswan"
    tidy_kernel = False  # it lets neighbour discovery pass by policies of its own

    def start(self):
        for name in ("run", "nss"):
            os.makedirs(self.path(name), exist_ok=True)
        if not os.path.exists(self.path("nss/cert9.db")):  # it may have been killed
            run(["certutil", "-N", "-d", "sql:" + self.path("nss"), "--empty-password"])
        self.secrets = []
        self._write_conf()
        self._write_pam()
        lower = os.path.join(unpacked("libreswan"), "usr")
        self.process = Background(self.ns.argv("sh", "-c", START, "pluto", lower, self.dir), self.log)
        self.process.name = "pluto"
        self.wait_ready(lambda: self._whack_status("--status")[0] == 0, timeout=60)
        self._whack("--listen")

    def _tool(self, name):
        return os.path.join(unpacked("libreswan"), "usr/libexec/ipsec", name)

    def _whack_status(self, *args, timeout=60):
        return run_status(self.ns.argv(self._tool("whack"), "--rundir", self.path("run"), *args), timeout=timeout)

    def _whack(self, *args, timeout=60):
        status, out = self._whack_status(*args, timeout=timeout)
        if status != 0:
            raise Failure(f"{self.label}: whack {' '.join(args)}: status {status}: {out.strip()[-400:]}")
        return out

    def _write_conf(self):
        text = (f"config setup\n\tuniqueids=yes\n\tikev1-policy=accept\n\tnssdir={self.path('nss')}\n"
                f"\tipsecdir={self.dir}\n\n")  # where it looks for the passwords of users
        for conn in self.conns:
            text += ipsec_section("conn", conn.name, self._conn_lines(conn))
        self.write("ipsec.conf", text)
        self.write("ipsec.secrets", "".join(f"{line}\n" for line in self.secrets))

    def _write_pam(self):
        """Its PAM asks a file of names and passwords."""
        os.makedirs(self.path("pam.d"), exist_ok=True)
        ask = self.write("pam-ask", f'#!/bin/sh\ngrep -qxF "$PAM_USER:$(tr -d "\\000")" {self.path("pam-users")}\n')
        os.chmod(ask, 0o700)
        self.write("pam.d/pluto", f"auth required pam_exec.so quiet expose_authtok {ask}\naccount required pam_permit.so\n")

    def configure(self, *conns):
        for conn in conns:
            local, remote = conn.seen_from(self.side)
            if "psk" in (local.auth, remote.auth):
                self.secrets.append(f'@{local.id} @{remote.id} : PSK "{conn.psk}"')
            if local.cert:
                self._import(local.cert)
            if local.user:
                self.secrets.append(f'@{local.user[0]} : XAUTH "{local.user[1]}"')
            if remote.user:
                hashed = run(["openssl", "passwd", "-6", remote.user[1]]).strip()
                self.write("passwd", f"{remote.user[0]}:{hashed}:{conn.name}\n")
                self.write("pam-users", f"{remote.user[0]}:{remote.user[1]}\n")
            self.conns.append(conn)
        self._write_conf()
        self._whack("--rereadsecrets")
        for conn in conns:
            status, out = run_status(self.ns.argv(self._tool("addconn"), "--config", self.path("ipsec.conf"), "--ctlsocket",
                                                  self.path("run/pluto.ctl"), conn.name))
            require(status == 0, f"{self.label}: addconn {conn.name}: {out.strip()[-400:]}")
            if conn.start == "route":
                self._whack("--route", "--name", conn.name)

    def _import(self, cert):
        nss = "sql:" + self.path("nss")
        bundle = self.path(cert.name + ".p12")
        chain = self.write("chain.pem", "".join(open(c.path).read() for c in cert.issuers))
        run(["openssl", "pkcs12", "-export", "-in", cert.path, "-inkey", cert.key, "-certfile", chain, "-name", cert.name,
             "-passout", "pass:test", "-out", bundle])
        run(["pk12util", "-i", bundle, "-d", nss, "-W", "test", "-K", ""])
        run(["certutil", "-A", "-d", nss, "-n", cert.root.name, "-t", "CT,,", "-a", "-i", cert.root.path])

    def _conn_lines(self, conn):
        local, remote = conn.seen_from(self.side)
        lines = [("ikev2", "insist" if conn.version == 2 else "never"), *((k, f"@{v}" if k.endswith("id") else v) for k, v in
                                             ipsec_conf_common(conn, self.side)),
                 ("ike", IKE_ALGS[conn.ike]), ("phase2alg", ESP_ALGS[conn.esp]), ("mobike", "no"), ("pfs", "no"), ("auto", "ignore"),
                 ("fragmentation", "yes" if conn.fragmentation else "no"), ("keyingtries", "1"),
                 ("authby", "secret" if local.auth == "psk" else "rsasig" if "rsa" in local.cert.kind else "ecdsa")]
        if local.cert:
            lines += [("leftcert", local.cert.name), ("leftsendcert", "always"), ("rightca", "%same")]
        if local.user or remote.user:
            server, client = ("left", "right") if remote.user else ("right", "left")
            lines += [(server + "xauthserver", "yes"), (client + "xauthclient", "yes"), (server + "modecfgserver", "yes"),
                      (client + "modecfgclient", "yes"), ("modecfgpull", "no" if conn.push else "yes"), ("rekey", "no")]
            # its script takes 20 s in a guest; the scenario adds the address
            lines += [("leftusername", local.user[0]), ("leftupdown", "/bin/true")] if local.user else [("xauthby", conn.xauthby)]
        if local.pools:
            hosts = list(ipaddress.ip_network(local.pools[0]).hosts())
            lines += [("rightaddresspool", f"{hosts[0]}-{hosts[-1]}"), ("modecfgdns", ",".join(local.dns))]
        if conn.encap:
            lines.append(("encapsulation", "yes"))
        if conn.dpd:
            lines += [("dpddelay", conn.dpd), ("dpdtimeout", conn.dpd * 5), ("dpdaction", "clear"),
                      ("retransmit-timeout", f"{conn.dpd * 5}s")]
        if "leftupdown" in conn.options:
            lines.append(("leftupdown", conn.options["leftupdown"]))
        if conn.lifetime:
            lines += [("salifetime", conn.lifetime * 4), ("rekeymargin", conn.lifetime * 3), ("rekeyfuzz", "0%")]
        return lines

    def up(self, name="net-net", timeout=60):
        self._whack("--initiate", "--name", name, timeout=timeout)

    def down(self, name="net-net"):
        self._whack("--terminate", "--name", name)

    def rekey_child(self, name="net-net"):
        self._whack("--rekey-ipsec", "--name", name)

    def rekey_ike(self, name="net-net"):
        self._whack("--rekey-ike", "--name", name)

    def sas(self):
        """From `whack --status`: an established IKE_SA line, then the CHILD_SAs by the number of their IKE_SA."""
        out = self._whack("--status")
        ikes, found = {}, []
        for number, name in re.findall(
                r'#(\d+): "([^"]+)"\S* .*?(?:STATE_V2_ESTABLISHED_IKE_SA|STATE_(?:MAIN|AGGR|XAUTH|MODE_CFG)_\S+ .*newest;)', out):
            ikes[number] = Sa(name, (), "", [], [])
            found.append(ikes[number])
        for number, name, parent in re.findall(
                r'#(\d+): "([^"]+)"\S* .*?(?:STATE_V2_ESTABLISHED_CHILD_SA|IPsec SA established).*?(?:IKE|ISAKMP) SA #(\d+)', out):
            line = next((x for x in out.splitlines() if re.search(rf'#{number}: "[^"]+"\S* .*esp[.:]', x)), "")
            # it leaves leading zeros out
            spis = dict((d, s.zfill(8)) for s, d in re.findall(r"esp[.:]([0-9a-f]+)@(\S+)", line))
            local, remote = self.conns[0].seen_from(self.side)
            traffic = re.search(r"ESPin=(\S+) ESPout=(\S+)", line)
            sizes = [_size(x) for x in traffic.groups()] if traffic else [0, 0]
            child = Child(name, spis.get(local.addr, "0"), spis.get(remote.addr, "0"), 0, 0, sizes[0], sizes[1])
            if parent in ikes:
                ikes[parent].children.append(child)
        return found

    def wait_trap(self):
        """--route answers when it is done."""

    def stop(self):
        if self.process and self.process.alive():
            self._whack_status("--shutdown")
            status = self.process.stop(30)
            require(status == 0, f"{self.label} ended with status {status}")


def _size(text):
    found = re.match(r"(\d+)([KMG]?)B", text)
    return int(found.group(1)) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[found.group(2)] if found else 0


def available():
    return os.path.exists(os.path.join(unpacked("libreswan"), "usr/sbin/ipsec"))
