# SPDX-License-Identifier: Apache-2.0
"""Users with XAUTH: one cygnet that is many of them, each by a connection of its own, and what the gateway's PAM needs."""
import json
import os
import socket
import threading

from .cygnet import Cygnet
from .proc import Background, require

PSK = "a key of the whole group"
AT_ONCE = 16           # requests that one control client may have under way

CLIENT = """conn {name}
	keyexchange=ikev1
	authby=xauthpsk
	xauth=client
	xauth_identity={user}
	left={client}
	leftid=@staff
	leftsourceip=%config
	right={server}
	rightid=@gateway
	rightsubnet=10.2.0.0/16
	ike=aes128-sha256-{ke}!
	esp=aes128-sha256!
	mobike=no
	forceencaps=yes
	keyingtries=1
	rekey=no
	dpdaction=clear
	dpddelay={dpd}
	auto=add

"""

CLIENT_SETTINGS = """kernel = kernel-tun
reuse_ikesa = no
half_open_timeout = 5m
retransmit_timeout = 4s
retransmit_tries = 6
"""

PAM = "{kind} required {module} sleep={ms} log={dir}/did\n"


class Daemon(Cygnet):
    """cygnet with files that the test writes itself."""

    def __init__(self, ns, label, directory, conf, secrets, settings):
        os.makedirs(os.path.join(directory, label), exist_ok=True)
        super().__init__(ns, label, os.path.join(directory, label), "userspace")
        self.texts = (conf, secrets, settings)

    def start(self):
        os.makedirs(self.path("run"), exist_ok=True)
        for name, text in zip(("ipsec.conf", "ipsec.secrets", "cygnet.conf"), self.texts):
            self.write(name, text)
            os.chmod(self.path(name), 0o600)
        self.process = Background(self.ns.argv(*self.daemon_argv()), self.log)
        self.process.name = "cygnetd"
        self.wait_ready(lambda: self.ipsec_status("status")[0] == 0)

    def all(self, cmd, names, timeout):
        """The command for every name, all at once; {name: None, or why not}."""
        verdicts, clients, threads, closed = {}, [], [], []
        for i in range(0, len(names), AT_ONCE):
            s = socket.socket(socket.AF_UNIX)
            s.connect(self.path("run/control.sock"))
            s.settimeout(timeout)
            part = names[i:i + AT_ONCE]
            s.sendall("".join(json.dumps({"id": n, "cmd": cmd, "name": n}) + "\n" for n in part).encode())
            clients.append((s.makefile("r"), len(part)))

        def read(f, left):
            while left:
                line = f.readline()
                if not line:
                    closed.append(f)
                    return
                answer = json.loads(line)
                if answer.get("event") == "done":
                    verdicts[answer["id"]] = None if answer["ok"] else answer["error"]["text"]
                    left -= 1
            f.close()

        # all of them at the same time: who does not read is disconnected
        for f, left in clients:
            threads.append(threading.Thread(target=read, args=(f, left), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join(timeout)
        require(not closed, f"{self.label} closed the control connection")
        require(len(verdicts) == len(names), f"{self.label} gave {len(verdicts)} verdicts of {len(names)} within {timeout} s")
        return verdicts

    def ike_sas(self):
        return self.query("status")["ike_sas"]

    def stats(self):
        return self.query("stats")
