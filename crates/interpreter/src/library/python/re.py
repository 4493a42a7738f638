from enum import IntFlag

__all__ = (
    "A", "ASCII", "DOTALL", "I", "IGNORECASE", "M", "MULTILINE", "Match", "NOFLAG", "Pattern", "RegexFlag", "S", "U",
    "UNICODE", "VERBOSE", "X", "compile", "error", "escape", "findall", "finditer", "fullmatch", "match", "purge",
    "search", "split", "sub", "subn",
)


class RegexFlag(IntFlag):
    NOFLAG = 0
    ASCII = A = 256
    IGNORECASE = I = 2
    UNICODE = U = 32
    MULTILINE = M = 8
    DOTALL = S = 16
    VERBOSE = X = 64

    def __repr__(self):
        if not self:
            return "re.NOFLAG"
        names, rest = [], self._value_
        for name, flag in self.__class__._member_map_.items():
            if len(name) > 1 and flag._value_ & rest:
                names.append("re." + name)
                rest &= ~flag._value_
        return "|".join(names + [hex(rest)] if rest else names)

    __str__ = __repr__

    def __reduce__(self):
        return self.__class__, (self._value_,)


NOFLAG = RegexFlag.NOFLAG
A = ASCII = RegexFlag.ASCII
I = IGNORECASE = RegexFlag.IGNORECASE
U = UNICODE = RegexFlag.UNICODE
M = MULTILINE = RegexFlag.MULTILINE
S = DOTALL = RegexFlag.DOTALL
X = VERBOSE = RegexFlag.VERBOSE
