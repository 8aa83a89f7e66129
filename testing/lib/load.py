# SPDX-License-Identifier: Apache-2.0
"""A responder under the load of `ipsec load-test`, in two network namespaces, and what it costs: used by testing/bench and the area perf."""
import json
import os
import re
import subprocess
import time

from . import unpacked
from .cygnet import ROOT, installed
from .proc import Background, Failure, require, run, run_status, wait_for
from .strongswan import PACKAGES, START
from .vici import Session

GATEWAY, GENERATOR, SOURCES = "10.9.0.1", "10.9.0.2", "10.64.0.0/11"
CLIENT_NETS, BEHIND = "10.128.0.0/9", "10.127.0.0/16"
XAUTH_USER, XAUTH_PASSWORD, XAUTH_USERS = "user-%u", "pass-word", 4000

#: IKE and ESP proposals, how both sides authenticate; W4 is IKEv1 with XAUTH
WORKLOADS = {
    "W1": ("aes128gcm16-prfsha256-x25519", "aes128gcm16", "psk"),
    "W2": ("aes128-sha256-modp2048", "aes128-sha256", "psk"),
    "W3r": ("aes128gcm16-prfsha256-x25519", "aes128gcm16", "rsa"),
    "W4": ("aes128-sha256-x25519", "aes128gcm16", "psk"),
    "W3e": ("aes128gcm16-prfsha256-x25519", "aes128gcm16", "ecdsa"),
}

CYGNET_SETTINGS = """load = openssl xauth-generic socket-reuseport socket-default kernel-null kernel-tun
kernel = {kernel}
socket = {socket}
workers = {workers}
cookie_threshold_total = 10000000
install_routes = no
socket_rcvbuf = {rcvbuf}
log {{
	default = error
}}
{more}
"""

# as well as it can be tuned: only OpenSSL, no logging, a large SA table, as little locking as its table allows
CHARON_CONF = """charon {{
	load = openssl random nonce kdf pem pkcs1 pkcs8 x509 pubkey constraints xauth-generic kernel-libipsec kernel-netlink socket-default vici
	threads = 16
	ikesa_table_size = 16384
	ikesa_table_segments = 256
	install_routes = no
	install_virtual_ip = no
	dos_protection = no
	half_open_timeout = 30
	retransmit_tries = 2
	reuse_ikesa = no
	syslog {{
		daemon {{
			default = -1
		}}
		auth {{
			default = -1
		}}
	}}
	filelog {{
		log {{
			path = {log}
			default = -1
			flush_line = yes
		}}
	}}
	plugins {{
		vici {{
			socket = unix:///run/charon.vici
		}}
	}}
}}
"""


def xauth_users():
    return [XAUTH_USER.replace("%u", str(i)) for i in range(1, XAUTH_USERS + 1)]


def cpus():
    """(responder's, generator's) CPU; the same one where there is no other."""
    have = sorted(os.sched_getaffinity(0))
    return have[0], have[-1]


