# SPDX-License-Identifier: Apache-2.0
"""How a scenario says that it is one."""

SCENARIOS = []


class Scenario:
    def __init__(self, function, fits):
        self.function = function
        self.name = function.__name__.replace("_", "-")
        self.about = (function.__doc__ or "").strip().splitlines()[0]
        self.fits = fits


def scenario(fits=lambda initiator, responder, backend: True):
    """Marks a function of one argument, the bed, as a scenario. `fits` says for which peers it makes sense: with others it
    does not exist, rather than being skipped."""
    def mark(function):
        SCENARIOS.append(Scenario(function, fits))
        return function
    return mark
