from contextlib import nullcontext

__all__ = (
    "DeprecationWarning", "FutureWarning", "RuntimeWarning", "UserWarning", "Warning", "catch_warnings",
    "filterwarnings", "resetwarnings", "simplefilter", "warn",
)


def warn(message, category=None, stacklevel=1, source=None):
    """Warns nobody: there is nobody who reads it."""


def filterwarnings(action, message="", category=Warning, module="", lineno=0, append=False):
    pass


def simplefilter(action, category=Warning, lineno=0, append=False):
    pass


def resetwarnings():
    pass


def catch_warnings(*, record=False, module=None, action=None, category=Warning, lineno=0, append=False):
    return nullcontext([] if record else None)
