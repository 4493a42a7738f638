__all__ = (
    "AbstractContextManager", "ContextDecorator", "ExitStack", "closing", "contextmanager", "nullcontext", "redirect_stdout", "suppress",
)


class AbstractContextManager:
    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        return None


class ContextDecorator:
    def _recreate_cm(self):
        return self

    def __call__(self, func):
        from functools import wraps

        @wraps(func)
        def inner(*args, **kwds):
            with self._recreate_cm():
                return func(*args, **kwds)

        return inner


class _GeneratorContextManager(ContextDecorator, AbstractContextManager):
    def __init__(self, func, args, kwds):
        self.gen = func(*args, **kwds)
        self.func, self.args, self.kwds = func, args, kwds

    def _recreate_cm(self):
        return self.__class__(self.func, self.args, self.kwds)

    def __enter__(self):
        # What makes it again is needed no more: it is entered once.
        del self.args, self.kwds, self.func
        try:
            return next(self.gen)
        except StopIteration:
            raise RuntimeError("generator didn't yield") from None

    def __exit__(self, exc_type, exc_value, traceback):
        if exc_value is None:
            try:
                next(self.gen)
            except StopIteration:
                return False
            raise RuntimeError("generator didn't stop")
        passed = _passed(exc_value)
        try:
            self.gen.throw(exc_value)
        except BaseException as raised:
            if raised is exc_value:
                # It came back unhandled: the `with` statement goes on raising it, from where it was.
                _passed(exc_value, passed)
                return False
            if isinstance(raised, StopIteration):
                return True
            if isinstance(raised, RuntimeError) and isinstance(exc_value, StopIteration):
                # What a generator makes of a StopIteration that it lets through.
                if raised.__cause__ is exc_value:
                    _passed(exc_value, passed)
                    return False
            raise
        raise RuntimeError("generator didn't stop after throw()")


def contextmanager(func):
    # What is imported for its other managers, as nullcontext is, need not have this.
    from functools import wraps

    @wraps(func)
    def helper(*args, **kwds):
        return _GeneratorContextManager(func, args, kwds)

    return helper


class closing(AbstractContextManager):
    def __init__(self, thing):
        self.thing = thing

    def __enter__(self):
        return self.thing

    def __exit__(self, exc_type, exc_value, traceback):
        self.thing.close()


class suppress(AbstractContextManager):
    def __init__(self, *exceptions):
        self._exceptions = exceptions

    def __enter__(self):
        pass

    def __exit__(self, exc_type, exc_value, traceback):
        return exc_type is not None and issubclass(exc_type, self._exceptions)


class nullcontext(AbstractContextManager):
    def __init__(self, enter_result=None):
        self.enter_result = enter_result

    def __enter__(self):
        return self.enter_result


def _held(cm, name):
    try:
        with cm as entered:
            yield entered
    except TypeError as error:
        if "context manager protocol" not in str(error):
            raise
        raise TypeError(f"'{name}' object does not support the context manager protocol") from None


def _exit_of(held):
    def exit(*raised):
        pending = raised[1]
        if pending is None:
            next(held, None)
            return False
        try:
            held.throw(pending)
        except StopIteration:
            return True
        except BaseException as same:
            if same is pending:
                return False
            raise
        return False

    return exit


class ExitStack(AbstractContextManager):
    def __init__(self):
        self._exits = []

    def pop_all(self):
        other = type(self)()
        other._exits, self._exits = self._exits, []
        return other

    def push(self, exit):
        self._exits.append(exit.__exit__ if hasattr(type(exit), "__exit__") else exit)
        return exit

    def enter_context(self, cm):
        kind = type(cm)
        if hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
            exit = cm.__exit__
            entered = cm.__enter__()
        else:
            # What a library of the host's has for this, as `torch.no_grad()`, a `with` statement enters.
            held = _held(cm, f"{kind.__module__}.{kind.__qualname__}")
            entered = next(held)
            exit = _exit_of(held)
        self._exits.append(exit)
        return entered

    def callback(self, callback, /, *args, **kwds):
        # What it returns is not for the `with` statement.
        self._exits.append(lambda *raised: callback(*args, **kwds) and None)
        return callback

    def close(self):
        self.__exit__(None, None, None)

    def __exit__(self, exc_type, exc_value, traceback):
        pending, raised = exc_value, False
        while self._exits:
            exit = self._exits.pop()
            try:
                if exit(None if pending is None else type(pending), pending, None):
                    pending, raised = None, False
            except BaseException as new:
                pending, raised = new, True
        if raised:
            raise pending
        return exc_value is not None and pending is None


class redirect_stdout(AbstractContextManager):
    def __init__(self, new_target):
        self._new_target = new_target

    def __enter__(self):
        _redirect(self._new_target)
        return self._new_target

    def __exit__(self, exctype, excinst, exctb):
        _redirect(None)