class Bed:
    """gateway 10.9.0.1 == 10.9.0.2 generator, which has 10.64.0.0/11 besides."""

    def __init__(self, net, directory):
        self.dir = directory
        self.gateway, self.generator = net.namespace("gw"), net.namespace("gen")
        net.link(self.gateway, "eth0", [f"{GATEWAY}/24"], self.generator, "eth0", [f"{GENERATOR}/24"])
        self.gateway.ip("route", "add", SOURCES, "via", GENERATOR)
        self.generator.ip("route", "add", "local", SOURCES, "dev", "lo")
        # kernel-libipsec installs no policy without an address inside
        self.gateway.ip("addr", "add", "10.127.0.1/16", "dev", "lo")
        self.cpu, self.load_cpu = cpus()
        self.limit = []     # what responders are started with, see Quota.prefix()

    def path(self, *name):
        return os.path.join(self.dir, *name)

    def pki(self, workload, clients):
        """Certificates of a workload, made once."""
        auth = WORKLOADS[workload][2]
        return None if auth == "psk" else self.path(f"pki-{auth}-{clients}")

    def load_argv(self, workload, count, clients=None, pki=None, more=()):
        ike, esp, auth = WORKLOADS[workload]
        argv = [installed("sbin", "ipsec"), "load-test", "--remote", GATEWAY, "--remote-id", "gateway.test", "--ike", ike,
                "--esp", esp, "--auth", auth, "--source", SOURCES, "--local-ts", CLIENT_NETS, "--remote-ts", BEHIND,
                "--count", str(count), "--clients", str(clients or count), "--plugindir", installed("lib", "cygnet", "plugins")]
        if pki:
            argv += ["--pki", pki]
        if workload == "W4":
            argv += ["--ike-version", "1", "--xauth-user", XAUTH_USER, "--xauth-password", XAUTH_PASSWORD]
        return argv + [str(x) for x in more]

    def load(self, responder, workload, count, clients=None, more=(), timeout=300):
        """Runs the load generator. Returns its JSON, with what each phase cost the responder as phases[...]["cost"], and the responder's memory after
        it as phases[...]["resident"]."""
        more = ["--events", *more]
        if workload == "W4" and responder.kind == "cygnet":  # which takes messages of an IKE_SA as they come
            with open(self.path("load.conf"), "w") as f:
                f.write("ikev1_phase2_delay = 0\n")
            more += ["--settings", self.path("load.conf")]
        argv = self.load_argv(workload, count, clients, self.pki(workload, clients or count), more)
        argv = self.generator.argv("taskset", "-c", str(self.load_cpu), *argv)
        with open(self.path("load.log"), "ab") as log:
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "timeout", str(timeout), *argv], text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        costs, residents, before, answer = {}, {}, None, None
        for line in process.stdout:
            said = json.loads(line)
            if "event" not in said:
                answer = said
                continue
            if said["event"] == "begin":
                before = responder.usage()
            else:
                costs[said["phase"]] = responder.usage() - before
                residents[said["phase"]] = responder.resident()
            process.stdin.write("\n")
            process.stdin.flush()
        process.stdin.close()
        status = process.wait(30)
        if answer is None:
            with open(self.path("load.log"), errors="replace") as log:
                raise Failure(f"load-test: status {status}: {log.read()[-800:]}")
        for name, phase in answer["phases"].items():
            phase["cost"] = costs.get(name)
            phase["resident"] = residents.get(name)
        return answer


class Usage:
    """What a process has used so far: CPU in microseconds, that of it in the kernel (to some ticks), time it waited for a CPU that others had,
    context switches (wanted and not)."""

    def __init__(self, cpu_us=0.0, system_us=0.0, waited_us=0.0, switches=0, preempted=0):
        self.cpu_us, self.system_us, self.waited_us, self.switches, self.preempted = cpu_us, system_us, waited_us, switches, preempted

    def __sub__(self, other):
        return Usage(self.cpu_us - other.cpu_us, self.system_us - other.system_us, self.waited_us - other.waited_us, self.switches - other.switches,
                     self.preempted - other.preempted)


def usage(pid):
    total = Usage()
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                ran, waited, _ = map(int, f.read().split())
                total.cpu_us += ran / 1000
                total.waited_us += waited / 1000
            with open(f"/proc/{pid}/task/{task}/stat") as f:
                total.system_us += int(f.read().rsplit(")", 1)[1].split()[12]) * 1e6 / os.sysconf("SC_CLK_TCK")
            with open(f"/proc/{pid}/task/{task}/status") as f:
                for line in f:
                    if line.startswith("voluntary_ctxt"):
                        total.switches += int(line.split()[1])
                    elif line.startswith("nonvoluntary"):
                        total.preempted += int(line.split()[1])
        except FileNotFoundError:
            continue
    return total


def resident(pid):
    """Bytes of anonymous memory and of what else is resident."""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS"))


class Responder:
    def usage(self):
        return usage(self.pid())

    def resident(self):
        return resident(self.pid())


