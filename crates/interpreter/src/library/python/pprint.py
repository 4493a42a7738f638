from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from types import MappingProxyType, SimpleNamespace

__all__ = ("PrettyPrinter", "isreadable", "isrecursive", "pformat", "pp", "pprint", "saferepr")


def _key(value):
    return (str(type(value)), repr(value))


def _sorted(items):
    items = list(items)
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=_key)


def _sorted_pairs(items):
    items = list(items)
    try:
        return sorted(items, key=lambda pair: pair[0])
    except TypeError:
        return sorted(items, key=lambda pair: _key(pair[0]))


def _writes_as(kind, known):
    """Says whether objects of a class are written as those of a builtin one: none in between writes them in another way."""
    if kind is known:
        return True
    line = getattr(kind, "__mro__", ())
    if known not in line:
        return False
    between = line[:line.index(known)]
    return not any(["__repr__" in getattr(one, "__dict__", {}) or one in (OrderedDict, defaultdict, Counter) for one in between])


def _is_written(kind):
    """Says whether `dataclass` made what writes objects of a class."""
    return next((hasattr(one.__dict__["__repr__"], "__dataclass_made__") for one in kind.__mro__
                 if "__repr__" in getattr(one, "__dict__", {})), False)


class PrettyPrinter:
    def __init__(self, indent=1, width=80, depth=None, stream=None, *, compact=False, sort_dicts=True,
                 underscore_numbers=False):
        indent, width = int(indent), int(width)
        if indent < 0:
            raise ValueError("indent must be >= 0")
        if depth is not None and depth <= 0:
            raise ValueError("depth must be > 0")
        if not width:
            raise ValueError("width must be != 0")
        self._indent, self._width, self._depth, self._compact = indent, width, depth, bool(compact)
        self._sort, self._underscores, self._stream = sort_dicts, underscore_numbers, stream

    def pprint(self, object):
        if self._stream is None:
            print(self.pformat(object))
        else:
            self._stream.write(self.pformat(object) + "\n")

    def pformat(self, object):
        parts = []
        self._format(object, parts, 0, 0, {}, 0)
        return "".join(parts)

    def isrecursive(self, object):
        return self._repr(object, {}, self._depth, 0)[1]

    def isreadable(self, object):
        return not self.isrecursive(object) and not self.pformat(object).startswith("<")

    def format(self, object, context, maxlevels, level):
        text, recursive = self._repr(object, context, maxlevels, level)
        return text, True, recursive

    def _text(self, object, context, level):
        return self.format(object, dict(context), self._depth, level)[0]

    def _format(self, object, out, indent, allowance, context, level):
        mark = id(object)
        if mark in context:
            out.append(f"<Recursion on {type(object).__name__} with id={mark}>")
            return
        text = self._text(object, context, level)
        if len(text) > self._width - indent - allowance:
            shown = self._way(object)
            if shown is not None:
                context[mark] = 1
                shown(object, out, indent, allowance, context, level + 1)
                del context[mark]
                return
        out.append(text)

    def _way(self, object):
        # Classes that write themselves in another way are left to it.
        kind = type(object)
        if kind is OrderedDict:
            return self._ordered
        if kind is defaultdict:
            return self._default
        if kind is Counter:
            return self._counter
        if kind is deque:
            return self._deque
        ways = ((dict, self._dict), (list, self._list), (tuple, self._tuple), (set, self._set), (frozenset, self._set),
                (str, self._str), (bytes, self._bytes), (bytearray, self._bytearray), (MappingProxyType, self._proxy),
                (ChainMap, self._chain), (SimpleNamespace, self._namespace))
        for known, way in ways:
            if _writes_as(kind, known):
                return way
        if hasattr(object, "__dataclass_fields__") and not isinstance(object, type) and _is_written(kind):
            return self._dataclass
        return None

    def _bytes(self, object, out, indent, allowance, context, level):
        if len(object) <= 4:
            out.append(repr(object))
            return
        alone = level == 1
        if alone:
            indent, allowance = indent + 1, allowance + 1
        lines, kept, width = [], b"", self._width - indent
        for at in range(0, len(object), 4):
            if at == len(object) // 4 * 4:
                width -= allowance
            part = object[at:at + 4]
            if len(repr(kept + part)) > width:
                if kept:
                    lines.append(repr(kept))
                kept = part
            else:
                kept += part
        if kept:
            lines.append(repr(kept))
        text = ("\n" + " " * indent).join(lines)
        out.append(f"({text})" if alone else text)

    def _bytearray(self, object, out, indent, allowance, context, level):
        out.append("bytearray(")
        self._bytes(bytes(object), out, indent + 10, allowance + 1, context, level + 1)
        out.append(")")

    def _proxy(self, object, out, indent, allowance, context, level):
        out.append("mappingproxy(")
        self._format(dict(object), out, indent + 13, allowance + 1, context, level)
        out.append(")")

    def _chain(self, object, out, indent, allowance, context, level):
        name = type(object).__name__
        out.append(name + "(")
        indent += len(name) + 1
        for at, one in enumerate(object.maps):
            last = at == len(object.maps) - 1
            self._format(one, out, indent, allowance + 1 if last else 1, context, level)
            out.append(")" if last else ",\n" + " " * indent)

    def _namespace(self, object, out, indent, allowance, context, level):
        name = "namespace" if type(object) is SimpleNamespace else type(object).__name__
        out.append(name + "(")
        self._named(list(object.__dict__.items()), out, indent + len(name) + 1, allowance, context, level)
        out.append(")")

    def _dataclass(self, object, out, indent, allowance, context, level):
        name = type(object).__qualname__
        indent += len(name) + 1
        fields = [(f.name, getattr(object, f.name)) for f in object.__dataclass_fields__.values() if f.repr]
        out.append(name + "(")
        self._named(fields, out, indent, allowance, context, level)
        out.append(")")

    def _named(self, fields, out, indent, allowance, context, level):
        for at, (key, value) in enumerate(fields):
            last = at == len(fields) - 1
            out.append(key + "=")
            if id(value) in context:
                out.append("...")
            else:
                self._format(value, out, indent + len(key) + 1, allowance if last else 1, context, level)
            if not last:
                out.append(",\n" + " " * indent)

    def _dict(self, object, out, indent, allowance, context, level):
        out.append("{")
        if self._indent > 1:
            out.append((self._indent - 1) * " ")
        if len(object):
            items = _sorted_pairs(object.items()) if self._sort else list(object.items())
            self._pairs(items, out, indent, allowance + 1, context, level)
        out.append("}")

    def _pairs(self, items, out, indent, allowance, context, level):
        indent += self._indent
        for at, (key, value) in enumerate(items):
            last = at == len(items) - 1
            text = self._text(key, context, level)
            out.append(text + ": ")
            self._format(value, out, indent + len(text) + 2, allowance if last else 1, context, level)
            if not last:
                out.append(",\n" + " " * indent)

    def _ordered(self, object, out, indent, allowance, context, level):
        if not len(object):
            out.append(repr(object))
            return
        name = type(object).__name__
        out.append(name + "(")
        self._items(list(object.items()), out, indent + len(name) + 1, allowance + 1, context, level, "[", "]")
        out.append(")")

    def _default(self, object, out, indent, allowance, context, level):
        if not len(object):
            out.append(repr(object))
            return
        factory = self._text(object.default_factory, context, level)
        name = type(object).__name__
        indent += len(name) + 1
        out.append(f"{name}({factory},\n{' ' * indent}")
        self._dict(object, out, indent, allowance + 1, context, level)
        out.append(")")

    def _counter(self, object, out, indent, allowance, context, level):
        if not len(object):
            out.append(repr(object))
            return
        name = type(object).__name__
        out.append(name + "({")
        if self._indent > 1:
            out.append((self._indent - 1) * " ")
        self._pairs(object.most_common(), out, indent + len(name) + 1, allowance + 2, context, level)
        out.append("})")

    def _deque(self, object, out, indent, allowance, context, level):
        if not len(object):
            out.append(repr(object))
            return
        name = type(object).__name__
        out.append(name + "(")
        indent += len(name) + 1
        if object.maxlen is None:
            self._items(list(object), out, indent, allowance + 1, context, level, "[", "]")
            out.append(")")
        else:
            self._items(list(object), out, indent, 2, context, level, "[", "]")
            text = self._text(object.maxlen, context, level)
            out.append(f",\n{' ' * indent}maxlen={text})")

    def _list(self, object, out, indent, allowance, context, level):
        self._items(object, out, indent, allowance, context, level, "[", "]")

    def _tuple(self, object, out, indent, allowance, context, level):
        self._items(object, out, indent, allowance, context, level, "(", ",)" if len(object) == 1 else ")")

    def _set(self, object, out, indent, allowance, context, level):
        if not len(object):
            out.append(repr(object))
            return
        if type(object) is set:
            self._items(_sorted(object), out, indent, allowance, context, level, "{", "}")
        else:
            name = type(object).__name__
            self._items(_sorted(object), out, indent + len(name) + 1, allowance, context, level, name + "({", "})")

    def _items(self, items, out, indent, allowance, context, level, begin, end):
        out.append(begin)
        indent += self._indent
        if self._indent > 1:
            out.append((self._indent - 1) * " ")
        between, separator = ",\n" + " " * indent, ""
        allowance += len(end)
        width = most = self._width - indent + 1
        for at, item in enumerate(items):
            last = at == len(items) - 1
            if last:
                most -= allowance
                width -= allowance
            if self._compact:
                text = self._text(item, context, level)
                size = len(text) + 2
                if width < size:
                    width = most
                    if separator:
                        separator = between
                if width >= size:
                    width -= size
                    out.append(separator + text)
                    separator = ", "
                    continue
            out.append(separator)
            separator = between
            self._format(item, out, indent, allowance if last else 1, context, level)
        out.append(end)

    def _str(self, object, out, indent, allowance, context, level):
        if not len(object):
            out.append(repr(object))
            return
        chunks = []
        lines = object.splitlines(True)
        if level == 1:
            indent += 1
            allowance += 1
        most = width = self._width - indent
        text = ""
        for at, line in enumerate(lines):
            text = repr(line)
            if at == len(lines) - 1:
                width -= allowance
            if len(text) <= width:
                chunks.append(text)
                continue
            parts, begin, place = [], 0, 0
            while place < len(line):
                while place < len(line) and not line[place].isspace():
                    place += 1
                while place < len(line) and line[place].isspace():
                    place += 1
                parts.append(line[begin:place])
                begin = place
            kept, room = "", most
            for number, part in enumerate(parts):
                candidate = kept + part
                if number == len(parts) - 1 and at == len(lines) - 1:
                    room -= allowance
                if len(repr(candidate)) > room:
                    if kept:
                        chunks.append(repr(kept))
                    kept = part
                else:
                    kept = candidate
            if kept:
                chunks.append(repr(kept))
        if len(chunks) == 1:
            out.append(text)
            return
        if level == 1:
            out.append("(")
        for at, chunk in enumerate(chunks):
            if at > 0:
                out.append("\n" + " " * indent)
            out.append(chunk)
        if level == 1:
            out.append(")")

    def _repr(self, object, context, depth, level):
        """The text of an object on one line, and whether it holds itself."""
        kind = type(object)
        if kind is int and self._underscores:
            return f"{object:_d}", False
        kind = next((known for known in (dict, list, tuple) if _writes_as(kind, known)), None)
        if kind is None:
            return repr(object), False
        if not object:
            return repr(object), False
        mark = id(object)
        if depth and level >= depth:
            return ("{...}" if kind is dict else "[...]" if kind is list else "(...)"), False
        if mark in context:
            return f"<Recursion on {type(object).__name__} with id={mark}>", True
        context[mark] = 1
        recursive, parts = False, []
        if kind is dict:
            for key, value in _sorted_pairs(object.items()) if self._sort else object.items():
                key_text, _, key_itself = self.format(key, context, depth, level + 1)
                text, _, itself = self.format(value, context, depth, level + 1)
                parts.append(f"{key_text}: {text}")
                recursive = recursive or key_itself or itself
            text = "{" + ", ".join(parts) + "}"
        else:
            for item in object:
                text, _, itself = self.format(item, context, depth, level + 1)
                parts.append(text)
                recursive = recursive or itself
            inner = ", ".join(parts)
            text = f"[{inner}]" if kind is list else f"({inner},)" if len(object) == 1 else f"({inner})"
        del context[mark]
        return text, recursive


def pprint(object, stream=None, indent=1, width=80, depth=None, *, compact=False, sort_dicts=True,
           underscore_numbers=False):
    PrettyPrinter(indent, width, depth, stream, compact=compact, sort_dicts=sort_dicts,
                  underscore_numbers=underscore_numbers).pprint(object)


def pp(object, *args, sort_dicts=False, **kwargs):
    pprint(object, *args, sort_dicts=sort_dicts, **kwargs)


def pformat(object, indent=1, width=80, depth=None, *, compact=False, sort_dicts=True, underscore_numbers=False):
    return PrettyPrinter(indent, width, depth, compact=compact, sort_dicts=sort_dicts,
                         underscore_numbers=underscore_numbers).pformat(object)


def saferepr(object):
    return PrettyPrinter()._repr(object, {}, None, 0)[0]


def isreadable(object):
    return PrettyPrinter().isreadable(object)


def isrecursive(object):
    return PrettyPrinter().isrecursive(object)
