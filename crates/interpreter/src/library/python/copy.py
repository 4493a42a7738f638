__all__ = ("Error", "copy", "deepcopy", "error", "replace")


class Error(Exception):
    pass


error = Error


def copy(x):
    if type(x) in _CONTAINERS:
        return x.copy()
    parts = _parts(x)
    if not parts:
        return x if parts is None else getattr(x, "__copy__", lambda: _clone(x))()
    if hasattr(type(x), "__copy__"):
        return x.__copy__()
    if hasattr(type(x), "_member_map_"):
        return x
    made, attributes, values = parts
    return _fill(made, attributes, [copy(value) for value in values])


def _copied(x, memo):
    """Copies an object of the server."""
    if not isinstance(x, deque):
        own = getattr(x, "__deepcopy__", None)
        if own is None:
            return _clone(x)
        memo[id(x)] = made = own(memo)
        return made
    memo[id(x)] = made = type(x)(maxlen=x.maxlen)
    for item in x:
        made.append(deepcopy(item, memo))
    return made


deepcopy = _deepcopy(_copied)


def _clone(x):
    """Copies an object of the server by the method that it has for that; what has none is one object everywhere."""
    for name in ("clone", "copy"):
        try:
            method = getattr(x, name)
        except AttributeError:
            continue
        return method()
    return x


_CONTAINERS = {list, dict, set, OrderedDict, defaultdict, Counter}

def replace(obj, /, **changes):
    method = getattr(type(obj), "__replace__", None)
    if method is None:
        raise TypeError(f"replace() does not support {type(obj).__name__} objects")
    return method(obj, **changes)
