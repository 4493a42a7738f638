__all__ = ("BaseExceptionGroup", "ExceptionGroup")


class BaseExceptionGroup(BaseException):
    __module__ = "builtins"

    def __new__(cls, message, exceptions):
        if not isinstance(message, str):
            raise TypeError(f"BaseExceptionGroup.__new__() argument 1 must be str, not {type(message).__name__}")
        if not isinstance(exceptions, (list, tuple)):
            raise TypeError("second argument (exceptions) must be a sequence")
        if not exceptions:
            raise ValueError("second argument (exceptions) must be a non-empty sequence")
        for at, one in enumerate(exceptions):
            if not isinstance(one, BaseException):
                raise ValueError(f"Item {at} of second argument (exceptions) is not an exception")
        plain = all(isinstance(one, Exception) for one in exceptions)
        if cls is BaseExceptionGroup:
            cls = ExceptionGroup if plain else cls
        elif issubclass(cls, Exception) and not plain:
            name = "an ExceptionGroup" if cls is ExceptionGroup else repr(cls.__name__)
            raise TypeError(f"Cannot nest BaseExceptions in {name}")
        self = BaseException.__new__(cls, message, exceptions)
        self.args = (message, exceptions)
        object.__setattr__(self, "message", message)
        object.__setattr__(self, "exceptions", tuple(exceptions))
        return self

    def __init__(self, *args):
        pass

    def __class_getitem__(cls, key):
        return cls

    def __str__(self):
        count = len(self.exceptions)
        return f"{self.message} ({count} sub-exception{'' if count == 1 else 's'})"

    def derive(self, excs, /):
        return BaseExceptionGroup(self.message, excs)

    def subgroup(self, condition, /):
        return _parts(self, _predicate(condition))[0]

    def split(self, condition, /):
        return _parts(self, _predicate(condition))


class ExceptionGroup(BaseExceptionGroup, Exception):
    __module__ = "builtins"


def _predicate(condition):
    classes = condition if isinstance(condition, tuple) else (condition,)
    if classes and all(isinstance(one, type) and issubclass(one, BaseException) for one in classes):
        return lambda one: isinstance(one, condition)
    if isinstance(condition, type) or not callable(condition):
        raise TypeError("expected a function, exception type or tuple of exception types")
    return condition


def _parts(group, predicate):
    """What of a group fits, and what does not, each as a group of the same form."""
    if predicate(group):
        return group, None
    fits, others = [], []
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            fit, other = _parts(one, predicate)
            fits += [fit] if fit is not None else []
            others += [other] if other is not None else []
        else:
            (fits if predicate(one) else others).append(one)
    return _derived(group, fits), _derived(group, others)


def _derived(group, exceptions):
    if not exceptions:
        return None
    made = group.derive(exceptions)
    if not isinstance(made, BaseExceptionGroup):
        raise TypeError("derive must return an instance of BaseExceptionGroup")
    if group.__context__ is not None:
        made.__context__ = group.__context__
    if group.__cause__ is not None:
        made.__cause__ = group.__cause__
    if hasattr(group, "__notes__"):
        made.__notes__ = list(group.__notes__)
    return made


def _caught(raised, condition):
    """What `except* condition` is about of what was raised, and what it leaves."""
    for one in condition if isinstance(condition, tuple) else (condition,):
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError("catching classes that do not inherit from BaseException is not allowed")
        if issubclass(one, BaseExceptionGroup):
            raise TypeError("catching ExceptionGroup with except* is not allowed. Use except instead.")
    if isinstance(raised, BaseExceptionGroup):
        return _parts(raised, lambda one: isinstance(one, condition))
    if isinstance(raised, condition):
        return BaseExceptionGroup("", (raised,)), None
    return None, raised


def _leaves(raised):
    if not isinstance(raised, BaseExceptionGroup):
        return [raised]
    return [leaf for one in raised.exceptions for leaf in _leaves(one)]


def _left(original, raised, again, rest):
    """What goes on after all handlers: what they raised, and what they raised again or did not catch."""
    kept = [*again, *([] if rest is None else [rest])]
    if isinstance(original, BaseExceptionGroup) and kept:
        leaves = [leaf for one in kept for leaf in _leaves(one)]
        kept = [_parts(original, lambda one: any(one is leaf for leaf in leaves))[0]]
    if not raised:
        return kept[0] if kept else None
    if not kept and len(raised) == 1:
        return raised[0]
    return BaseExceptionGroup("", [*raised, *kept])
