__all__ = ("SEEK_CUR", "SEEK_END", "SEEK_SET", "StringIO")

SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2


class StringIO:
    """A text that is written and read as a file is. Pieces at its end are joined when somebody looks at it."""

    def __init__(self, initial_value="", newline="\n"):
        if newline != "\n":
            raise ValueError("io.StringIO(): argument 'newline' is not supported by this server")
        if initial_value is not None and not isinstance(initial_value, str):
            raise TypeError(f"initial_value must be str or None, not {type(initial_value).__name__}")
        self._pieces, self._length, self._place, self.closed = [initial_value or ""], len(initial_value or ""), 0, False

    def _open(self):
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _text(self):
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def _set(self, text):
        self._pieces, self._length = [text], len(text)

    def getvalue(self):
        self._open()
        return self._text()

    def write(self, s, /):
        self._open()
        if not isinstance(s, str):
            raise TypeError(f"string argument expected, got '{type(s).__name__}'")
        if self._place == self._length:
            self._pieces.append(s)
            self._length += len(s)
        else:
            text = self._text().ljust(self._place, "\0")
            self._set(text[: self._place] + s + text[self._place + len(s) :])
        self._place += len(s)
        return len(s)

    def writelines(self, lines, /):
        for line in lines:
            self.write(line)

    def read(self, size=-1, /):
        self._open()
        end = self._length if size is None or size < 0 else self._place + size
        part = self._text()[self._place : end]
        self._place += len(part)
        return part

    def readline(self, size=-1, /):
        self._open()
        text = self._text()
        end = text.find("\n", self._place) + 1 or self._length
        if size is not None and size >= 0:
            end = min(end, self._place + size)
        return self.read(max(end - self._place, 0))

    def readlines(self, hint=-1, /):
        lines, taken = [], 0
        for line in self:
            lines.append(line)
            taken += len(line)
            if hint is not None and 0 < hint <= taken:
                break
        return lines

    def __iter__(self):
        self._open()
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def seek(self, offset, whence=0, /):
        self._open()
        if whence not in (0, 1, 2):
            raise ValueError(f"Invalid whence ({whence}, should be 0, 1 or 2)")
        if whence and offset:
            raise OSError("Can't do nonzero cur-relative seeks")
        if offset < 0:
            raise ValueError(f"Negative seek position {offset}")
        self._place = (offset, self._place, self._length)[whence]
        return self._place

    def tell(self):
        self._open()
        return self._place

    def truncate(self, size=None, /):
        self._open()
        size = self._place if size is None else size
        if size < 0:
            raise ValueError(f"Negative size value {size}")
        self._set(self._text()[:size])
        return size

    def close(self):
        self.closed = True

    def flush(self):
        self._open()

    def readable(self):
        self._open()
        return True

    writable = seekable = readable

    def isatty(self):
        self._open()
        return False

    def __enter__(self):
        self._open()
        return self

    def __exit__(self, kind, value, trace):
        self.close()
