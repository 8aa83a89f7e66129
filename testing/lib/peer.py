# SPDX-License-Identifier: Apache-2.0
"""What every kind of peer can do for a scenario."""
import os

from .proc import Failure, wait_for


class Peer:
    """A daemon on one gateway. `backend` is "userspace" (ESP over a TUN device) or "kernel" (XFRM).

    Subclasses: configure(conns), start(), up(), down(), rekey_child(), rekey_ike(), sas(), stop()."""
    kind = "?"
    #: whether rekey_child() and rekey_ike() exist; otherwise it rekeys only when a lifetime says so
    rekeys_on_command = True
    #: whether it keeps nothing in the kernel but its tunnels' SAs and policies, so that these can be counted
    tidy_kernel = True

    def __init__(self, ns, side, directory, backend):
        self.ns = ns
        self.side = side
        self.dir = directory
        self.backend = backend
        self.process = None
        self.conns = []
        os.makedirs(directory, exist_ok=True)

    @property
    def label(self):
        return f"{self.kind} on {self.side}"

    @property
    def log(self):
        return os.path.join(self.dir, "log")

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o600):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def log_text(self):
        try:
            with open(self.log, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait_ready(self, condition, timeout=30):
        """Waits for condition() while the process lives."""
        def ready():
            if not self.process.alive():
                raise Failure(f"{self.label} ended at start with status {self.process.process.returncode}: "
                              f"{self.log_text().strip()[-500:]}")
            return condition()
        wait_for(ready, f"{self.label} to become ready", timeout)

    def sa(self, name="net-net"):
        """The one IKE_SA of that connection, or None."""
        found = [x for x in self.sas() if x.name == name]
        return found[0] if len(found) == 1 else None

    def child(self, name="net-net"):
        """The one CHILD_SA of that connection's one IKE_SA, or None: during a rekey there may be two."""
        sa = self.sa(name)
        return sa.children[0] if sa and len(sa.children) == 1 else None

    def kill(self):
        """As a power cut; what it had in the kernel stays there, so that this is no longer looked at."""
        self.process.kill()
        self.tidy_kernel = False

    def restart(self):
        """Killed and started again with the same connections, as after a power cut."""
        self.kill()
        self.start()
        conns, self.conns = self.conns, []
        self.configure(*conns)
