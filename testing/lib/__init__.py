# SPDX-License-Identifier: Apache-2.0
"""What the tests against real networks, kernels and peers are made of. Standard library only."""
import os


def unpacked(package):
    """Where testing/lib/install has unpacked a Debian package."""
    return os.path.join(os.environ.get("CYGNET_CACHE", "/var/cache/cygnet-testing"), "unpacked", package)
