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
    if any([hasattr(type(x), name) for name in _OWN_WAYS]):
        return _made_again(x, None)
    made, attributes, values = parts
    return _fill(made, attributes, [copy(value) for value in values])


# Methods by which a class says how its objects are copied.
_OWN_WAYS = ("__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__getnewargs_ex__", "__getnewargs__")


def _made_again(x, memo):
    """Copies an object as its class says: deeply where there is a memo."""
    kind = type(x)
    part = (lambda value: value) if memo is None else (lambda value: deepcopy(value, memo))
    reduced = (x.__reduce_ex__(4) if hasattr(kind, "__reduce_ex__") else x.__reduce__() if hasattr(kind, "__reduce__")
               else None)
    if isinstance(reduced, str):
        return x
    items = pairs = setter = None
    if reduced is not None:
        make, arguments, state, items, pairs, setter = (*reduced, *[None] * (6 - len(reduced)))
        made = make(*[part(argument) for argument in arguments])
    else:
        made, state, values = _parts(x)
        keywords = {}
        if hasattr(kind, "__getnewargs_ex__"):
            arguments, keywords = x.__getnewargs_ex__()
        elif hasattr(kind, "__getnewargs__"):
            arguments = x.__getnewargs__()
        else:
            arguments = None
        if arguments is not None:
            keywords = {name: part(value) for name, value in keywords.items()}
            made = kind.__new__(kind, *[part(argument) for argument in arguments], **keywords)
            values = values if isinstance(x, (list, dict, set)) else []
        if hasattr(kind, "__getstate__"):
            state = x.__getstate__()
    if memo is not None:
        memo[id(x)] = made
    if reduced is None:
        _fill(made, {}, [copy(value) if memo is None else part(value) for value in values])
    if state is not None:
        state = part(state)
        if setter is not None:
            setter(made, state)
        elif hasattr(made, "__setstate__"):
            made.__setstate__(state)
        else:
            slots = {}
            if isinstance(state, tuple) and len(state) == 2:
                state, slots = state
            if state is not None:
                made.__dict__.update(state)
            for name, value in (slots or {}).items():
                setattr(made, name, value)
    for item in items or ():
        made.append(part(item))
    for key, value in pairs or ():
        made[part(key)] = part(value)
    return made


def _copied(x, memo):
    """Copies an object of the server, or one whose class says how."""
    if _parts(x):
        return _made_again(x, memo)
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
