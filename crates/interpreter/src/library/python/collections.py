__all__ = ("ChainMap", "Counter", "OrderedDict", "UserDict", "UserList", "abc", "defaultdict", "deque", "namedtuple")

_KEYWORDS = """ False None True and as assert async await break class continue def del elif else except finally for from
 global if import in is lambda nonlocal not or pass raise return try while with yield """.replace("\n", " ")


def namedtuple(typename, field_names, *, rename=False, defaults=None, module=None):
    if isinstance(field_names, str):
        field_names = field_names.replace(",", " ").split()
    names, seen = [str(name) for name in field_names], set()
    if rename:
        for index, name in enumerate(names):
            if not name.isidentifier() or f" {name} " in _KEYWORDS or name.startswith("_") or name in seen:
                names[index] = f"_{index}"
            seen.add(name)
    typename = str(typename)
    for name in [typename, *names]:
        if not name.isidentifier():
            raise ValueError(f"Type names and field names must be valid identifiers: {name!r}")
        if f" {name} " in _KEYWORDS:
            raise ValueError(f"Type names and field names cannot be a keyword: {name!r}")
    seen.clear()
    for name in names:
        if name.startswith("_") and not rename:
            raise ValueError(f"Field names cannot start with an underscore: {name!r}")
        if name in seen:
            raise ValueError(f"Encountered duplicate field name: {name!r}")
        seen.add(name)
    given = () if defaults is None else tuple(defaults)
    if len(given) > len(names):
        raise TypeError("Got more default values than field names")
    attributes = {"__module__": "__main__" if module is None else module, "__slots__": ()}
    cls = type(typename, (tuple,), attributes)
    _equip(cls, names, dict(zip(names[len(names) - len(given):], given)))
    return cls


def _equip(cls, names, defaults):
    """Gives a class below tuple its fields."""
    if not all([name.isidentifier() for name in names]):
        raise ValueError(f"Field names must be valid identifiers: {names!r}")
    known = {f"_default_{name}": value for name, value in defaults.items()}
    asked = "".join([f", {name}=_default_{name}" if name in defaults else f", {name}" for name in names])
    text = f"def __new__(_cls{asked}): return _new(_cls, [{', '.join(names)}])"
    cls.__new__ = _write(cls.__name__, text, known | {"_new": tuple.__new__})
    cls._fields = cls.__match_args__ = tuple(names)
    cls._field_defaults = defaults
    if cls.__doc__ is None:
        cls.__doc__ = f"{cls.__name__}({', '.join(names)})"
    for index, name in enumerate(names):
        setattr(cls, name, property(_field(index), _no_setting, _no_deleting, f"Alias for field number {index}"))
    for name in ("__repr__", "_asdict", "_make", "_replace", "__getnewargs__"):
        setattr(cls, name, _Record.__dict__[name])


def _no_setting(self, value):
    raise AttributeError("can't set attribute")


def _no_deleting(self):
    raise AttributeError("can't delete attribute")


class _Record:
    """What named tuples have in common."""

    def __repr__(self):
        parts = [f"{name}={value!r}" for name, value in zip(self._fields, tuple(self))]
        return f"{self.__class__.__name__}({', '.join(parts)})"

    def _asdict(self):
        return dict(zip(self._fields, tuple(self)))

    @classmethod
    def _make(cls, iterable):
        made = tuple.__new__(cls, iterable)
        if len(made) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
        return made

    def _replace(self, /, **kwds):
        made = self._make([kwds.pop(name, value) for name, value in zip(self._fields, tuple(self))])
        if kwds:
            raise ValueError(f"Got unexpected field names: {list(kwds)!r}")
        return made

    def __getnewargs__(self):
        return tuple(self)


def _from_annotations(cls):
    if hasattr(cls, "_fields"):
        return
    names = list(cls.__dict__.get("__annotations__", {}))
    defaults = {}
    for name in names:
        if name.startswith("_"):
            raise ValueError(f"Field names cannot start with an underscore: {name!r}")
        if name in cls.__dict__:
            defaults[name] = cls.__dict__[name]
        elif defaults:
            after = "s" if len(defaults) > 1 else ""
            raise TypeError(f"Non-default namedtuple field {name} cannot follow default field{after} "
                            f"{', '.join(defaults)}")
    _equip(cls, names, defaults)


def _from_pairs(cls, typename, fields=(), /, **kwargs):
    return namedtuple(typename, [name for name, _ in fields or kwargs.items()])


# What typing offers: classes below it take their fields from annotations.
_NamedTuple = type("NamedTuple", (tuple,), {
    "__module__": "typing", "__init_subclass__": _from_annotations, "__new__": _from_pairs,
})


def _revive(cls):
    """Gives a class that has the marks of a named tuple, and nothing that can run, what it had."""
    _equip(cls, list(cls._fields), dict(cls.__dict__.get("_field_defaults", {})))


class ChainMap:
    def __init__(self, *maps):
        self.maps = list(maps) or [{}]

    def __missing__(self, key):
        raise KeyError(key)

    def __getitem__(self, key):
        for mapping in self.maps:
            if key in mapping:
                return mapping[key]
        return self.__missing__(key)

    def get(self, key, default=None):
        return self[key] if key in self else default

    def _merged(self):
        merged = {}
        for mapping in reversed(self.maps):
            merged.update(dict.fromkeys(mapping))
        return merged

    def __len__(self):
        return len(self._merged())

    def __iter__(self):
        return iter(self._merged())

    def __contains__(self, key):
        return any([key in mapping for mapping in self.maps])

    def __bool__(self):
        return any(self.maps)

    def __repr__(self):
        return f"{self.__class__.__name__}({', '.join([repr(mapping) for mapping in self.maps])})"

    def __eq__(self, other):
        if not isinstance(other, (ChainMap, dict)):
            return NotImplemented
        return dict(self.items()) == dict(other.items())

    def keys(self):
        return self._merged().keys()

    def values(self):
        return dict(self.items()).values()

    def items(self):
        return {key: self[key] for key in self}.items()

    def copy(self):
        return self.__class__(self.maps[0].copy(), *self.maps[1:])

    __copy__ = copy

    def new_child(self, m=None, **kwargs):
        m = kwargs if m is None else {**m, **kwargs} if kwargs else m
        return self.__class__(m, *self.maps)

    @property
    def parents(self):
        return self.__class__(*self.maps[1:])

    def __setitem__(self, key, value):
        self.maps[0][key] = value

    def __delitem__(self, key):
        try:
            del self.maps[0][key]
        except KeyError:
            raise KeyError(f"Key not found in the first mapping: {key!r}") from None

    def setdefault(self, key, default=None):
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, other=(), /, **kwargs):
        self.maps[0].update(other, **kwargs)

    def pop(self, key, *args):
        try:
            return self.maps[0].pop(key, *args)
        except KeyError:
            raise KeyError(f"Key not found in the first mapping: {key!r}") from None

    def popitem(self):
        try:
            return self.maps[0].popitem()
        except KeyError:
            raise KeyError("No keys found in the first mapping.") from None

    def clear(self):
        self.maps[0].clear()

    def __or__(self, other):
        if not isinstance(other, (ChainMap, dict)):
            return NotImplemented
        made = self.copy()
        made.maps[0].update(other)
        return made

    def __ior__(self, other):
        self.maps[0].update(other)
        return self
