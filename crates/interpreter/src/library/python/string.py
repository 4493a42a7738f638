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
    idpattern = r"(?a:[_a-z][_a-z0-9]*)"
    braceidpattern = None
    flags = re.IGNORECASE
    pattern = re.compile(r"\$(?:(?P<escaped>\$)|(?P<named>[_a-zA-Z][_a-zA-Z0-9]*)|"
                         r"\{(?P<braced>[_a-zA-Z][_a-zA-Z0-9]*)\}|(?P<invalid>))", re.ASCII)

    def __init_subclass__(cls):
        super().__init_subclass__()
        pattern = cls.__dict__.get("pattern")
        if pattern is None:
            delimiter, name = re.escape(cls.delimiter), cls.idpattern
            if name == Template.idpattern:
                # Letters of ASCII alone, in both cases where the flags say so.
                name = "(?-i:[_a-zA-Z][_a-zA-Z0-9]*)" if cls.flags & re.IGNORECASE else "[_a-z][_a-z0-9]*"
            braced = cls.braceidpattern or name
            pattern = (f"{delimiter}(?:(?P<escaped>{delimiter})|(?P<named>{name})|"
                       rf"\{{(?P<braced>{braced})\}}|(?P<invalid>))")
        cls.pattern = re.compile(pattern, cls.flags | re.VERBOSE)

    def __init__(self, template):
        self.template = template

    def _wrong(self, match):
        place = match.start("invalid")
        lines = self.template[:place].splitlines(keepends=True)
        line, column = (len(lines), place - len("".join(lines[:-1]))) if lines else (1, 1)
        raise ValueError(f"Invalid placeholder in string: line {line}, col {column}")

    def _unknown(self):
        return ValueError("Unrecognized named group in pattern", self.pattern)

    def _replaced(self, mapping, names, safe):
        def replace(match):
            name = match["named"] or match["braced"]
            if name is not None:
                try:
                    return str(names[name] if name in names else mapping[name])
                except KeyError:
                    if not safe:
                        raise
                    return match[0]
            if match["escaped"] is not None:
                return self.delimiter
            if match["invalid"] is None:
                raise self._unknown()
            return match[0] if safe else self._wrong(match)

        return self.pattern.sub(replace, self.template)

    def substitute(self, mapping={}, /, **kws):
        return self._replaced(mapping, kws, False)

    def safe_substitute(self, mapping={}, /, **kws):
        return self._replaced(mapping, kws, True)

    def get_identifiers(self):
        found = []
        for match in self.pattern.finditer(self.template):
            name = match["named"] or match["braced"]
            if name is not None:
                found.append(name)
            elif match["invalid"] is None and match["escaped"] is None:
                raise self._unknown()
        return list(dict.fromkeys(found))

    def is_valid(self):
        for match in self.pattern.finditer(self.template):
            if match["invalid"] is not None:
                return False
            if match["named"] is None and match["braced"] is None and match["escaped"] is None:
                raise self._unknown()
        return True


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
