import re

__all__ = (
    "DeprecationWarning", "FutureWarning", "RuntimeWarning", "SyntaxWarning", "UserWarning", "Warning", "WarningMessage",
    "catch_warnings", "filterwarnings", "formatwarning", "resetwarnings", "showwarning", "simplefilter", "warn",
    "warn_explicit",
)

_ACTIONS = ("error", "ignore", "always", "default", "module", "once")

# Which warnings are told how: an action, a pattern for the message, a class, a pattern for the module, and a line.
_filters = []
# What has been told of those that are told once, since the filters were last changed.
_told = set()
# Where lists record what would be told, the innermost last; None where it is told.
_recorded = [None]


class WarningMessage:
    def __init__(self, message, category, filename, lineno, file=None, line=None, source=None):
        self.message, self.category, self.filename, self.lineno = message, category, filename, lineno
        self.file, self.line, self.source = file, line, source

    def __str__(self):
        return (f"{{message : {self.message!r}, category : {self.category.__name__!r}, filename : {self.filename!r}, "
                f"lineno : {self.lineno}, line : {self.line!r}}}")


def formatwarning(message, category, filename, lineno, line=None):
    text = f"{filename}:{lineno}: {category.__name__}: {message}\n"
    return f"{text}  {line.strip()}\n" if line and line.strip() else text


def showwarning(message, category, filename, lineno, file=None, line=None):
    text = formatwarning(message, category, filename, lineno, line)
    if file is None:
        _tell(text)
    else:
        file.write(text)


def _explicit(message, category, filename, lineno, line, module, source=None):
    text = str(message)
    if not isinstance(message, Warning):
        message = category(message)
    for action, pattern, kind, place, number in _filters:
        if ((pattern is None or pattern.match(text)) and issubclass(category, kind)
                and (place is None or place.match(module)) and number in (0, lineno)):
            break
    else:
        action = "default"
    if action == "ignore":
        return
    if action == "error":
        raise message
    if action != "always":
        key = (text, category) + ((filename,) if action == "module" else (filename, lineno) if action == "default" else ())
        if key in _told:
            return
        _told.add(key)
    if _recorded[-1] is not None:
        _recorded[-1].append(WarningMessage(message, category, filename, lineno, source=source))
    else:
        showwarning(message, category, filename, lineno, line=line)


def _category(message, category):
    if isinstance(message, Warning):
        return message.__class__
    category = UserWarning if category is None else category
    if not (isinstance(category, type) and issubclass(category, Warning)):
        raise TypeError(f"category must be a Warning subclass, not '{type(category).__name__}'")
    return category


def warn(message, category=None, stacklevel=1, source=None):
    category = _category(message, category)
    filename, lineno, line, _ = _place(max(stacklevel, 1) - 1)
    _explicit(message, category, filename, lineno, line, "__main__", source)


def warn_explicit(message, category, filename, lineno, module=None, registry=None, module_globals=None, source=None):
    if registry is not None or module_globals is not None:
        raise NotImplementedError("warnings.warn_explicit(): 'registry' and 'module_globals' are not supported by this server")
    _explicit(message, _category(message, category), filename, lineno, None, module or filename.removesuffix(".py"), source)


def _change(entry, append):
    if entry[0] not in _ACTIONS:
        raise AssertionError(f"invalid action: {entry[0]!r}")
    if not (isinstance(entry[4], int) and entry[4] >= 0):
        raise AssertionError("lineno must be an int >= 0")
    if append:
        if entry not in _filters:
            _filters.append(entry)
    else:
        if entry in _filters:
            _filters.remove(entry)
        _filters.insert(0, entry)
    _told.clear()


def filterwarnings(action, message="", category=Warning, module="", lineno=0, append=False):
    pattern = re.compile(message, re.I) if message else None
    place = re.compile(module) if module else None
    _change((action, pattern, category, place, lineno), append)


def simplefilter(action, category=Warning, lineno=0, append=False):
    _change((action, None, category, None, lineno), append)


def resetwarnings():
    _filters.clear()
    _told.clear()


class catch_warnings:
    def __init__(self, *, record=False, module=None, action=None, category=Warning, lineno=0, append=False):
        if module is not None:
            raise NotImplementedError("warnings.catch_warnings(): 'module' is not supported by this server")
        self._record = record
        self._first = None if action is None else (action, category, lineno, append)
        self._entered = False

    def __enter__(self):
        if self._entered:
            raise RuntimeError(f"Cannot enter {self!r} twice")
        self._entered, self._around = True, _filters[:]
        _told.clear()
        _recorded.append([] if self._record else _recorded[-1])
        if self._first is not None:
            simplefilter(*self._first)
        return _recorded[-1] if self._record else None

    def __exit__(self, *raised):
        if not self._entered:
            raise RuntimeError(f"Cannot exit {self!r} without entering first")
        _filters[:] = self._around
        _told.clear()
        _recorded.pop()

    def __repr__(self):
        return f"catch_warnings({'record=True' if self._record else ''})"
