__all__ = (
    "BuiltinFunctionType", "EllipsisType", "FunctionType", "GeneratorType", "LambdaType", "MappingProxyType",
    "MethodType", "ModuleType", "NoneType", "NotImplementedType", "SimpleNamespace",
)

BuiltinFunctionType = type(len)
EllipsisType = type(...)
FunctionType = LambdaType = type(lambda: None)
GeneratorType = type(x for x in ())
MappingProxyType = dict
NoneType = type(None)
NotImplementedType = type(NotImplemented)

# Namespaces whose repr is being written.
_open = set()


class SimpleNamespace:
    def __init__(self, /, **kwargs):
        self.__dict__.update(kwargs)

    def __repr__(self):
        name = "namespace" if type(self) is SimpleNamespace else type(self).__name__
        if id(self) in _open:
            return f"{name}(...)"
        _open.add(id(self))
        try:
            return f"{name}({', '.join([f'{key}={value!r}' for key, value in self.__dict__.items()])})"
        finally:
            _open.discard(id(self))

    def __reduce__(self):
        return self.__class__, (), self.__dict__

    def __eq__(self, other):
        if not isinstance(other, SimpleNamespace):
            return NotImplemented
        return self.__dict__ == other.__dict__


class module:
    def __init__(self, name, doc=None):
        self.__name__ = name
        self.__doc__ = doc

    def __getattr__(self, name):
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __repr__(self):
        file = self.__dict__.get("__file__")
        return f"<module {self.__name__!r} from {file!r}>" if file else f"<module {self.__name__!r}>"


ModuleType = module
MethodType = type(SimpleNamespace().__repr__)
