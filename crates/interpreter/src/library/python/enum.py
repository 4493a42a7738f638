__all__ = ("Enum", "IntEnum", "StrEnum", "auto", "member", "nonmember", "unique")


class auto:
    pass


class member:
    def __init__(self, value):
        self.value = value


class nonmember:
    def __init__(self, value):
        self.value = value


def _is_hidden(name):
    return name.startswith("__") or len(name) > 2 and name[0] == name[-1] == "_"


def _is_part(value):
    return isinstance(value, (property, staticmethod, classmethod)) or hasattr(value, "__get__")


def _enumerate(cls):
    """Turns the values in a class body into members."""
    for base in cls.__mro__[1:]:
        if getattr(base, "_member_map_", None):
            raise TypeError(f"<enum {cls.__name__!r}> cannot extend <enum {base.__name__!r}>")
    own = dict(cls.__dict__)
    if "__new__" in own:
        # It makes the members; calling the class looks them up.
        cls._new_member_ = own["__new__"]
        del cls.__new__
    kind = next((base for base in cls.__mro__ if base in _PLAIN), object)
    ignored = own.get("_ignore_", ())
    ignored = ignored.replace(",", " ").split() if isinstance(ignored, str) else ignored
    members, values = {}, []
    for name, value in own.items():
        if name in ignored:
            delattr(cls, name)
            continue
        if isinstance(value, nonmember):
            setattr(cls, name, value.value)
            continue
        if isinstance(value, member):
            value = value.value
        elif _is_hidden(name) or _is_part(value):
            continue
        if isinstance(value, auto):
            value = cls._generate_next_value_(name, 1, len(members), values[:])
        made = _make(cls, kind, value)
        for known in members.values():
            if known._value_ == made._value_:
                made = known
                break
        else:
            made._name_ = made.name = name
            made.value = made._value_
        members[name] = made
        values.append(made._value_)
        setattr(cls, name, made)
    cls._member_map_ = members
    cls.__members__ = dict(members)


# Types whose values members can be, as well.
_PLAIN = (int, str, float, bytes, tuple, complex)


def _make(cls, kind, value):
    arguments = value if isinstance(value, tuple) and kind is not tuple else (value,)
    if hasattr(cls, "_new_member_"):
        made = cls._new_member_(cls, *arguments)
    else:
        made = object.__new__(cls) if kind is object else kind.__new__(cls, *arguments)
    if not hasattr(made, "_value_"):
        made._value_ = value if kind is object else kind(*arguments)
    if any(["__init__" in base.__dict__ for base in cls.__mro__ if base not in _PLAIN and base is not object]):
        made.__init__(*arguments)
    return made


class Enum:
    def __init_subclass__(cls):
        if cls.__module__ != "enum":
            _enumerate(cls)

    def __new__(cls, value, names=None, *, module="__main__", qualname=None, type=None, start=1):
        if names is not None:
            return _from_names(cls, value, names, module, qualname, type, start)
        for member in cls:
            if member is value or member._value_ == value:
                return member
        found = cls._missing_(value)
        if found is None:
            raise ValueError(f"{value!r} is not a valid {cls.__qualname__}")
        if not isinstance(found, cls):
            raise TypeError(f"error in {cls.__name__}._missing_: returned {found!r} instead of None or a valid member")
        return found

    def __class_getitem__(cls, name):
        return cls._member_map_[name]

    @classmethod
    def _missing_(cls, value):
        return None

    @staticmethod
    def _generate_next_value_(name, start, count, last_values):
        return max([value for value in last_values if isinstance(value, int)], default=start - 1) + 1

    def __repr__(self):
        return f"<{self.__class__.__name__}.{self._name_}: {self._value_!r}>"

    def __str__(self):
        return f"{self.__class__.__name__}.{self._name_}"

    def __reduce_ex__(self, protocol):
        return self.__class__, (self._value_,)


def _from_names(base, name, names, module, qualname, mixed, start):
    if isinstance(names, str):
        names = names.replace(",", " ").split()
    attributes, values = {"__module__": module, "__qualname__": qualname or name}, []
    for item in names.items() if isinstance(names, dict) else names:
        if isinstance(item, str):
            item = item, base._generate_next_value_(item, start, len(values), values[:])
        attributes[item[0]] = item[1]
        values.append(item[1])
    made = type(name, (base,) if mixed is None else (mixed, base), attributes)
    _enumerate(made)
    return made


class IntEnum(int, Enum):
    def __str__(self):
        return int.__repr__(self)


class StrEnum(str, Enum):
    def _new_member_(cls, *values):
        for value in values:
            if not isinstance(value, str):
                raise TypeError(f"{value!r} is not a string")
        return str.__new__(cls, *values)

    @staticmethod
    def _generate_next_value_(name, start, count, last_values):
        return name.lower()

    def __str__(self):
        return str.__str__(self)


def unique(enumeration):
    aliases = [f"{name} -> {one.name}" for name, one in enumeration.__members__.items() if name != one.name]
    if aliases:
        raise ValueError(f"duplicate values found in {_written(enumeration)}: {', '.join(aliases)}")
    return enumeration


def _written(enumeration):
    return f"<enum {enumeration.__name__!r}>"
