# SPDX-License-Identifier: Apache-2.0
"""Debian's strongSwan as a peer. Its packages are unpacked, not installed: laid over /usr in a mount namespace."""
import glob
import os

from . import unpacked
from .conn import Child, Sa
from .peer import Peer
from .proc import Background, Failure, require, wait_for
from .vici import Session

PACKAGES = ["libstrongswan", "libstrongswan-standard-plugins", "libstrongswan-extra-plugins", "libcharon-extra-plugins",
            "libcharon-extauth-plugins", "strongswan-libcharon", "strongswan-charon", "strongswan-swanctl"]

PLUGINS = ("random nonce openssl aes sha1 sha2 md5 hmac kdf gmp gcm ccm ctr cmac xcbc chapoly curve25519 mgf1 x509 constraints "
           "pubkey pkcs1 pkcs8 pkcs12 pem revocation drbg xauth-generic {kernel} socket-default vici updown resolve")

CONF = """charon {{
	load = {plugins}
	# a lost packet is repeated after 1 s, and a dead peer given up after about 10 s
	retransmit_base = 1.4
	retransmit_timeout = 1
	retransmit_tries = 5
	i_dont_care_about_security_and_use_aggressive_mode_psk = yes
	filelog {{
		log {{
			path = {log}
			time_format = %T
			flush_line = yes
			default = 1
			ike = 2
			enc = 1
		}}
	}}
	plugins {{
		resolve {{
			file = {dir}/resolv.conf
			resolvconf {{
				path = /nonexistent
			}}
		}}
		vici {{
			socket = unix:///run/charon.vici
		}}
	}}
}}
"""

START = ('mount -t overlay overlay -o "lowerdir=$1:/usr" /usr && mount --bind "$2" /run && '
         'exec /usr/lib/ipsec/charon')


