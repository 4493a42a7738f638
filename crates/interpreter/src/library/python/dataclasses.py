__all__ = (
    "Field", "FrozenInstanceError", "InitVar", "KW_ONLY", "MISSING", "asdict", "astuple", "dataclass", "field",
    "fields", "is_dataclass", "make_dataclass", "replace",
)

# What a class that was made where a request was written may name, besides.
__sent__ = ("_DataclassParams", "_FIELD", "_FIELD_CLASSVAR", "_FIELD_INITVAR", "_MISSING_TYPE")


class FrozenInstanceError(AttributeError):
    pass


class _MISSING_TYPE:
    pass


MISSING = _MISSING_TYPE()


class KW_ONLY:
    pass


class InitVar:
    def __init__(self, type):
        self.type = type

    def __class_getitem__(cls, key):
        return InitVar(key)

    def __repr__(self):
        name = self.type.__name__ if isinstance(self.type, type) else repr(self.type)
        return f"dataclasses.InitVar[{name}]"


class _Kind:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


_FIELD, _FIELD_CLASSVAR, _FIELD_INITVAR = _Kind("_FIELD"), _Kind("_FIELD_CLASSVAR"), _Kind("_FIELD_INITVAR")

# Objects whose repr is being written.
_open = set()


class Field:
    def __init__(self, default, default_factory, init, repr, hash, compare, metadata, kw_only):
        self.name = None
        self.type = None
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr
        self.hash = hash
        self.compare = compare
        self.metadata = {} if metadata is None else metadata
        self.kw_only = kw_only
        self._field_type = None

    def __repr__(self):
        if id(self) in _open:
            return "..."
        _open.add(id(self))
        try:
            return f"Field({','.join([f'{name}={value!r}' for name, value in self.__dict__.items()])})"
        finally:
            _open.discard(id(self))


def field(*, default=MISSING, default_factory=MISSING, init=True, repr=True, hash=None, compare=True, metadata=None,
          kw_only=MISSING):
    if default is not MISSING and default_factory is not MISSING:
        raise ValueError("cannot specify both default and default_factory")
    return Field(default, default_factory, init, repr, hash, compare, metadata, kw_only)


class _DataclassParams:
    def __init__(self, **options):
        self.__dict__.update(options)

    def __repr__(self):
        return f"_DataclassParams({','.join([f'{name}={value!r}' for name, value in self.__dict__.items()])})"


def dataclass(cls=None, /, *, init=True, repr=True, eq=True, order=False, unsafe_hash=False, frozen=False,
              match_args=True, kw_only=False, slots=False, weakref_slot=False):
    params = _DataclassParams(init=init, repr=repr, eq=eq, order=order, unsafe_hash=unsafe_hash, frozen=frozen)

    def equip(cls):
        return _equip(cls, params, match_args, kw_only, slots, weakref_slot)

    return equip if cls is None else equip(cls)


