__all__ = ("collect", "disable", "enable", "isenabled")

# What nothing leads to is given back at once, and what leads to itself with the job: there is nothing to collect.

_enabled = [True]


def collect(generation=2):
    if generation not in (0, 1, 2):
        raise ValueError("invalid generation")
    return 0


def disable():
    _enabled[0] = False


def enable():
    _enabled[0] = True


def isenabled():
    return _enabled[0]
