__all__ = (
    "Parameter", "Signature", "cleandoc", "getdoc", "getmembers", "isabstract", "isbuiltin", "isclass", "isfunction",
    "isgenerator", "isgeneratorfunction", "ismethod", "ismodule", "isroutine", "signature", "unwrap",
)

# How a function is called; frames, sources and files are not here to look at.


class _empty:
    pass


class _Kind(int):
    def __new__(cls, number, name, description):
        self = int.__new__(cls, number)
        self.name, self.description = name, description
        return self

    def __str__(self):
        return self.name

    def __repr__(self):
        return f"<_ParameterKind.{self.name}: {int(self)}>"


_POSITIONAL_ONLY = _Kind(0, "POSITIONAL_ONLY", "positional-only")
_POSITIONAL_OR_KEYWORD = _Kind(1, "POSITIONAL_OR_KEYWORD", "positional or keyword")
_VAR_POSITIONAL = _Kind(2, "VAR_POSITIONAL", "variadic positional")
_KEYWORD_ONLY = _Kind(3, "KEYWORD_ONLY", "keyword-only")
_VAR_KEYWORD = _Kind(4, "VAR_KEYWORD", "variadic keyword")


class Parameter:
    POSITIONAL_ONLY = _POSITIONAL_ONLY
    POSITIONAL_OR_KEYWORD = _POSITIONAL_OR_KEYWORD
    VAR_POSITIONAL = _VAR_POSITIONAL
    KEYWORD_ONLY = _KEYWORD_ONLY
    VAR_KEYWORD = _VAR_KEYWORD
    empty = _empty

    def __init__(self, name, kind, *, default=_empty, annotation=_empty):
        self.name, self.kind, self.default, self.annotation = name, kind, default, annotation

    def replace(self, *, name=None, kind=None, default=None, annotation=None):
        return Parameter(self.name if name is None else name, self.kind if kind is None else kind,
                         default=self.default if default is None else default,
                         annotation=self.annotation if annotation is None else annotation)

    def __str__(self):
        text = self.name
        if self.annotation is not _empty:
            text += ": " + _annotation(self.annotation)
        if self.default is not _empty:
            text += (" = " if self.annotation is not _empty else "=") + repr(self.default)
        if self.kind is _VAR_POSITIONAL:
            return "*" + text
        return "**" + text if self.kind is _VAR_KEYWORD else text

    def __repr__(self):
        return f'<Parameter "{self}">'

    def __eq__(self, other):
        if not isinstance(other, Parameter):
            return NotImplemented
        return (self.name, self.kind, self.default, self.annotation) == (
            other.name, other.kind, other.default, other.annotation)

    def __hash__(self):
        return hash((self.name, int(self.kind)))


def _type_hints(obj, globalns=None, localns=None, include_extras=False):
    """`typing.get_type_hints`: what annotations mean, texts among them evaluated."""
    if isinstance(obj, type):
        found = [(base, base.__dict__.get("__annotations__", {})) for base in reversed(obj.__mro__[:-1])]
    else:
        while hasattr(obj, "__wrapped__"):
            obj = obj.__wrapped__
        annotations = getattr(obj, "__annotations__", None)
        if annotations is None:
            raise TypeError(f"{obj!r} is not a module, class, method, or function.")
        found = [(getattr(obj, "__func__", obj), annotations)]
    known = {**(globalns or {}), **(localns or {})}
    hints = {}
    for owner, annotations in found:
        for name, value in annotations.items():
            if value is None:
                value = type(None)
            if isinstance(value, str):
                value = known[value] if value in known else _evaluated(owner, value)
            if isinstance(value, str):
                # It was quoted in a block, where annotations are texts anyway.
                value = _evaluated(owner, value)
            hints[name] = value if include_extras else _bare(value)
    return hints


def _bare(value):
    """An annotation without what `Annotated` adds."""
    if getattr(getattr(value, "__origin__", None), "__name__", "") == "Annotated":
        return value.__args__[0]
    return value