def _equip(cls, params, match_args, kw_only, slots, weakref_slot):
    if not isinstance(cls, type):
        raise TypeError("dataclass() needs a class")
    everything, frozen_bases, thawed_bases = {}, False, False
    for base in reversed(cls.__mro__[1:]):
        inherited = getattr(base, "__dict__", {}).get("__dataclass_fields__")
        if inherited is not None:
            everything.update(inherited)
            if getattr(base, "__dataclass_params__", params).frozen:
                frozen_bases = True
            else:
                thawed_bases = True
    everything.update(_own_fields(cls, kw_only))
    if frozen_bases and not params.frozen:
        raise TypeError("cannot inherit non-frozen dataclass from a frozen one")
    if thawed_bases and params.frozen:
        raise TypeError("cannot inherit frozen dataclass from a non-frozen one")
    own = cls.__dict__
    explicit_hash = "__hash__" in own and not (own["__hash__"] is None and "__eq__" in own)
    cls.__dataclass_fields__ = everything
    cls.__dataclass_params__ = params
    if params.order and not params.eq:
        raise ValueError("eq must be true if order is true")
    author = _Author(cls, everything, params.frozen, slots)
    if params.init:
        seen_default = False
        for f in author.positional:
            optional = _is_optional(f)
            if seen_default and not optional:
                raise TypeError(f"non-default argument {f.name!r} follows default argument")
            seen_default = seen_default or optional
        _define(cls, "__init__", author.write("__init__"))
    if params.repr:
        _define(cls, "__repr__", author.write("__repr__"))
    if params.eq:
        _define(cls, "__eq__", author.write("__eq__"))
    if params.order:
        for name in _ORDER:
            if not _define(cls, name, author.write(name)):
                raise TypeError(f"Cannot overwrite attribute {name} in class {cls.__name__}. "
                                "Consider using functools.total_ordering")
    if params.frozen:
        for name in _REFUSED:
            if not _define(cls, name, author.write(name)):
                raise TypeError(f"Cannot overwrite attribute {name} in class {cls.__name__}")
    if params.unsafe_hash and explicit_hash:
        raise TypeError(f"Cannot overwrite attribute __hash__ in class {cls.__name__}")
    if params.unsafe_hash or params.eq and params.frozen and not explicit_hash:
        cls.__hash__ = author.write("__hash__")
    elif params.eq and not params.frozen and not explicit_hash:
        cls.__hash__ = None
    if match_args:
        _define(cls, "__match_args__", tuple([f.name for f in author.positional]))
    if weakref_slot and not slots:
        raise TypeError("weakref_slot is True but slots is False")
    return _slotted(cls, [f.name for f in author.stored]) if slots else cls


_ORDER = ("__lt__", "__le__", "__gt__", "__ge__")
_REFUSED = {"__setattr__": "assign to", "__delattr__": "delete"}


class _Author:
    """Writes the functions that the fields of a class ask for."""

    def __init__(self, cls, everything, frozen, slots):
        self.cls, self.frozen, self.slots = cls, frozen, slots
        self.taken = [f for f in everything.values() if f._field_type is not _FIELD_CLASSVAR]
        self.stored = [f for f in self.taken if f._field_type is _FIELD]
        self.positional = [f for f in self.taken if f.init and not f.kw_only]

    def write(self, name):
        if name == "__init__":
            return _initializer(self.cls, self.taken, self.frozen, self.slots)
        if name == "__repr__":
            return _writer([f.name for f in self.stored if f.repr])
        if name == "__hash__":
            return _hasher([f.name for f in self.stored if (f.compare if f.hash is None else f.hash)])
        if name in _REFUSED:
            return _refusal(self.cls, tuple([f.name for f in self.stored]), name, _REFUSED[name])
        return _comparison([f.name for f in self.stored if f.compare], _operator(name.strip("_")))


def _revive(cls):
    """Gives a class that came with a request the functions that were written for it, which come without their text."""
    everything = cls.__dict__["__dataclass_fields__"]
    if not all([isinstance(f, Field) and hasattr(f, "_field_type") for f in everything.values()]):
        # Another library's.
        return
    for f in everything.values():
        for part in ("default", "default_factory", "kw_only"):
            if isinstance(getattr(f, part, MISSING), _MISSING_TYPE):
                setattr(f, part, MISSING)
    lost = [name for name in ("__init__", "__repr__", "__eq__", "__hash__", *_ORDER, *_REFUSED)
            if name in cls.__dict__ and not isinstance(cls.__dict__[name], (type(_revive), type(None)))]
    author = _Author(cls, everything, "__setattr__" in lost, False)
    for name in lost:
        delattr(cls, name)
        _define(cls, name, author.write(name))


def _define(cls, name, value):
    """Gives a class an attribute that it does not have itself, and says whether it did."""
    if name in cls.__dict__:
        return False
    if callable(value):
        value.__name__ = name
        value.__qualname__ = f"{cls.__qualname__}.{name}"
    setattr(cls, name, value)
    return True