class StrongSwan(Peer):
    """charon in a gateway's namespace. With the userspace back end it speaks ESP over UDP only (kernel-libipsec): it makes
    the other side believe that there is a NAT. It has no trap policies then."""
    kind = "strongswan"

    def start(self):
        plugins = PLUGINS.format(kernel="kernel-libipsec kernel-netlink" if self.backend == "userspace" else "kernel-netlink")
        conf = self.write("strongswan.conf", CONF.format(plugins=plugins, log=self.log, dir=self.dir))
        run_dir = self.path("run")
        os.makedirs(run_dir, exist_ok=True)
        lower = ":".join(os.path.join(unpacked(p), "usr") for p in PACKAGES)
        self.process = Background(self.ns.argv("sh", "-c", START, "charon", lower, run_dir), self.path("stderr"),
                                  env={"STRONGSWAN_CONF": conf})
        self.process.name = "charon"
        self.wait_ready(self._answers)

    def _session(self, timeout=30):
        return Session(self.path("run/charon.vici"), timeout)

    def _answers(self):
        try:
            with self._session() as s:
                s.request("version")
            return True
        except (OSError, Failure):
            return False

    def _command(self, command, message=None, event=None, timeout=30):
        with self._session(timeout) as s:
            answer, events = s.request(command, message, event)
        return answer, events

    def _do(self, command, message, event=None, timeout=30):
        answer, events = self._command(command, message, event, timeout)
        if answer.get("success") != "yes":
            said = [e["msg"] for e in events if "msg" in e]
            raise Failure(f"{self.label}: {command}: {answer.get('errmsg', answer)}" + (f" ({said[-1]})" if said else ""))
        return answer

    def configure(self, *conns):
        """Loads connections with everything that they need. Only adds; nothing is unloaded."""
        for conn in conns:
            local, remote = conn.seen_from(self.side)
            for cert in {c.path: c for e in (local, remote) if e.cert for c in [e.cert.root]}.values():
                self._do("load-cert", {"type": "X509", "flag": "CA", "data": _read(cert.path)})
            if local.cert:
                for issuer in local.cert.intermediates:
                    self._do("load-cert", {"type": "X509", "flag": "CA", "data": _read(issuer.path)})
                self._do("load-key", {"type": "any", "data": _read(local.cert.key)})
            if "psk" in (local.auth, remote.auth):
                self._do("load-shared", {"type": "IKE", "data": conn.psk,
                                         "owners": [x.id for x in (local, remote)]})
            for user in (local.user, remote.user):
                if user:
                    self._do("load-shared", {"type": "XAUTH", "data": user[1], "owners": [user[0]]})
            pools = []
            for i, net in enumerate(local.pools):
                pool = {"addrs": net}
                dns = [d for d in local.dns if (":" in d) == (":" in net)]
                self._do("load-pool", {f"{conn.name}-{i}": {**pool, **({"dns": dns} if dns else {})}})
                pools.append(f"{conn.name}-{i}")
            self.conns.append(conn)
            self._do("load-conn", {conn.name: self._connection(conn, local, remote, pools)})

    def _connection(self, conn, local, remote, pools):
        child = {"mode": conn.mode, "esp_proposals": conn.esp.split(","), "rekey_time": conn.lifetime or 3600,
                 "dpd_action": "clear", "start_action": {"add": "none", "route": "trap", "start": "start"}[conn.start],
                 "local_ts": local.ts or ["dynamic"], "remote_ts": remote.ts or ["dynamic"]}
        if conn.lifetime:
            child.update(life_time=conn.lifetime * 4, rand_time=0)
        out = {"version": conn.version, "local_addrs": [local.addr], "remote_addrs": [remote.addr], "proposals": conn.ike.split(","),
               "mobike": "no", "fragmentation": "yes" if conn.fragmentation else "no", "encap": "yes" if conn.encap else "no",
               "rekey_time": conn.ike_lifetime or 14400, "reauth_time": 0, "dpd_delay": conn.dpd, "unique": "replace",
               "local": _auth(local, True), "remote": _auth(remote, False), "children": {conn.name: child}}
        if conn.version == 1:
            out.update(aggressive="yes" if conn.aggressive else "no", pull="no" if conn.push else "yes")
            for end, key in ((local, "local"), (remote, "remote")):
                if end.user and end.auth != "xauth":  # else hybrid authentication: nothing before it
                    out[key + "-xauth"] = {"auth": "xauth", **({"xauth_id": end.user[0]} if end is local else {}), "round": "2"}
            if conn.ike_lifetime:  # it has no other way
                out.update(reauth_time=conn.ike_lifetime, rekey_time=0)
        if conn.ike_lifetime:
            out.update(over_time=conn.ike_lifetime, rand_time=0)
        if local.vips:
            out["vips"] = local.vips
        if pools:
            out["pools"] = pools
        return out

    def up(self, name="net-net", timeout=60):
        self._do("initiate", {"child": name, "ike": name, "timeout": timeout * 1000, "loglevel": 1}, "control-log", timeout + 5)

    def down(self, name="net-net"):
        self._do("terminate", {"ike": name, "timeout": 20000, "loglevel": 1}, "control-log")

    def down_child(self, name="net-net"):
        self._do("terminate", {"child": name, "timeout": 20000, "loglevel": 1}, "control-log")

    def rekey_child(self, name="net-net"):
        self._do("rekey", {"child": name})

    def rekey_ike(self, name="net-net"):
        self._do("rekey", {"ike": name})

    def sas(self):
        _, events = self._command("list-sas", {}, "list-sa")
        found = []
        for event in events:
            for name, sa in event.items():
                if sa.get("state") != "ESTABLISHED":
                    continue
                children = [Child(c["name"], c["spi-in"], c["spi-out"], int(c.get("packets-in", 0)),
                                  int(c.get("packets-out", 0)), int(c.get("bytes-in", 0)), int(c.get("bytes-out", 0)), c.get("remote-ts", []))
                            for c in sa.get("child-sas", {}).values() if c["state"] == "INSTALLED"]
                found.append(Sa(name, (sa["initiator-spi"], sa["responder-spi"]), sa.get("remote-id", ""), children,
                                sa.get("local-vips", [])))
        return found

    def leases(self):
        """Addresses given out, by pool."""
        answer, _ = self._command("get-pools", {"leases": "yes"})
        return {name: [x["address"] for x in pool.get("leases", {}).values() if x["status"] == "online"]
                for name, pool in answer.items()}

    def dns(self):
        """The name servers that were received."""
        return [line.split()[1] for line in _read(self.path("resolv.conf")).splitlines() if line.startswith("nameserver")]

    def stop(self):
        if self.process and self.process.alive():
            status = self.process.stop()
            require(status == 0, f"{self.label} ended with status {status}")

    def wait_trap(self):
        """charon installs traps asynchronously."""
        wait_for(lambda: self._command("list-policies", {"trap": "yes"}, "list-policy")[1], "charon's trap policy")


def _auth(end, local):
    if end.auth == "xauth":
        return {"auth": "xauth", "id": end.id, **({"xauth_id": end.user[0]} if local else {})}
    out = {"auth": "psk" if end.auth == "psk" else "pubkey", "id": end.id}
    if end.auth != "psk":
        out.update({"certs": [_read(end.cert.path)]} if local else {"cacerts": [_read(end.cert.root.path)]})
    return out


def _read(path):
    with open(path) as f:
        return f.read()


def available():
    return all(glob.glob(os.path.join(unpacked(p), "usr", "*")) for p in PACKAGES)