class CygnetResponder(Responder):
    kind = "cygnet"

    def __init__(self, bed, workload, pki=None, kernel="kernel-null", socket="socket-reuseport", workers=1, rcvbuf="4M",
                 more="", wrapper=(), pin=True):
        self.bed, self.workload, self.pki = bed, workload, pki
        self.dir = bed.path("cygnet")
        os.makedirs(os.path.join(self.dir, "run"), exist_ok=True)
        ike, esp, auth = WORKLOADS[workload]
        how = "psk" if auth == "psk" else "pubkey"
        conf = (f"config setup\n\tdialect=strongswan\n\tuniqueids=never\n\n"
                f"conn load\n\tkeyexchange=ikev2\n\tauto=add\n\tleft={GATEWAY}\n\tleftid=gateway.test\n\tright=%any\n"
                f"\tike={ike}!\n\tesp={esp}!\n\tleftauth={how}\n\trightauth={how}\n\tleftsubnet={BEHIND}\n"
                f"\trightsubnet={CLIENT_NETS}\n\treauth=no\n\tmobike=no\n\tikelifetime=24h\n\tlifetime=24h\n")
        if workload == "W4":
            conf = conf.replace("keyexchange=ikev2", "keyexchange=ikev1\n\trightauth2=xauth")
        if pki:
            conf += f"\tleftcert={pki}/gateway.pem\n\tleftsendcert=always\n\nca load\n\tcacert={pki}/ca.pem\n\tauto=add\n"
            secrets = f": {'RSA' if auth == 'rsa' else 'ECDSA'} {pki}/gateway.key\n"
        else:
            secrets = ': PSK "load-test"\n'
        if workload == "W4":
            secrets += "".join(f'{user} : XAUTH "{XAUTH_PASSWORD}"\n' for user in xauth_users())
        self._write("ipsec.conf", conf)
        self._write("ipsec.secrets", secrets)
        self._write("cygnet.conf", CYGNET_SETTINGS.format(kernel=kernel, socket=socket, workers=workers, rcvbuf=rcvbuf, more=more))
        self.log = os.path.join(self.dir, "log")
        taskset = ["taskset", "-c", str(bed.cpu)] if pin else []
        self.process = Background(bed.limit + bed.gateway.argv(*taskset, *wrapper, installed("sbin", "cygnetd"), "--nofork", "--conf",
                                                               self._path("ipsec.conf"), "--secrets", self._path("ipsec.secrets"),
                                                               "--settings", self._path("cygnet.conf"), "--rundir", self._path("run"),
                                                               "--plugindir", installed("lib", "cygnet", "plugins")), self.log)
        wait_for(self._answers, "cygnet to become ready", 60)

    def _path(self, name):
        return os.path.join(self.dir, name)

    def _write(self, name, text):
        with open(self._path(name), "w") as f:
            os.chmod(self._path(name), 0o600)
            f.write(text)

    def _answers(self):
        if not self.process.alive():
            raise Failure(f"cygnet ended at start: {self.process.output()[-500:]}")
        return run_status(self.tool("status"))[0] == 0

    def tool(self, *verb):
        return [installed("sbin", "ipsec"), "--rundir", self._path("run"), *verb]

    def query(self, *verb):
        return json.loads(run(self.tool(*verb, "--json"), timeout=120))

    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.stop(60)