def _annotation(annotation):
    if isinstance(annotation, type):
        if annotation.__module__ in ("builtins", "__main__"):
            return annotation.__qualname__
        return f"{annotation.__module__}.{annotation.__qualname__}"
    return repr(annotation)


class BoundArguments:
    def __init__(self, signature, arguments):
        self.signature, self.arguments = signature, arguments

    @property
    def args(self):
        found = []
        for name, parameter in self.signature.parameters.items():
            if parameter.kind in (_VAR_KEYWORD, _KEYWORD_ONLY) or name not in self.arguments:
                break
            if parameter.kind is _VAR_POSITIONAL:
                found.extend(self.arguments[name])
            else:
                found.append(self.arguments[name])
        return tuple(found)

    @property
    def kwargs(self):
        found, started = {}, False
        for name, parameter in self.signature.parameters.items():
            if not started:
                if parameter.kind in (_VAR_KEYWORD, _KEYWORD_ONLY):
                    started = True
                elif name not in self.arguments:
                    started = True
                    continue
            if not started or name not in self.arguments:
                continue
            if parameter.kind is _VAR_KEYWORD:
                found.update(self.arguments[name])
            else:
                found[name] = self.arguments[name]
        return found

    def apply_defaults(self):
        found = {}
        for name, parameter in self.signature.parameters.items():
            if name in self.arguments:
                found[name] = self.arguments[name]
            elif parameter.default is not _empty:
                found[name] = parameter.default
            elif parameter.kind is _VAR_POSITIONAL:
                found[name] = ()
            elif parameter.kind is _VAR_KEYWORD:
                found[name] = {}
        self.arguments = found

    def __repr__(self):
        inner = ", ".join([f"{name}={value!r}" for name, value in self.arguments.items()])
        return f"<BoundArguments ({inner})>"


class Signature:
    empty = _empty

    def __init__(self, parameters=None, *, return_annotation=_empty):
        self.parameters = {parameter.name: parameter for parameter in parameters or ()}
        self.return_annotation = return_annotation

    @classmethod
    def from_callable(cls, obj, **options):
        return signature(obj, **options)

    def replace(self, *, parameters=None, return_annotation=None):
        return Signature(list(self.parameters.values()) if parameters is None else parameters,
                         return_annotation=self.return_annotation if return_annotation is None else return_annotation)

    def _bind(self, args, kwargs, partial):
        arguments, given, named = {}, list(args), dict(kwargs)
        for name, parameter in self.parameters.items():
            kind = parameter.kind
            if kind is _VAR_POSITIONAL:
                if given:
                    arguments[name] = tuple(given)
                    given = []
            elif kind is _VAR_KEYWORD:
                continue
            elif given and kind is not _KEYWORD_ONLY:
                if name in named and kind is not _POSITIONAL_ONLY:
                    raise TypeError(f"multiple values for argument {name!r}")
                arguments[name] = given.pop(0)
            elif name in named and kind is not _POSITIONAL_ONLY:
                arguments[name] = named.pop(name)
            elif parameter.default is _empty and not partial:
                raise TypeError(f"missing a required argument: {name!r}")
        if given:
            raise TypeError("too many positional arguments")
        rest = [name for name, parameter in self.parameters.items() if parameter.kind is _VAR_KEYWORD]
        if named:
            if not rest:
                raise TypeError(f"got an unexpected keyword argument {next(iter(named))!r}")
            arguments[rest[0]] = named
        return BoundArguments(self, arguments)

    def bind(self, *args, **kwargs):
        return self._bind(args, kwargs, False)

    def bind_partial(self, *args, **kwargs):
        return self._bind(args, kwargs, True)

    def __str__(self):
        shown, only, star = [], False, True
        for parameter in self.parameters.values():
            kind = parameter.kind
            if kind is _POSITIONAL_ONLY:
                only = True
            elif only:
                shown.append("/")
                only = False
            if kind is _VAR_POSITIONAL:
                star = False
            elif kind is _KEYWORD_ONLY and star:
                shown.append("*")
                star = False
            shown.append(str(parameter))
        if only:
            shown.append("/")
        text = f"({', '.join(shown)})"
        if self.return_annotation is not _empty:
            text += " -> " + _annotation(self.return_annotation)
        return text

    def __repr__(self):
        return f"<Signature {self}>"

    def __eq__(self, other):
        if not isinstance(other, Signature):
            return NotImplemented
        return list(self.parameters.values()) == list(other.parameters.values())