def _own_fields(cls, kw_only):
    annotations = cls.__dict__.get("__annotations__", {})
    found, separated = {}, False
    for name, annotation in annotations.items():
        kind = _kind_of(annotation, cls)
        if kind == "KW_ONLY":
            if separated:
                raise TypeError(f"{name!r} is KW_ONLY, but KW_ONLY has already been specified")
            kw_only = separated = True
            continue
        default = getattr(cls, name, MISSING)
        f = default if isinstance(default, Field) else field(default=default)
        f.name, f.type = name, annotation
        f._field_type = {"ClassVar": _FIELD_CLASSVAR, "InitVar": _FIELD_INITVAR}.get(kind, _FIELD)
        if f._field_type is not _FIELD and f.default_factory is not MISSING:
            raise TypeError(f"field {name} cannot have a default factory")
        if f._field_type is not _FIELD_CLASSVAR:
            if f.kw_only is MISSING:
                f.kw_only = kw_only
        elif f.kw_only is not MISSING:
            raise TypeError(f"field {name} is a ClassVar but specifies kw_only")
        if f._field_type is _FIELD and _is_mutable(f.default):
            raise ValueError(f"mutable default {type(f.default)} for field {name} is not allowed: use default_factory")
        found[name] = f
        if isinstance(default, Field):
            if default.default is MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, default.default)
    for name, value in cls.__dict__.items():
        if isinstance(value, Field) and name not in annotations:
            raise TypeError(f"{name!r} is a field but has no type annotation")
    return found


def _kind_of(annotation, cls):
    """Names what an annotation is."""
    if not isinstance(annotation, str):
        origin = getattr(annotation, "__origin__", annotation)
        if origin is KW_ONLY or isinstance(origin, InitVar) or origin is InitVar:
            return "KW_ONLY" if origin is KW_ONLY else "InitVar"
        return "ClassVar" if repr(origin) == "typing.ClassVar" else ""
    # Python looks for a text's name in the class's module.
    return "" if cls.__module__ == "builtins" else annotation.partition("[")[0].strip().rpartition(".")[2]


def _is_mutable(default):
    return isinstance(default, (list, dict, set)) or getattr(type(default), "__hash__", hash) is None


def _is_optional(f):
    return f.default is not MISSING or f.default_factory is not MISSING


def _initializer(cls, taken, frozen, slots):
    asked = [f for f in taken if f.init]
    own = "__dataclass_self__" if "self" in [f.name for f in asked] else "self"
    known, lines = {"__dataclass_set": _set, "__dataclass_missing": MISSING}, []

    def default(f):
        known["__dataclass_default_" + f.name] = f.default
        return "__dataclass_default_" + f.name

    for f in taken:
        if not f.name.isidentifier():
            raise TypeError(f"Field names must be valid identifiers: {f.name!r}")
        value = f.name
        if f.default_factory is not MISSING:
            known["__dataclass_factory_" + f.name] = f.default_factory
            made = f"__dataclass_factory_{f.name}()"
            value = f"{made} if {f.name} is __dataclass_missing else {f.name}" if f.init else made
        elif not f.init:
            # The class's attribute, which classes with slots do not keep.
            if not slots or f.default is MISSING:
                continue
            value = default(f)
        if f._field_type is _FIELD:
            lines.append(f"__dataclass_set({own}, {f.name!r}, {value})" if frozen else f"{own}.{f.name} = {value}")
    if hasattr(cls, "__post_init__"):
        passed = [f.name for f in taken if f._field_type is _FIELD_INITVAR]
        lines.append(f"{own}.__post_init__({', '.join(passed)})")
    named = [[f"{f.name}={default(f)}" if _is_optional(f) else f.name for f in asked if bool(f.kw_only) is kw_only]
             for kw_only in (False, True)]
    parameters = [own, *named[0], *(["*", *named[1]] if named[1] else [])]
    text = f"def __init__({', '.join(parameters)}):\n  " + "\n  ".join(lines or ["pass"])
    return _write(cls.__qualname__, text, known)


def _writer(names):
    def __repr__(self):
        if id(self) in _open:
            return "..."
        _open.add(id(self))
        try:
            parts = [f"{name}={getattr(self, name)!r}" for name in names]
            return f"{self.__class__.__qualname__}({', '.join(parts)})"
        finally:
            _open.discard(id(self))

    # `pprint` writes such objects in its own way.
    __repr__.__dataclass_made__ = True
    return __repr__


def _values(names):
    """Makes what reads attributes of an object, as a tuple."""
    if len(names) > 1:
        return _attrgetter(*names)
    return lambda object: tuple([getattr(object, name) for name in names])


