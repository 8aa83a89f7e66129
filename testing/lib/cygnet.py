# SPDX-License-Identifier: Apache-2.0
"""cygnet as a peer. How its programs are called, and how their answers are read, is all in this file."""
import json
import os

from .conn import Child, Sa, ipsec_conf_common, ipsec_section
from .peer import Peer
from .proc import Background, Failure, require, run_status

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Retransmission as lively as the other peers' in these tests: first repeat after 1 s, given up after about 10 s.
SETTINGS = """retransmit_base = 1.4
retransmit_timeout = 1s
retransmit_tries = 5
kernel = {kernel}
{more}
"""


def installed(*path):
    """Where the programs under test were installed (testing/lib/build does)."""
    return os.path.join(os.environ.get("CYGNET_PREFIX", os.path.join(ROOT, "build-check", "inst")), *path)


class Cygnet(Peer):
    kind = "cygnet"
    rekeys_on_command = False

    def __init__(self, ns, side, directory, backend, settings=""):
        super().__init__(ns, side, directory, backend)
        self.settings = settings
        self.setup = ""   # further lines of config setup
        self.secrets = []

    # Command lines

    def daemon_argv(self):
        return [installed("sbin", "cygnetd"), "--nofork", "--conf", self.path("ipsec.conf"),
                "--secrets", self.path("ipsec.secrets"), "--settings", self.path("cygnet.conf"),
                "--rundir", self.path("run"), "--plugindir", installed("lib", "cygnet", "plugins")]

    def tool_argv(self, *verb):
        return [installed("sbin", "ipsec"), "--rundir", self.path("run"), *verb]

    def ipsec_status(self, *verb, timeout=60):
        """(exit status, output) of the tool."""
        return run_status(self.ns.argv(*self.tool_argv(*verb)), timeout=timeout)

    def ipsec(self, *verb, timeout=60):
        status, out = self.ipsec_status(*verb, timeout=timeout)
        if status != 0:
            raise Failure(f"{self.label}: ipsec {' '.join(verb)}: status {status}: {out.strip()[-400:]}")
        return out

    def query(self, *verb):
        out = self.ipsec(*verb, "--json")
        try:
            return json.loads(out)
        except ValueError:
            raise Failure(f"{self.label}: ipsec {' '.join(verb)} --json is no JSON: {out[:300]}") from None

    # What every peer can do

    def start(self):
        os.makedirs(self.path("run"), exist_ok=True)
        kernel = self.backend == "kernel"
        self.write("cygnet.conf", SETTINGS.format(kernel="kernel-netlink" if kernel else "kernel-tun", more=self.settings))
        self.secrets = []
        self._write_conf()
        self.process = Background(self.ns.argv(*self.daemon_argv()), self.log)
        self.process.name = "cygnetd"
        self.wait_ready(lambda: self.ipsec_status("status")[0] == 0)

    def configure(self, *conns):
        for conn in conns:
            local, remote = conn.seen_from(self.side)
            if "psk" in (local.auth, remote.auth):
                self.secrets.append(f'{local.id} {remote.id} : PSK "{conn.psk}"')
            if local.cert:
                kind = "RSA" if local.cert.kind.startswith("rsa") else "ECDSA"
                self.secrets.append(f": {kind} {local.cert.key}")
            for user in (local.user, remote.user):
                if user:
                    self.secrets.append(f'{user[0]} : XAUTH "{user[1]}"')
            if local.key:
                self.secrets.append(f": PKCS8 {local.key}")
            self.conns.append(conn)
        self._write_conf()
        self.ipsec("reload")

    def _write_conf(self):
        text = "config setup\n\tdialect=strongswan\n\tuniqueids=yes\n" + self.setup + "\n"
        authorities = {}
        for conn in self.conns:
            for end in conn.seen_from(self.side):
                if end.cert:
                    for ca in [end.cert.root, *(end.cert.intermediates if end is conn.seen_from(self.side)[0] else [])]:
                        authorities[ca.name] = ca.path
        for name, path in authorities.items():
            text += ipsec_section("ca", name, [("cacert", path), ("auto", "add")])
        for conn in self.conns:
            text += ipsec_section("conn", conn.name, self._conn_lines(conn))
        self.write("ipsec.conf", text)
        self.write("ipsec.secrets", "".join(f"{line}\n" for line in self.secrets))

    def _conn_lines(self, conn):
        local, remote = conn.seen_from(self.side)
        lines = [("keyexchange", f"ikev{conn.version}"), *ipsec_conf_common(conn, self.side), ("ike", conn.ike + "!"), ("esp", conn.esp + "!"),
                 ("mobike", "no"), ("fragmentation", "yes" if conn.fragmentation else "no"), ("keyingtries", "1"),
                 ("leftauth", _proof(local)), ("rightauth", _proof(remote)),
                 ("auto", {"add": "add", "route": "route", "start": "start"}[conn.start])]
        if local.cert:
            lines += [("leftcert", local.cert.path), ("leftsendcert", "always")]
        if remote.cert:
            lines.append(("rightca", f'"{_subject(remote.cert.root)}"'))
        if local.pub and remote.pub:
            lines += [("leftsigkey", local.pub), ("rightsigkey", remote.pub)]
        if local.vips:
            lines.append(("leftsourceip", ",".join({"0.0.0.0": "%config4", "::": "%config6"}.get(v, v) for v in local.vips)))
        if local.pools:
            lines.append(("rightsourceip", ",".join(local.pools)))
        if local.dns:
            lines.append(("rightdns", ",".join(local.dns)))
        if conn.encap:
            lines.append(("forceencaps", "yes"))
        if conn.aggressive:
            lines.append(("aggressive", "yes"))
        if conn.push:
            lines.append(("modeconfig", "push"))
        if local.user:
            lines += [*([] if local.auth == "xauth" else [("leftauth2", "xauth")]), ("xauth_identity", local.user[0])]
        if remote.user and remote.auth != "xauth":
            lines.append(("rightauth2", "xauth-generic"))
        if conn.dpd:
            lines += [("dpdaction", "clear"), ("dpddelay", f"{conn.dpd}s")]
        for key, value in (("ikelifetime", conn.ike_lifetime), ("lifetime", conn.lifetime)):
            if value:
                # the dialect names the end of the lifetime; the rekeying comes `margintime` before it
                lines.append((key, f"{value * 4}s"))
        # the dialect's default is yes; a scenario that wants it says so
        lines += {"reauth": "no", **conn.options}.items()
        if conn.lifetime or conn.ike_lifetime:
            lines += [("margintime", f"{(conn.lifetime or conn.ike_lifetime) * 3}s"), ("rekeyfuzz", "0%")]
        return lines

    def up(self, name="net-net", timeout=60):
        """The last line that `ipsec up` prints is its verdict: the one sentence that says why it failed."""
        status, out = self.ipsec_status("up", name, timeout=timeout)
        if status != 0:
            lines = out.strip().splitlines() or ["no reason given"]
            raise Failure(f"{self.label}: {lines[-1]}")

    def down(self, name="net-net"):
        self.ipsec("down", name)

    def down_child(self, name="net-net"):
        self.ipsec("down", name + "{}")

    def sas(self):
        found = []
        for sa in self.query("status")["ike_sas"]:
            if sa["state"] != "ESTABLISHED":
                continue
            children = [Child(c["name"], c["spi_in"], c["spi_out"], c["packets_in"], c["packets_out"], c["bytes_in"],
                              c["bytes_out"], c["remote_ts"]) for c in sa["children"] if c["state"] == "INSTALLED"]
            found.append(Sa(sa["name"], (sa["spi_i"], sa["spi_r"]), sa["remote_id"], children, sa.get("vips", [])))
        return found

    def leases(self):
        return {pool["name"]: [x["address"] for x in pool["leases"] if x["online"]] for pool in self.query("leases")["pools"]}

    def dns(self):
        return [d for sa in self.query("status")["ike_sas"] for d in sa.get("dns", [])]

    def wait_trap(self):
        """`route` answers when the policy is in place; so does a reload with auto=route."""

    def stop(self):
        if self.process and self.process.alive():
            status = self.process.stop()
            require(status == 0, f"{self.label} ended with status {status}: {self.log_text()[-500:]}")
        require("Sanitizer" not in self.log_text(), f"{self.label}: a sanitizer spoke: see its log")
        for conn in self.conns:
            require(not conn.psk or conn.psk not in self.log_text(), f"{self.label}: the pre-shared key is in the log")


def _proof(end):
    """An end that proves nothing but its user (hybrid authentication) says so in place of a key."""
    return "xauth-generic" if end.auth == "xauth" else end.auth


def _subject(cert):
    return f"O=cygnet test, CN={cert.name}"


def available():
    return os.access(installed("sbin", "cygnetd"), os.X_OK)