def unwrap(func, *, stop=None):
    while hasattr(func, "__wrapped__") and not (stop is not None and stop(func)):
        func = func.__wrapped__
    return func


def signature(obj, *, follow_wrapped=True, globals=None, locals=None, eval_str=False):
    if eval_str or globals is not None or locals is not None:
        raise NotImplementedError("inspect.signature(eval_str=True) is not supported by this server: annotations stay texts")
    if follow_wrapped:
        obj = unwrap(obj)
    if isinstance(obj, type):
        for cls in obj.__mro__[:-1]:
            for name in ("__new__", "__init__"):
                if name in cls.__dict__:
                    return _without_first(signature(getattr(cls, name)))
        return Signature()
    if hasattr(obj, "__self__") and hasattr(obj, "__func__"):
        return _without_first(signature(obj.__func__))
    described = _described(obj)
    if described is None:
        call = getattr(type(obj), "__call__", None)
        if call is not None and _described(call) is not None:
            return _without_first(signature(call))
        if not callable(obj):
            raise TypeError(f"{obj!r} is not a callable object")
        raise ValueError(f"no signature found for builtin {obj!r}")
    parameters, returns = described
    kinds = (_POSITIONAL_ONLY, _POSITIONAL_OR_KEYWORD, _VAR_POSITIONAL, _KEYWORD_ONLY, _VAR_KEYWORD)
    made = []
    for name, kind, default, annotation in parameters:
        made.append(Parameter(name, kinds[kind], default=default[0] if default else _empty,
                              annotation=annotation[0] if annotation else _empty))
    return Signature(made, return_annotation=returns[0] if returns else _empty)


def _without_first(found):
    return Signature(list(found.parameters.values())[1:], return_annotation=found.return_annotation)


def isclass(object):
    return isinstance(object, type)


def isfunction(object):
    return type(object).__name__ == "function"


def ismethod(object):
    return type(object).__name__ == "method"


def isbuiltin(object):
    return type(object).__name__ == "builtin_function_or_method"


def isroutine(object):
    return type(object).__name__ in ("function", "method", "builtin_function_or_method", "method_descriptor")


def ismodule(object):
    return type(object).__name__ == "module"


def isgenerator(object):
    return type(object).__name__ == "generator"


def isgeneratorfunction(object):
    return isfunction(object) and _generates(object)


def isabstract(object):
    return isinstance(object, type) and bool(getattr(object, "__abstractmethods__", None))


def getmembers(object, predicate=None):
    found = [(name, getattr(object, name)) for name in dir(object) if hasattr(object, name)]
    return sorted([pair for pair in found if predicate is None or predicate(pair[1])], key=lambda pair: pair[0])


def getdoc(object):
    text = getattr(object, "__doc__", None)
    return cleandoc(text) if isinstance(text, str) else None


def cleandoc(doc):
    lines = doc.expandtabs().split("\n")
    margin = None
    for line in lines[1:]:
        content = len(line.lstrip())
        if content:
            indent = len(line) - content
            margin = indent if margin is None else min(margin, indent)
    if lines:
        lines[0] = lines[0].lstrip()
    if margin is not None:
        lines[1:] = [line[margin:] for line in lines[1:]]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return "\n".join(lines)
