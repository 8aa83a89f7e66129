# SPDX-License-Identifier: Apache-2.0
"""What the areas stall and flood have in common: a gateway, peers with many connections to it, and what statusall says.

    crowd 10.9.0.1 --- 10.9.0.2 gateway 10.8.0.2 --- 10.8.0.1 probe
                                gateway 10.7.0.2 --- 10.7.0.1 stuck

`crowd` brings up many tunnels, `probe` has some that are up all the time and checks that the gateway lives, `stuck` is for
whoever suffers. All are cygnet with
userspace ESP. The connections of the gateway are for many peers each."""
import json
import os
import socket
import subprocess
import threading
import time

from lib.cygnet import installed
from lib.proc import Background, Failure, require, run_status, wait_for

PSK = "the secret of a whole crowd of peers"
SETTINGS = """retransmit_base = 1.3
retransmit_timeout = 2s
retransmit_tries = 12
kernel = kernel-tun
log {{ syslog = no }}
crash_secret = {dir}/crash.secret
{more}
"""
HEAD = "config setup\n\tdialect=strongswan\n\tuniqueids=no\n\nconn %default\n\tkeyexchange=ikev2\n\tauthby=secret\n" \
       "\tike=aes128gcm16-prfsha256-x25519!\n\tesp=aes128gcm16!\n\treauth=no\n\trekey=no\n\tmobike=no\n"


def section(name, **keys):
    return f"conn {name}\n" + "".join(f"\t{k}={v}\n" for k, v in keys.items())


class Daemon:
    """One cygnetd in a namespace, with files of its own."""

    def __init__(self, ns, directory, conns, settings="", plugins=(), plugin_dir=None, env=None):
        self.ns, self.dir, self.env = ns, directory, env
        self.process = None
        self.wrap = []   # a command line that runs it
        os.makedirs(self.path("run"), exist_ok=True)
        self.write("ipsec.conf", HEAD + conns)
        self.write("ipsec.secrets", f': PSK "{PSK}"\n')
        self.write("cygnet.conf", SETTINGS.format(dir=directory, more=settings))
        self.plugin_dir = installed("lib", "cygnet", "plugins") + (f":{plugin_dir}" if plugin_dir else "")
        self.options = ["--conf", self.path("ipsec.conf"), "--secrets", self.path("ipsec.secrets"), "--settings",
                        self.path("cygnet.conf"), "--rundir", self.path("run"), "--plugindir", self.plugin_dir]

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        os.chmod(self.path(name), 0o600)

    def start(self, log=None):
        self.process = Background(self.ns.argv(*self.wrap, installed("sbin", "cygnetd"), "--nofork", *self.options),
                                  log or self.path("log"), env=self.env)
        self.process.name = "cygnetd"

        def ready():
            require(self.process.alive(), f"{self.dir}: the daemon ended: {self.log_text()[-500:]}")
            return self.tool("status")[0] == 0
        wait_for(ready, f"{self.dir}: the daemon to be ready", 60)
        return self

    def log_text(self):
        with open(self.path("log"), errors="replace") as f:
            return f.read()

    def tool(self, *verb, timeout=60):
        return run_status(self.ns.argv(installed("sbin", "ipsec"), "--rundir", self.path("run"), *verb), timeout=timeout)

    def query(self, verb="stats", *args):
        """What the daemon says about itself; `stats` is statusall without its lists."""
        status, out = self.tool(verb, *args, "--json")
        require(status == 0, f"{self.dir}: ipsec {verb}: status {status}: {out[-300:]}")
        return json.loads(out)

    def up(self):
        return self.query("status", "none")["sas"]["up"]

    def end(self):
        if self.process:
            self.process.kill()

    def stop(self):
        """By itself, in time, and without a word from a sanitizer."""
        status = self.process.stop(30)
        require(status == 0, f"{self.dir}: the daemon ended with status {status}")


def crowd_conns(n, **keys):
    """n connections, each with an identity and a network of its own."""
    return "".join(section(f"c{i}", left="10.9.0.1", leftid=f"c{i}@crowd.example", right="10.9.0.2", rightid="gw@example",
                           **{"leftsubnet": f"10.{64 + i // 256}.{i % 256}.0/24", "rightsubnet": "10.2.0.0/16", "auto": "start",
                              "keyingtries": "%forever", "dpdaction": "none", **keys}) for i in range(n))


def probe_conns(n, **keys):
    return "".join(section(f"p{i}", left="10.8.0.1", leftid=f"p{i}@probe.example", right="10.8.0.2", rightid="gw@example",
                           leftsubnet=f"10.32.{i}.0/24", rightsubnet="10.2.0.0/16",
                           **{"auto": "start", "keyingtries": "%forever", "dpddelay": "1s", "dpdaction": "restart", **keys})
                   for i in range(n))


def gateway_conns(crowd=None, probe=None):
    common = {"leftid": "gw@example", "right": "%any", "leftsubnet": "10.2.0.0/16", "auto": "add", "dpdaction": "none"}
    return section("crowd", **{"left": "10.9.0.2", "rightid": "*@crowd.example", "rightsubnet": "10.64.0.0/10", **common,
                               **(crowd or {})}) + \
        section("probe", **{"left": "10.8.0.2", "rightid": "*@probe.example", "rightsubnet": "10.32.0.0/16", **common,
                            **(probe or {})})


class Place:
    """The three namespaces."""

    def __init__(self, net):
        self.net = net
        self.crowd, self.gateway, self.probe, self.stuck = (net.namespace(x) for x in ("crowd", "gateway", "probe", "stuck"))
        net.link(self.crowd, "wan0", ["10.9.0.1/16"], self.gateway, "wan0", ["10.9.0.2/16"])
        net.link(self.probe, "wan0", ["10.8.0.1/24"], self.gateway, "wan1", ["10.8.0.2/24"])
        net.link(self.stuck, "wan0", ["10.7.0.1/24"], self.gateway, "wan2", ["10.7.0.2/24"])
        self.stuck.batch("route add default via 10.7.0.2\n")
        self.crowd.batch("route add default via 10.9.0.2\n")
        self.probe.batch("route add default via 10.8.0.2\n")


def build(source, output, *flags):
    """Compiles one file of the test against the installed headers."""
    done = subprocess.run([os.environ.get("CC", "gcc").split()[-1], "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror",
                           "-D_GNU_SOURCE", "-I", installed("include"), *flags, "-o", output, source],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise Failure(f"{source} does not compile: {done.stdout[-800:]}")


def examine(daemon, seconds):
    """What ipsec doctor finds in the seconds that begin now: a function that waits for it."""
    box = []

    def look():
        try:
            findings = daemon.query("doctor", str(seconds))["findings"]
            box.append({f["id"] for f in findings if f["level"] != "past"})
        except Failure as err:
            box.append(err)

    thread = threading.Thread(target=look)
    thread.start()

    def found():
        thread.join()
        if isinstance(box[0], Failure):
            raise box[0]
        return box[0]
    return found


def unread_client(daemon, command):
    """A control client that asks and never reads. Returns the socket, which must be kept."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(os.path.join(daemon.path("run"), "control.sock"))
    s.sendall((json.dumps({"id": 1, "cmd": command}) + "\n").encode())
    return s


def seconds(function):
    began = time.monotonic()
    function()
    return time.monotonic() - began
