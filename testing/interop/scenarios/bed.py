# SPDX-License-Identifier: Apache-2.0
"""The test bed itself: would it notice?"""
from interop.registry import scenario
from lib.proc import Failure, require, run
from lib.traffic import ping, require_ping, transfer


@scenario(lambda initiator, responder, backend: initiator == responder == "strongswan")
def bed_notices(bed):
    """traffic in clear, or none at all, is noticed; and what a test made is gone after it"""
    site = bed.lay()
    with bed.wire() as wire:
        require_ping(site.alice, site.BOB)
        require_ping(site.alice, site.BOB6)
        transfer(site.alice, site.bob, site.BOB, 1 << 16)
        must_fail(lambda: wire.require_encrypted(1), "in clear")
    with bed.wire() as wire:
        must_fail(lambda: wire.require_encrypted(1), "only 0 ESP packets")
    require(ping(site.alice, "10.2.0.77", count=1, deadline=2) == 0, "an address that nobody has answered")
    names = [ns.name for ns in bed.net.made]
    bed.net.__exit__(None, None, None)
    listed = run(["ip", "netns", "list"])
    require(not any(name in listed for name in names), "a namespace is left")


def must_fail(function, word):
    try:
        function()
    except Failure as err:
        require(word in str(err), f"failed for another reason: {err}")
    else:
        raise Failure(f"did not fail: {word}")
