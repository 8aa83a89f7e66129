# SPDX-License-Identifier: Apache-2.0
"""A part of a CPU for a program, by a cgroup of its own: of version 2 or, where the controller is still there, of version 1."""
import errno
import os

from .proc import Failure


def _mount(kind, option=""):
    with open("/proc/self/mounts") as f:
        for line in f:
            _, path, fs, options = line.split()[:4]
            if fs == kind and (not option or option in options.split(",")):
                return path
    return None


def _write(path, text):
    with open(path, "w") as f:
        f.write(text)


class Quota:
    """While it is entered: who is started with prefix() before its command gets so much of one CPU, in slices of a period. A Failure says
    why this machine, or this container, does not let us."""

    def __init__(self, percent, period_us=20000):
        self.quota, self.period, self.path = period_us * percent // 100, period_us, None

    def _make(self):
        old, new = _mount("cgroup", "cpu"), _mount("cgroup2")
        if not old and not new:
            raise Failure("no cgroups are mounted")
        if not old:
            with open(f"{new}/cgroup.subtree_control") as f:
                if "cpu" not in f.read().split():
                    _write(f"{new}/cgroup.subtree_control", "+cpu")
        self.path = f"{old or new}/cygnet-quota-{os.getpid()}"
        os.mkdir(self.path)
        if old:
            _write(f"{self.path}/cpu.cfs_period_us", str(self.period))
            _write(f"{self.path}/cpu.cfs_quota_us", str(self.quota))
        else:
            _write(f"{self.path}/cpu.max", f"{self.quota} {self.period}")

    def __enter__(self):
        try:
            self._make()
        except OSError as why:
            self.__exit__()
            raise Failure(f"no cgroup with a part of a CPU: {why.filename or 'no controller'}: {os.strerror(why.errno or errno.EIO)}") from None
        return self

    def __exit__(self, *_):
        if self.path and os.path.isdir(self.path):
            os.rmdir(self.path)     # who was in it has ended
        self.path = None

    def prefix(self):
        return ["sh", "-c", f'echo $$ >{self.path}/cgroup.procs && exec "$@"', "quota"]
