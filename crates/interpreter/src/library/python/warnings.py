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


class catch_warnings:
    def __init__(self, *, record=False, module=None, action=None, category=Warning, lineno=0, append=False):
        self._caught = [] if record else None

    def __enter__(self):
        return self._caught

    def __exit__(self, *raised):
        pass
