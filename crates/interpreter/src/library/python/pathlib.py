import re

__all__ = ("Path", "PosixPath", "PurePath", "PurePosixPath")

# Paths as texts, by the rules of POSIX. There are no files to reach.


def _parsed(args):
    """The root and the names of paths that follow one another."""
    root, names = "", []
    for arg in args:
        if isinstance(arg, PurePath):
            other, more = arg.root, arg._names
        else:
            text = arg
            if not isinstance(text, str) and hasattr(text, "__fspath__"):
                text = text.__fspath__()
            if not isinstance(text, str):
                raise TypeError(f"expected str, bytes or os.PathLike object, not {type(arg).__name__}")
            # Two slashes, and no more, mean something of their own.
            other = "" if text[:1] != "/" else "//" if text[:2] == "//" and text[2:3] != "/" else "/"
            more = [name for name in text.split("/") if name not in ("", ".")]
        if other:
            root, names = other, []
        names = names + more
    return root, names


def _made(cls, root, names):
    self = object.__new__(cls)
    self.root, self._names = root, names
    return self


def _pattern(text):
    """A regular expression for a pattern as shells have them."""
    out, at = "", 0
    while at < len(text):
        char, at = text[at], at + 1
        if char == "*":
            out += ".*"
        elif char == "?":
            out += "."
        elif char == "[" and "]" in text[at + 1 + (text[at:at + 1] == "!"):]:
            end = text.index("]", at + 1 + (text[at:at + 1] == "!"))
            inside = text[at:end].replace("\\", "\\\\")
            at = end + 1
            out += "[^" + inside[1:] + "]" if inside[0] == "!" else "[\\" + inside + "]" if inside[0] == "^" else "[" + inside + "]"
        else:
            out += re.escape(char)
    return out


class _Parents:
    def __init__(self, path):
        self._path = path

    def __len__(self):
        return len(self._path._names)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return tuple([self[at] for at in range(*index.indices(len(self)))])
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        path = self._path
        return _made(path.__class__, path.root, path._names[:len(self) - 1 - index % len(self)])

    def __repr__(self):
        return f"<{self._path.__class__.__name__}.parents>"


class PurePath:
    drive = ""

    def __new__(cls, *args):
        cls = PurePosixPath if cls is PurePath else PosixPath if cls is Path else cls
        return _made(cls, *_parsed(args))

    @property
    def parts(self):
        return tuple([self.root, *self._names] if self.root else self._names)

    @property
    def anchor(self):
        return self.root

    @property
    def name(self):
        return self._names[-1] if self._names else ""

    @property
    def suffix(self):
        at = self.name.rfind(".")
        return self.name[at:] if 0 < at < len(self.name) - 1 else ""

    @property
    def suffixes(self):
        if self.name.endswith("."):
            return []
        return ["." + part for part in self.name.lstrip(".").split(".")[1:]]

    @property
    def stem(self):
        return self.name[:len(self.name) - len(self.suffix)]

    @property
    def parent(self):
        return _made(self.__class__, self.root, self._names[:-1]) if self._names else self

    @property
    def parents(self):
        return _Parents(self)

    def joinpath(self, *args):
        return _made(self.__class__, *_parsed((self, *args)))

    def with_name(self, name):
        if not self.name:
            raise ValueError(f"{self!r} has an empty name")
        if not name or "/" in name or name == ".":
            raise ValueError(f"Invalid name {name!r}")
        return _made(self.__class__, self.root, self._names[:-1] + [name])

    def with_stem(self, stem):
        return self.with_name(stem + self.suffix)

    def with_suffix(self, suffix):
        if "/" in suffix or suffix and not suffix.startswith(".") or suffix == ".":
            raise ValueError(f"Invalid suffix {suffix!r}")
        if not self.name:
            raise ValueError(f"{self!r} has an empty name")
        return _made(self.__class__, self.root, self._names[:-1] + [self.stem + suffix])

    def relative_to(self, *other):
        if not other:
            raise TypeError("need at least one argument")
        root, names = _parsed(other)
        if self.root != root or self._names[:len(names)] != names:
            raise ValueError(f"{str(self)!r} is not in the subpath of {str(_made(self.__class__, root, names))!r} OR one path "
                             "is relative and the other is absolute.")
        return _made(self.__class__, "", self._names[len(names):])

    def is_relative_to(self, *other):
        try:
            self.relative_to(*other)
        except ValueError:
            return False
        return True

    def is_absolute(self):
        return bool(self.root)

    def is_reserved(self):
        return False

    def match(self, path_pattern):
        root, patterns = _parsed((path_pattern,))
        if not root and not patterns:
            raise ValueError("empty pattern")
        if root and (root != self.root or len(patterns) != len(self._names)) or len(patterns) > len(self.parts):
            return False
        pairs = zip(reversed(self.parts), reversed(patterns))
        return all([re.fullmatch(_pattern(pattern), name, re.S) is not None for name, pattern in pairs])

    def as_posix(self):
        return str(self)

    def as_uri(self):
        if not self.root:
            raise ValueError("relative path can't be expressed as a file URI")
        safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/"
        return "file://" + "".join([chr(byte) if chr(byte) in safe else f"%{byte:02X}" for byte in bytes(self)])

    def __str__(self):
        return self.root + "/".join(self._names) or "."

    def __fspath__(self):
        return str(self)

    def __bytes__(self):
        return str(self).encode()

    def __repr__(self):
        return f"{self.__class__.__name__}({str(self)!r})"

    def __truediv__(self, key):
        try:
            return self.joinpath(key)
        except TypeError:
            return NotImplemented

    def __rtruediv__(self, key):
        try:
            return _made(self.__class__, *_parsed((key, self)))
        except TypeError:
            return NotImplemented

    def __eq__(self, other):
        return self.parts == other.parts if isinstance(other, PurePath) else NotImplemented

    def __hash__(self):
        return hash(self.parts)

    def __lt__(self, other):
        return self.parts < other.parts if isinstance(other, PurePath) else NotImplemented

    def __le__(self, other):
        return self.parts <= other.parts if isinstance(other, PurePath) else NotImplemented

    def __gt__(self, other):
        return self.parts > other.parts if isinstance(other, PurePath) else NotImplemented

    def __ge__(self, other):
        return self.parts >= other.parts if isinstance(other, PurePath) else NotImplemented

    def __reduce__(self):
        return self.__class__, self.parts


class PurePosixPath(PurePath):
    pass


class Path(PurePath):
    pass


class PosixPath(Path, PurePosixPath):
    pass


def _without_files(name):
    def method(self, *args, **kwargs):
        raise NotImplementedError(f"pathlib.Path.{name} is not supported by this server: a block has no files to reach")

    return method


for _name in (
    "absolute", "chmod", "cwd", "exists", "expanduser", "glob", "group", "hardlink_to", "home", "is_block_device",
    "is_char_device", "is_dir", "is_fifo", "is_file", "is_mount", "is_socket", "is_symlink", "iterdir", "lchmod", "lstat",
    "mkdir", "open", "owner", "read_bytes", "read_text", "readlink", "rename", "replace", "resolve", "rglob", "rmdir",
    "samefile", "stat", "symlink_to", "touch", "unlink", "write_bytes", "write_text",
):
    setattr(Path, _name, _without_files(_name))
for _name in ("cwd", "home"):
    setattr(Path, _name, classmethod(_without_files(_name)))
