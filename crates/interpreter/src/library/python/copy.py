__all__ = ("Error", "copy", "deepcopy", "error", "replace")


class Error(Exception):
    pass


error = Error


def copy(x):
    if type(x) in _CONTAINERS:
        return x.copy()
    parts = _parts(x)
    if not parts:
        return x if parts is None else _clone(x)
    if hasattr(type(x), "__copy__"):
        return x.__copy__()
    if hasattr(type(x), "_member_map_"):
        return x
    made, attributes, values = parts
    return _fill(made, attributes, [copy(value) for value in values])


def deepcopy(x, memo=None):
    copier = _COPIERS.get(type(x))
    if copier is None:
        parts = _parts(x)
        if parts is None:
            return x
    memo = {} if memo is None else memo
    if id(x) in memo:
        return memo[id(x)]
    if copier is not None:
        made = copier(x, memo)
    elif not parts:
        made = _deque(x, memo) if isinstance(x, deque) else _clone(x)
    elif hasattr(type(x), "__deepcopy__"):
        made = x.__deepcopy__(memo)
    elif hasattr(type(x), "_member_map_"):
        return x
    else:
        made, attributes, values = parts
        memo[id(x)] = made
        values = [deepcopy(value, memo) for value in values]
        _fill(made, {name: deepcopy(value, memo) for name, value in attributes.items()}, values)
    memo[id(x)] = made
    # What was copied stays, so that its place stays its own.
    memo.setdefault(id(memo), []).append(x)
    return made


def _list(x, memo):
    memo[id(x)] = made = []
    for item in x:
        made.append(deepcopy(item, memo))
    return made


def _tuple(x, memo):
    made = [deepcopy(item, memo) for item in x]
    # A tuple that holds itself, through a list, has been copied on the way.
    if id(x) in memo:
        return memo[id(x)]
    for old, new in zip(x, made):
        if old is not new:
            return tuple(made)
    return x


def _dict(x, memo):
    memo[id(x)] = made = x.copy()
    made.clear()
    for key, value in x.items():
        made[deepcopy(key, memo)] = deepcopy(value, memo)
    return made


def _set(x, memo):
    return type(x)([deepcopy(item, memo) for item in x])


def _deque(x, memo):
    memo[id(x)] = made = type(x)(maxlen=x.maxlen)
    for item in x:
        made.append(deepcopy(item, memo))
    return made


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
_COPIERS = {
    list: _list, tuple: _tuple, dict: _dict, OrderedDict: _dict, defaultdict: _dict, Counter: _dict, set: _set,
    frozenset: _set,
}


def replace(obj, /, **changes):
    method = getattr(type(obj), "__replace__", None)
    if method is None:
        raise TypeError(f"replace() does not support {type(obj).__name__} objects")
    return method(obj, **changes)
