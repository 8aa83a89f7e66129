# SPDX-License-Identifier: Apache-2.0
"""What a benchmark runs, there before it begins: used by testing/bench."""
import os
import sys

from .cygnet import ROOT, installed
from .proc import run


def ready(*programs, needs=()):
    """Packages are installed (groups of testing/lib/packages; not where CYGNET_BUILD says that all of it is there) and what is not built
    yet is built. Returns where each of the programs of the build directory is."""
    build = os.environ.get("CYGNET_BUILD")
    if not build:
        build = os.path.join(ROOT, "build-check")
        run([os.path.join(ROOT, "testing", "lib", "install"), "base", "build", "strongswan", *needs], timeout=1200)
        if not os.access(installed("sbin", "cygnetd"), os.X_OK):
            print("building in build-check/", file=sys.stderr, flush=True)
            run([os.path.join(ROOT, "testing", "lib", "build"), build], timeout=3600)
    if programs:
        run(["make", "-s", "-C", build, *programs], timeout=600)
    return [os.path.join(build, p) for p in programs]