def _comparison(names, compare):
    values = _values(names)

    def method(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        return compare(values(self), values(other))

    return method


def _hasher(names):
    values = _values(names)
    return lambda self: hash(values(self))


def _refusal(cls, names, method, verb):
    def refuse(self, name, *value):
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot {verb} field {name!r}")
        return getattr(super(cls, self), method)(name, *value)

    return refuse


def _slotted(cls, names):
    """Makes the class again, with slots for those fields that no class above has slots for."""
    if "__slots__" in cls.__dict__:
        raise TypeError(f"{cls.__name__} already specifies __slots__")
    above = set()
    for base in cls.__mro__[1:]:
        slots = getattr(base, "__dict__", {}).get("__slots__", ())
        above.update([slots] if isinstance(slots, str) else slots)
    attributes = {name: value for name, value in cls.__dict__.items() if name not in names}
    attributes["__slots__"] = tuple([name for name in names if name not in above])
    attributes["__module__"], attributes["__qualname__"] = cls.__module__, cls.__qualname__
    return type(cls.__name__, cls.__bases__, attributes)


def fields(class_or_instance):
    try:
        found = class_or_instance.__dataclass_fields__
    except AttributeError:
        raise TypeError("must be called with a dataclass type or instance") from None
    return tuple([f for f in found.values() if f._field_type is _FIELD])


def _is_instance(obj):
    return hasattr(type(obj), "__dataclass_fields__")


def is_dataclass(obj):
    return hasattr(obj if isinstance(obj, type) else type(obj), "__dataclass_fields__")


def asdict(obj, *, dict_factory=dict):
    if not _is_instance(obj):
        raise TypeError("asdict() should be called on dataclass instances")
    return _export(obj, dict_factory, True)


def astuple(obj, *, tuple_factory=tuple):
    if not _is_instance(obj):
        raise TypeError("astuple() should be called on dataclass instances")
    return _export(obj, tuple_factory, False)


def _export(obj, factory, by_name):
    if _is_instance(obj):
        parts = [(f.name, _export(getattr(obj, f.name), factory, by_name)) for f in fields(obj)]
        return factory(parts if by_name else [part for _, part in parts])
    kind = type(obj)
    if isinstance(obj, tuple) and hasattr(obj, "_fields"):
        return kind(*[_export(item, factory, by_name) for item in obj])
    if isinstance(obj, (list, tuple)):
        return kind([_export(item, factory, by_name) for item in obj])
    if isinstance(obj, dict):
        pairs = [(_export(key, factory, by_name), _export(value, factory, by_name)) for key, value in obj.items()]
        return kind(obj.default_factory, pairs) if hasattr(obj, "default_factory") else kind(pairs)
    # Few export, and many import this module.
    from copy import deepcopy
    return deepcopy(obj)


def replace(obj, /, **changes):
    if not _is_instance(obj):
        raise TypeError("replace() should be called on dataclass instances")
    for f in obj.__dataclass_fields__.values():
        if f._field_type is _FIELD_CLASSVAR:
            continue
        if not f.init:
            if f.name in changes:
                raise ValueError(f"field {f.name} is declared with init=False, it cannot be specified with replace()")
        elif f.name not in changes:
            if f._field_type is _FIELD_INITVAR and f.default is MISSING:
                raise ValueError(f"InitVar {f.name!r} must be specified with replace()")
            changes[f.name] = getattr(obj, f.name)
    return obj.__class__(**changes)


def make_dataclass(cls_name, fields, *, bases=(), namespace=None, **options):
    attributes, annotations = dict(namespace or {}), {}
    for item in fields:
        name, *rest = (item, "typing.Any") if isinstance(item, str) else item
        if not isinstance(name, str) or not name.isidentifier():
            raise TypeError(f"Field names must be valid identifiers: {name!r}")
        if name in annotations:
            raise TypeError(f"Field name duplicated: {name!r}")
        annotations[name] = rest[0]
        if len(rest) > 1:
            attributes[name] = rest[1]
    attributes["__annotations__"] = annotations
    return dataclass(type(cls_name, tuple(bases), attributes), **options)
