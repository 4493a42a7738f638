__all__ = ("Enum", "Flag", "IntEnum", "IntFlag", "StrEnum", "auto", "member", "nonmember", "unique")


class auto:
    """A value to come. In CPython a class body sees it at once; here, what is computed of it comes when it has come."""

    value = None

    def _come(self, generate):
        if self.value is None:
            self.value = generate()
        return self.value

    def __or__(self, other):
        return _Computed(lambda left, right: left | right, self, other)

    def __and__(self, other):
        return _Computed(lambda left, right: left & right, self, other)

    def __xor__(self, other):
        return _Computed(lambda left, right: left ^ right, self, other)

    def __invert__(self):
        return _Computed(lambda value: ~value, self)

    __ror__, __rand__, __rxor__ = __or__, __and__, __xor__


class _Computed(auto):
    def __init__(self, compute, *operands):
        self.compute, self.operands = compute, operands

    def _come(self, generate):
        values = [one._come(None) if isinstance(one, _Computed) else one.value if isinstance(one, auto) else one
                  for one in self.operands]
        return self.compute(*values)


class member:
    def __init__(self, value):
        self.value = value


class nonmember:
    def __init__(self, value):
        self.value = value


def _is_hidden(name):
    return name.startswith("__") or len(name) > 2 and name[0] == name[-1] == "_"


_SUNDER = {"_order_", "_generate_next_value_", "_numeric_repr_", "_missing_", "_ignore_", "_iter_member_",
           "_iter_member_by_value_", "_iter_member_by_def_"}


def _is_reserved(name):
    return len(name) > 2 and name[0] == name[-1] == "_" != name[1] and name[-2] != "_" and name not in _SUNDER


def _refuse_reserved(cls):
    """Refuses names that CPython's class statement refuses. Classes that come with a request have the metaclass's own."""
    for name in cls.__dict__:
        if _is_reserved(name):
            raise ValueError(f"_sunder_ names, such as {name!r}, are reserved for future Enum use")


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
    # What makes members may ask how many there are.
    cls.__members__ = members
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
            value = value._come(lambda: cls._generate_next_value_(name, 1, len(members), values[:]))
        elif type(value) is tuple and any([isinstance(part, auto) for part in value]):
            parts = []
            for part in value:
                if isinstance(part, auto):
                    part = part._come(lambda: cls._generate_next_value_(name, 1, len(members), values[:]))
                    values.append(part)
                parts.append(part)
            value = tuple(parts)
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
    order = own.get("_order_")
    if order is not None and not issubclass(cls, Flag):
        names = [name for name, one in members.items() if one._name_ == name]
        order = order.replace(",", " ").split() if isinstance(order, str) else list(order)
        order = [name for name in order if name not in members or name in names]
        if order != names:
            raise TypeError(f"member order does not match _order_:\n  {names!r}\n  {order!r}")


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
            _refuse_reserved(cls)
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


class Flag(Enum):
    _spare_bits_ = "refused"

    @staticmethod
    def _generate_next_value_(name, start, count, last_values):
        return 2 ** max(last_values).bit_length() if last_values else start

    @classmethod
    def _missing_(cls, value):
        if isinstance(value, cls) or not isinstance(value, int):
            return value if isinstance(value, cls) else None
        if "_by_value_" not in cls.__dict__:
            cls._by_value_ = {member._value_: member for member in cls._member_map_.values()}
        known, mask = cls._by_value_, 0
        if value in known:
            return known[value]
        for member in cls._member_map_.values():
            mask |= member._value_
        # All bits up to the highest.
        every, given = 2 ** mask.bit_length() - 1, value
        if not ~every <= value <= every or value & (every ^ mask):
            if cls._spare_bits_ == "refused":
                width = max(value.bit_length(), mask.bit_length())
                raise ValueError(f"{_written(cls)} invalid value {value!r}\n    given {_bits(value, width)}\n"
                                 f"  allowed {_bits(mask, width)}")
            if value < 0:
                value += max(every + 1, 2 ** value.bit_length())
        if value < 0:
            value += every + 1
        known[given] = known[value] = known.get(value) or _combined(cls, value)
        return known[value]

    def __contains__(self, other):
        if not isinstance(other, self.__class__):
            raise TypeError(f"unsupported operand type(s) for 'in': {type(other).__qualname__!r} and "
                            f"{self.__class__.__qualname__!r}")
        return other._value_ & self._value_ == other._value_

    def __iter__(self):
        return iter([member for member in self.__class__ if member._value_ & self._value_])

    def __len__(self):
        return self._value_.bit_count()

    def __repr__(self):
        name = "" if self._name_ is None else "." + self._name_
        return f"<{self.__class__.__name__}{name}: {self._value_!r}>"

    def __str__(self):
        return f"{self.__class__.__name__}({self._value_!r})" if self._name_ is None else Enum.__str__(self)

    def __bool__(self):
        return bool(self._value_)

    def _operand(self, other):
        if isinstance(other, self.__class__):
            return other._value_
        return other if isinstance(self, int) and isinstance(other, int) else None

    def __or__(self, other):
        other = self._operand(other)
        return NotImplemented if other is None else self.__class__(self._value_ | other)

    def __and__(self, other):
        other = self._operand(other)
        return NotImplemented if other is None else self.__class__(self._value_ & other)

    def __xor__(self, other):
        other = self._operand(other)
        return NotImplemented if other is None else self.__class__(self._value_ ^ other)

    def __invert__(self):
        if self._spare_bits_ == "kept":
            return self.__class__(~self._value_)
        return self.__class__(sum([member._value_ for member in self.__class__]) & ~self._value_)

    __ror__, __rand__, __rxor__ = __or__, __and__, __xor__


class IntFlag(int, Flag):
    _spare_bits_ = "kept"

    def __str__(self):
        return int.__repr__(self)


def _bits(number, width):
    digits = f"{number & 2 ** width - 1:0{width}b}"
    return f"0b{int(number < 0)} {digits}"


def _combined(cls, value):
    """Makes the member that has those bits."""
    parts = [member for member in cls if member._value_ & value]
    if value & ~sum([member._value_ for member in cls]):
        # Of several bits that have no name of their own.
        parts += [member for member in cls.__members__.values()
                  if member not in parts and member._value_ and member._value_ & value == member._value_]
    named = 0
    for member in parts:
        named |= member._value_
    if named != value and named and cls._spare_bits_ == "refused":
        raise ValueError(f"{_written(cls)}: no members with value {value ^ named!r}")
    made = int.__new__(cls, value) if issubclass(cls, int) else object.__new__(cls)
    names = [member._name_ for member in parts] + ([repr(value ^ named)] if named != value else [])
    made._name_ = made.name = "|".join(names) if named else None
    made._value_ = made.value = value
    return made


def unique(enumeration):
    aliases = [f"{name} -> {one.name}" for name, one in enumeration.__members__.items() if name != one.name]
    if aliases:
        raise ValueError(f"duplicate values found in {_written(enumeration)}: {', '.join(aliases)}")
    return enumeration


def _written(enumeration):
    return f"<{'flag' if issubclass(enumeration, Flag) else 'enum'} {enumeration.__name__!r}>"
