__all__ = (
    "WRAPPER_ASSIGNMENTS", "WRAPPER_UPDATES", "cache", "cached_property", "cmp_to_key", "lru_cache", "partial",
    "partialmethod", "reduce", "singledispatch", "singledispatchmethod", "total_ordering", "update_wrapper", "wraps",
)

WRAPPER_ASSIGNMENTS = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__")
WRAPPER_UPDATES = ("__dict__",)


def update_wrapper(wrapper, wrapped, assigned=WRAPPER_ASSIGNMENTS, updated=WRAPPER_UPDATES):
    for name in assigned:
        try:
            value = getattr(wrapped, name)
        except AttributeError:
            continue
        setattr(wrapper, name, value)
    # What this module keeps in its own objects is none of their attributes.
    own = ("func", "args", "keywords") if isinstance(wrapped, partial) else ()
    for name in updated:
        attributes = getattr(wrapped, name, {}).items()
        getattr(wrapper, name).update({key: value for key, value in attributes if key not in own and key[:1] != " "})
    wrapper.__wrapped__ = wrapped
    return wrapper


def wraps(wrapped, assigned=WRAPPER_ASSIGNMENTS, updated=WRAPPER_UPDATES):
    return lambda wrapper: update_wrapper(wrapper, wrapped, assigned, updated)


def total_ordering(cls):
    # What each comparison is by another: whether to negate the other's answer, then what equality adds to it.
    order = {
        "__lt__": {"__gt__": (True, "and"), "__le__": (False, "or"), "__ge__": (True, None)},
        "__le__": {"__ge__": (True, "or"), "__lt__": (False, "and"), "__gt__": (True, None)},
        "__gt__": {"__lt__": (True, "and"), "__ge__": (False, "or"), "__le__": (True, None)},
        "__ge__": {"__le__": (True, "or"), "__gt__": (False, "and"), "__lt__": (True, None)},
    }
    roots = [name for name in order if hasattr(cls, name)]
    if not roots:
        raise ValueError("must define at least one ordering operation: < > <= >=")
    for name, (negate, equality) in order[max(roots)].items():
        if name not in roots:
            setattr(cls, name, _comparison(name, max(roots), negate, equality))
    return cls


def _comparison(name, root, negate, equality):
    def method(self, other):
        answer = getattr(type(self), root)(self, other)
        if answer is NotImplemented:
            return answer
        answer = bool(answer) != negate
        if equality == "and":
            return answer and self != other
        return answer or equality == "or" and self == other

    method.__name__ = name
    return method


class _Key:
    """An object that a function of two objects orders."""

    def __init__(self, obj, compare):
        self.obj, self._compare = obj, compare

    __hash__ = None

    def __lt__(self, other):
        return self._compare(self.obj, other.obj) < 0

    def __gt__(self, other):
        return self._compare(self.obj, other.obj) > 0

    def __eq__(self, other):
        return self._compare(self.obj, other.obj) == 0

    def __le__(self, other):
        return self._compare(self.obj, other.obj) <= 0

    def __ge__(self, other):
        return self._compare(self.obj, other.obj) >= 0


def cmp_to_key(mycmp):
    return lambda obj: _Key(obj, mycmp)


# Partials whose repr is being written.
_open = set()


def _repr_partial(self):
    if id(self) in _open:
        return "functools.partial(...)"
    _open.add(id(self))
    try:
        parts = [repr(part) for part in (self.func, *self.args)]
        parts += [f"{name}={value!r}" for name, value in self.keywords.items()]
        return f"functools.partial({', '.join(parts)})"
    finally:
        _open.discard(id(self))


partial.__repr__ = _repr_partial


class partialmethod:
    def __init__(self, func, /, *args, **keywords):
        if not callable(func) and not hasattr(func, "__get__"):
            raise TypeError(f"{func!r} is not callable or a descriptor")
        self.func, self.args, self.keywords = func, args, keywords

    def __get__(self, obj, cls=None):
        bound = self.func.__get__(obj, cls) if hasattr(self.func, "__get__") else partial(self.func, obj)
        return partial(bound, *self.args, **self.keywords)


