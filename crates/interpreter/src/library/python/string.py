import re

__all__ = (
    "Formatter", "Template", "ascii_letters", "ascii_lowercase", "ascii_uppercase", "capwords", "digits", "hexdigits", "octdigits",
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


class Formatter:
    """What `str.format` does, part by part."""

    def format(self, format_string, /, *args, **kwargs):
        return self.vformat(format_string, args, kwargs)

    def vformat(self, format_string, args, kwargs):
        used = set()
        result, _ = self._vformat(format_string, args, kwargs, used, 2, 0)
        self.check_unused_args(used, args, kwargs)
        return result

    def _vformat(self, format_string, args, kwargs, used, depth, number):
        if depth < 0:
            raise ValueError("Max string recursion exceeded")
        made = []
        for literal, field, spec, conversion in self.parse(format_string):
            if literal:
                made.append(literal)
            if field is None:
                continue
            if field == "":
                if number is False:
                    raise ValueError("cannot switch from manual field specification to automatic field numbering")
                field, number = str(number), number + 1
            elif field.isdigit():
                if number:
                    raise ValueError("cannot switch from manual field specification to automatic field numbering")
                number = False
            value, first = self.get_field(field, args, kwargs)
            used.add(first)
            value = self.convert_field(value, conversion)
            spec, number = self._vformat(spec, args, kwargs, used, depth - 1, number)
            made.append(self.format_field(value, spec))
        return "".join(made), number

    def get_value(self, key, args, kwargs):
        return args[key] if isinstance(key, int) else kwargs[key]

    def check_unused_args(self, used_args, args, kwargs):
        pass

    def format_field(self, value, format_spec):
        return format(value, format_spec)

    def convert_field(self, value, conversion):
        if conversion is None:
            return value
        for letter, function in (("s", str), ("r", repr), ("a", ascii)):
            if conversion == letter:
                return function(value)
        raise ValueError(f"Unknown conversion specifier {conversion!s}")

    def parse(self, format_string):
        at, end, literal = 0, len(format_string), ""
        while at < end:
            letter = format_string[at]
            if letter not in "{}":
                literal, at = literal + letter, at + 1
                continue
            if format_string[at + 1:at + 2] == letter:
                yield literal + letter, None, None, None
                literal, at = "", at + 2
                continue
            if letter == "}":
                raise ValueError("Single '}' encountered in format string")
            start, depth = at + 1, 1
            at += 1
            while at < end and depth:
                depth += {"{": 1, "}": -1}.get(format_string[at], 0)
                at += 1
            if depth:
                raise ValueError("expected '}' before end of string" if start < end else "Single '{' encountered in format string")
            yield (literal, *self._field(format_string[start:at - 1]))
            literal = ""
        if literal:
            yield literal, None, None, None

    def _field(self, text):
        at, brackets = 0, 0
        while at < len(text) and (brackets or text[at] not in ":!"):
            brackets += {"[": 1, "]": -1}.get(text[at], 0)
            at += 1
        name, rest, conversion = text[:at], text[at:], None
        if rest.startswith("!"):
            if len(rest) < 2:
                raise ValueError("end of string while looking for conversion specifier")
            conversion, rest = rest[1], rest[2:]
            if rest and not rest.startswith(":"):
                raise ValueError("expected ':' after conversion specifier")
        return name, rest[1:], conversion

    def get_field(self, field_name, args, kwargs):
        parts = re.match(r"([^.\[]*)(.*)", field_name, re.S)
        first, rest = parts[1], parts[2]
        first = int(first) if first.isdigit() else first
        value = self.get_value(first, args, kwargs)
        for attribute, item in re.findall(r"\.([^.\[]+)|\[([^\]]+)\]", rest):
            value = getattr(value, attribute) if attribute else value[int(item) if item.isdigit() else item]
        return value, first
