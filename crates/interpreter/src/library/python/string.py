import re

__all__ = (
    "Template", "ascii_letters", "ascii_lowercase", "ascii_uppercase", "capwords", "digits", "hexdigits", "octdigits",
    "printable", "punctuation", "whitespace",
)

ascii_lowercase = "abcdefghijklmnopqrstuvwxyz"
ascii_uppercase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ascii_letters = ascii_lowercase + ascii_uppercase
digits = "0123456789"
hexdigits = digits + "abcdefABCDEF"
octdigits = "01234567"
punctuation = r"""!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"""
whitespace = " \t\n\r\x0b\x0c"
printable = digits + ascii_letters + punctuation + whitespace


def capwords(s, sep=None):
    return (sep or " ").join([word.capitalize() for word in s.split(sep)])


class Template:
    """Text with names in it, which begin with a dollar sign."""

    delimiter = "$"
    _pattern = re.compile(r"\$(?:(\$)|([_a-zA-Z][_a-zA-Z0-9]*)|\{([_a-zA-Z][_a-zA-Z0-9]*)\}|)", re.ASCII)

    def __init__(self, template):
        self.template = template

    def _wrong(self, match):
        place = match.start() + 1
        lines = self.template[:place].splitlines(keepends=True)
        line, column = len(lines), place - len("".join(lines[:-1]))
        raise ValueError(f"Invalid placeholder in string: line {line}, col {column}")

    def _replaced(self, mapping, names, safe):
        known = {**mapping, **names}

        def replace(match):
            name = match[2] or match[3]
            if name is not None:
                return str(known[name]) if not safe or name in known else match[0]
            return "$" if match[1] or safe else self._wrong(match)

        return self._pattern.sub(replace, self.template)

    def substitute(self, mapping={}, /, **kws):
        return self._replaced(mapping, kws, False)

    def safe_substitute(self, mapping={}, /, **kws):
        return self._replaced(mapping, kws, True)

    def get_identifiers(self):
        found = (match[2] or match[3] for match in self._pattern.finditer(self.template))
        return list(dict.fromkeys(name for name in found if name is not None))

    def is_valid(self):
        return all(match[0] != "$" for match in self._pattern.finditer(self.template))