class CharonResponder(Responder):
    kind = "charon"

    def __init__(self, bed, workload, pki=None):
        self.dir = bed.path("charon")
        run_dir = os.path.join(self.dir, "run")
        os.makedirs(run_dir, exist_ok=True)
        self.vici = os.path.join(run_dir, "charon.vici")
        conf = os.path.join(self.dir, "strongswan.conf")
        with open(conf, "w") as f:
            f.write(CHARON_CONF.format(log=os.path.join(self.dir, "log")))
        lower = ":".join(os.path.join(unpacked(p), "usr") for p in PACKAGES)
        self.process = Background(bed.limit + bed.gateway.argv("taskset", "-c", str(bed.cpu), "sh", "-c", START, "charon", lower, run_dir),
                                  os.path.join(self.dir, "stderr"), env={"STRONGSWAN_CONF": conf})
        wait_for(self._answers, "charon to become ready", 60)
        ike, esp, auth = WORKLOADS[workload]
        how = "psk" if auth == "psk" else "pubkey"
        local = {"auth": how, "id": "gateway.test"}
        with Session(self.vici) as s:
            if pki:
                with open(f"{pki}/ca.pem") as ca, open(f"{pki}/gateway.pem") as cert, open(f"{pki}/gateway.key") as key:
                    s.request("load-cert", {"type": "X509", "flag": "CA", "data": ca.read()})
                    s.request("load-key", {"type": "any", "data": key.read()})
                    local["certs"] = [cert.read()]
            else:
                s.request("load-shared", {"type": "IKE", "data": "load-test"})
            remote = {"remote": {"auth": how}}
            if workload == "W4":
                s.request("load-shared", {"type": "XAUTH", "data": XAUTH_PASSWORD, "owners": xauth_users()})
                remote = {"remote-1": {"auth": how}, "remote-2": {"auth": "xauth"}}
            child = {"mode": "tunnel", "esp_proposals": [esp], "local_ts": [BEHIND], "remote_ts": [CLIENT_NETS], "rekey_time": 0}
            answer, _ = s.request("load-conn", {"load": {
                "version": 1 if workload == "W4" else 2, "local_addrs": [GATEWAY], "remote_addrs": ["%any"], "proposals": [ike], "mobike": "no",
                "rekey_time": 0, "reauth_time": 0, "dpd_delay": 0, "unique": "never", "local": local, **remote,
                "children": {"load": child}}})
        if answer.get("success") != "yes":
            raise Failure(f"charon: load-conn: {answer}")

    def _answers(self):
        if not self.process.alive():
            raise Failure(f"charon ended at start: {self.process.output()[-500:]}")
        try:
            with Session(self.vici) as s:
                s.request("version")
            return True
        except (OSError, Failure):
            return False

    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.kill()     # with thousands of tunnels it takes minutes to end by itself


def responder(kind, bed, workload, pki=None, **kw):
    return CygnetResponder(bed, workload, pki, **kw) if kind == "cygnet" else CharonResponder(bed, workload, pki)


def establish(bed, who, count, *more, workload="W1", **kw):
    """That many tunnels, all of them, which stay."""
    answer = bed.load(who, workload, count, more=["--keep", "--quiet", "--reuse-keys", 16, *more], **kw)
    done = answer["phases"]["setup"]["done"]
    require(done == count, f"{done} of {count} tunnels came up: {answer['phases']['setup']['causes']}")
    return answer


def ids(name):
    return ["--id", f"{name}-%u@load.test"]


class Counted:
    """What callgrind counted in cygnet while it had a load: by its workers together, by each other thread, and calls that take a lock."""

    LOCKS = re.compile(r"^(__)?pthread_(mutex|rwlock)_(lock|wrlock|rdlock)(@|$)")

    def __init__(self, paths):
        self.workers, self.others, self.locks = [], [], 0
        for path in paths:
            with open(path) as f:
                text = f.read()
            total = max((int(n) for n in re.findall(r"^(?:summary|totals): (\d+)", text, re.M)), default=0)
            if total:
                names = dict(re.findall(r"^c?fn=\((\d+)\) (\S+)", text, re.M))
                (self.workers if "worker_main" in names.values() else self.others).append(total)
                self.locks += sum(int(n) for fn, n in re.findall(r"^cfn=\((\d+)\).*\ncalls=(\d+)", text, re.M) if self.LOCKS.match(names.get(fn, "")))
        self.instructions = sum(self.workers) + sum(self.others)
        require(self.workers, "callgrind counted nothing")


def counted(bed, workload, count, warm, more, pki=None, workers=1, **kw):
    """Of the whole process, library included, between two points of an idle daemon."""
    out = bed.path("callgrind.out")
    who = CygnetResponder(bed, workload, pki, pin=False, workers=workers, wrapper=[
        "valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={out}", "--error-limit=no"])
    try:
        patient = ["--timeout", 5000, "--concurrency", 4]
        establish(bed, who, 8 * workers, *warm, *patient, workload=workload, **kw)
        run(["callgrind_control", "-i", "on", str(who.pid())])
        establish(bed, who, count, *more, *patient, workload=workload, **kw)
        time.sleep(1)
        run(["callgrind_control", "-d", str(who.pid())])
        return Counted(bed.path(name) for name in os.listdir(bed.dir) if name.startswith("callgrind.out"))
    finally:
        who.process.kill()


def versions():
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "?")
    return {"cpu": cpu, "cpus": os.cpu_count(), "kernel": os.uname().release,
            "version": run([installed("sbin", "ipsec"), "version"]).strip()}