class cached_property:
    def __init__(self, func):
        self.func = func
        self.attrname = None
        self.__doc__ = func.__doc__

    def __set_name__(self, owner, name):
        if self.attrname is None:
            self.attrname = name
        elif name != self.attrname:
            raise TypeError("Cannot assign the same cached_property to two different names "
                            f"({self.attrname!r} and {name!r}).")

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        if self.attrname is None:
            raise TypeError("Cannot use cached_property instance without calling __set_name__ on it.")
        try:
            cached = instance.__dict__
        except AttributeError:
            raise TypeError(f"No '__dict__' attribute on {type(instance).__name__!r} instance to cache "
                            f"{self.attrname!r} property.") from None
        if self.attrname not in cached:
            cached[self.attrname] = self.func(instance)
        return cached[self.attrname]


_CacheInfo = None


def _info(*counts):
    global _CacheInfo
    if _CacheInfo is None:
        # Few ask, and many import this module.
        from collections import namedtuple
        _CacheInfo = namedtuple("CacheInfo", ["hits", "misses", "maxsize", "currsize"], module="functools")
    return _CacheInfo(*counts)


def lru_cache(maxsize=128, typed=False):
    if callable(maxsize):
        return _cached(maxsize, 128, typed)
    if maxsize is not None and not isinstance(maxsize, int):
        raise TypeError("Expected first argument to be an integer, a callable, or None")
    return lambda function: _cached(function, maxsize, typed)


def cache(user_function, /):
    return _cached(user_function, None, False)


def _cached(function, maxsize, typed):
    maxsize = maxsize if maxsize is None else max(maxsize, 0)
    return update_wrapper(_lru_cache_wrapper(function, maxsize, bool(typed), _info), function)


def _is_class(cls):
    if getattr(cls, "__args__", ()):
        return False
    if getattr(cls, "__module__", None) in ("collections.abc", "numbers") and not isinstance(cls, type):
        raise TypeError(f"{cls!r}: functions for abstract classes of the library are not supported by this server; "
                        "register them for the classes that are meant")
    return isinstance(cls, type)


def _is_union(cls):
    from typing import Union, get_origin

    return get_origin(cls) is Union or type(cls).__name__ in ("UnionType", "types.UnionType")


def singledispatch(func):
    registered = {object: func}

    def dispatch(cls):
        for above in (*getattr(cls, "__mro__", (cls,)), object):
            if above in registered:
                return registered[above]

    def register(cls, func=None):
        if _is_class(cls) and func is None:
            return lambda function: register(cls, function)
        parts = getattr(cls, "__args__", ())
        if func is not None and not _is_class(cls) and not (parts and all([_is_class(part) for part in parts])
                                                            and _is_union(cls)):
            raise TypeError(f"Invalid first argument to `register()`. {cls!r} is not a class or union type.")
        if func is None:
            from typing import get_type_hints

            if _is_union(cls):
                return lambda function: register(cls, function)
            if not getattr(cls, "__annotations__", {}):
                raise TypeError(f"Invalid first argument to `register()`: {cls!r}. Use either `@register(some_class)` or "
                                "plain `@register` on an annotated function.")
            func, (argument, cls) = cls, next(iter(get_type_hints(cls).items()))
            parts = getattr(cls, "__args__", ())
            if not _is_class(cls) and not (parts and _is_union(cls)):
                raise TypeError(f"Invalid annotation for {argument!r}. {cls!r} is not a class.")
        for part in parts if _is_union(cls) else (cls,):
            registered[part] = func
        return func

    def wrapper(*args, **kw):
        if not args:
            raise TypeError(f"{func.__name__} requires at least 1 positional argument")
        return dispatch(type(args[0]))(*args, **kw)

    wrapper.register, wrapper.dispatch, wrapper.registry = register, dispatch, registered
    return update_wrapper(wrapper, func)


class singledispatchmethod:
    def __init__(self, func):
        self.dispatcher = singledispatch(func)
        self.func = func

    def register(self, cls, method=None):
        return self.dispatcher.register(cls, method)

    def __get__(self, obj, cls=None):
        if obj is None:
            return self
        return lambda *args, **kwargs: self.dispatcher.dispatch(type(args[0])).__get__(obj, cls)(*args, **kwargs)
