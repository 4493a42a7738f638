from sys import stderr

__all__ = (
    "FrameSummary", "extract_tb", "format_exc", "format_exception", "format_exception_only", "format_list", "format_tb",
    "print_exc", "print_exception", "print_list", "print_tb",
)

_MISSING = object()
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


class FrameSummary:
    def __init__(self, filename, lineno, name, *, lookup_line=True, locals=None, line=None):
        self.filename, self.lineno, self.name, self.line, self.locals = filename, lineno, name, line, locals
        shown = f'  File "{filename}", line {lineno}, in {name}\n'
        self._shown = shown + f"    {line.strip()}\n" if line else shown

    def __eq__(self, other):
        return tuple(self) == tuple(other)

    def __getitem__(self, place):
        return (self.filename, self.lineno, self.name, self.line)[place]

    def __iter__(self):
        return iter([self.filename, self.lineno, self.name, self.line])

    def __len__(self):
        return 4

    def __repr__(self):
        return f"<FrameSummary file {self.filename}, line {self.lineno} in {self.name}>"


def _limited(frames, limit):
    if limit is None:
        return frames
    return frames[:limit] if limit >= 0 else frames[limit:]


def extract_tb(tb, limit=None):
    frames = []
    while tb is not None:
        code = tb.tb_frame.f_code
        frame = FrameSummary(code.co_filename, tb.tb_lineno, code.co_name, line=_line(tb))
        # With what points at the part of the line.
        frame._shown = format_tb(tb)[0]
        frames.append(frame)
        tb = tb.tb_next
    return _limited(frames, limit)


def format_list(extracted_list):
    lines, last, count = [], None, 0
    for frame in extracted_list:
        frame = frame if isinstance(frame, FrameSummary) else FrameSummary(*frame[:3], line=frame[3])
        place = frame.filename, frame.lineno, frame.name
        if place != last:
            lines += _repeated(count)
            last, count = place, 0
        count += 1
        if count <= 3:
            lines.append(frame._shown)
    return lines + _repeated(count)


def _repeated(count):
    more = count - 3
    return [f"  [Previous line repeated {more} more time{'' if more == 1 else 's'}]\n"] if more > 0 else []


def format_tb(tb, limit=None):
    frames = []
    for line in _frames(tb).splitlines(True) if tb is not None else []:
        if line.startswith("    "):
            frames[-1] += line
        else:
            frames.append(line)
    return _limited(frames, limit)


def _both(exc, value, tb):
    if (value is _MISSING) != (tb is _MISSING):
        raise ValueError("Both or neither of value and tb must be given")
    if value is not _MISSING:
        return value, tb
    if not (exc is None or isinstance(exc, BaseException)):
        raise TypeError(f"Exception expected for value, {type(exc).__name__} found")
    return exc, getattr(exc, "__traceback__", None)


def format_exception_only(exc, /, value=_MISSING):
    value = exc if value is _MISSING else value
    text = "NoneType: None\n" if value is None else _only(value)
    return text.splitlines(True) if isinstance(value, SyntaxError) or getattr(value, "__notes__", None) else [text]


def _one(value, tb, limit):
    head = [] if tb is None else ["Traceback (most recent call last):\n", *format_tb(tb, limit)]
    return head + format_exception_only(value)


def format_exception(exc, /, value=_MISSING, tb=_MISSING, limit=None, chain=True):
    value, tb = _both(exc, value, tb)
    lines, seen = _one(value, tb, limit), {id(value)}
    while chain and value is not None:
        said, before = _CAUSE, value.__cause__
        if before is None and not value.__suppress_context__:
            said, before = _CONTEXT, value.__context__
        if before is None or id(before) in seen:
            break
        lines = [*_one(before, before.__traceback__, limit), said, *lines]
        seen.add(id(before))
        value = before
    return lines


def format_exc(limit=None, chain=True):
    return "".join(format_exception(_handled(), limit=limit, chain=chain))


def _write(lines, file):
    print("".join(lines), end="", file=stderr if file is None else file)


def print_list(extracted_list, file=None):
    _write(format_list(extracted_list), file)


def print_tb(tb, limit=None, file=None):
    _write(format_tb(tb, limit), file)


def print_exception(exc, /, value=_MISSING, tb=_MISSING, limit=None, file=None, chain=True):
    _write(format_exception(exc, value, tb, limit, chain), file)


def print_exc(limit=None, file=None, chain=True):
    print_exception(_handled(), limit=limit, file=file, chain=chain)
