from collections import namedtuple

__all__ = (
    "byteorder", "float_info", "getrecursionlimit", "int_info", "intern", "maxsize", "maxunicode", "stderr", "stdout",
    "version_info",
)

byteorder = "little"
maxsize = 2**63 - 1
maxunicode = 0x10FFFF

# Python's own names of these classes, which their texts show.
_floats = namedtuple(
    "float_info", "max max_exp max_10_exp min min_exp min_10_exp dig mant_dig epsilon radix rounds", module="sys"
)
_ints = namedtuple("int_info", "bits_per_digit sizeof_digit default_max_str_digits str_digits_check_threshold", module="sys")
_version = namedtuple("version_info", "major minor micro releaselevel serial", module="sys")


class _Shown:
    def __repr__(self):
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"sys.{type(self).__name__.lstrip('_')}({fields})"


class float_info(_Shown, _floats):
    pass


class int_info(_Shown, _ints):
    pass


class version_info(_Shown, _version):
    pass


float_info = float_info(
    1.7976931348623157e308, 1024, 308, 2.2250738585072014e-308, -1021, -307, 15, 53, 2.220446049250313e-16, 2, 1
)
int_info = int_info(30, 4, 4300, 640)
# The language that blocks are written in.
version_info = version_info(3, 11, 0, "final", 0)


def getrecursionlimit():
    return 1000


def intern(string, /):
    if not isinstance(string, str):
        raise TypeError(f"intern() argument must be str, not {type(string).__name__}")
    return string


class _Output:
    """Where lines go that are printed: to whoever sent the program."""

    def __init__(self, name, write):
        self.name, self._write, self.encoding, self.closed = name, write, "utf-8", False

    def write(self, text, /):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._write(text)
        return len(text)

    def writelines(self, lines, /):
        for line in lines:
            self.write(line)

    def flush(self):
        pass

    def isatty(self):
        return False

    def writable(self):
        return True


stdout, stderr = _Output("<stdout>", lambda text: print(text, end="")), _Output("<stderr>", _tell)
