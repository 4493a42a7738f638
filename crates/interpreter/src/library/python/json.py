__all__ = ("JSONDecodeError", "JSONDecoder", "JSONEncoder", "dump", "dumps", "load", "loads")


class JSONEncoder:
    item_separator, key_separator = ", ", ": "

    def __init__(self, *, skipkeys=False, ensure_ascii=True, check_circular=True, allow_nan=True, sort_keys=False,
                 indent=None, separators=None, default=None):
        self.skipkeys, self.ensure_ascii, self.check_circular = skipkeys, ensure_ascii, check_circular
        self.allow_nan, self.sort_keys, self.indent = allow_nan, sort_keys, indent
        if separators is not None:
            self.item_separator, self.key_separator = separators
        elif indent is not None:
            self.item_separator = ","
        if default is not None:
            self.default = default

    def default(self, o):
        raise TypeError(f"Object of type {o.__class__.__name__} is not JSON serializable")

    def encode(self, o):
        return _dumps(o, skipkeys=self.skipkeys, ensure_ascii=self.ensure_ascii, allow_nan=self.allow_nan, indent=self.indent,
                      separators=(self.item_separator, self.key_separator), default=self.default, sort_keys=self.sort_keys)

    def iterencode(self, o, _one_shot=False):
        yield self.encode(o)


class JSONDecoder:
    def __init__(self, *, object_hook=None, parse_float=None, parse_int=None, parse_constant=None, strict=True,
                 object_pairs_hook=None):
        if not strict:
            raise TypeError("json.JSONDecoder(): 'strict' is not supported by this server")
        self.object_hook, self.parse_float, self.parse_int = object_hook, parse_float, parse_int
        self.parse_constant, self.object_pairs_hook = parse_constant, object_pairs_hook

    def decode(self, s):
        return _loads(s, self.object_hook, self.object_pairs_hook, self.parse_float, self.parse_int, self.parse_constant)


def dumps(obj, *, skipkeys=False, ensure_ascii=True, check_circular=True, allow_nan=True, cls=None, indent=None,
          separators=None, default=None, sort_keys=False, **kw):
    if cls is not None or kw:
        encoder = JSONEncoder if cls is None else cls
        return encoder(skipkeys=skipkeys, ensure_ascii=ensure_ascii, check_circular=check_circular, allow_nan=allow_nan,
                       indent=indent, separators=separators, default=default, sort_keys=sort_keys, **kw).encode(obj)
    return _dumps(obj, skipkeys=skipkeys, ensure_ascii=ensure_ascii, allow_nan=allow_nan, indent=indent,
                  separators=separators, default=default, sort_keys=sort_keys)


def dump(obj, fp, **kw):
    fp.write(dumps(obj, **kw))


def loads(s, *, cls=None, object_hook=None, parse_float=None, parse_int=None, parse_constant=None,
          object_pairs_hook=None, **kw):
    if cls is None and not kw:
        return _loads(s, object_hook, object_pairs_hook, parse_float, parse_int, parse_constant)
    hooks = {"object_hook": object_hook, "object_pairs_hook": object_pairs_hook, "parse_float": parse_float,
             "parse_int": parse_int, "parse_constant": parse_constant}
    kw.update({name: hook for name, hook in hooks.items() if hook is not None})
    return (JSONDecoder if cls is None else cls)(**kw).decode(s)


def load(fp, **kw):
    return loads(fp.read(), **kw)
