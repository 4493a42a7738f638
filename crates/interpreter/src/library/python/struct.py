import math

__all__ = ("Struct", "calcsize", "error", "iter_unpack", "pack", "unpack", "unpack_from")


class error(Exception):
    pass


error.__module__ = "struct"

_SIZES = {"x": 1, "c": 1, "b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "l": 4, "L": 4, "q": 8, "Q": 8, "e": 2,
          "f": 4, "d": 8, "s": 1, "p": 1}
_NATIVE = {**_SIZES, "l": 8, "L": 8, "n": 8, "N": 8, "P": 8}
_FLOATS = {"e": (5, 10), "f": (8, 23), "d": (11, 52)}


def _parts(format):
    """The order of bytes, and each letter with how often it stands there and how many bytes go before it."""
    format = format.decode("ascii") if isinstance(format, bytes) else format
    native = format[:1] not in tuple("=<>!")
    order = "big" if format[:1] in (">", "!") else "little"
    sizes, parts, place, count = _NATIVE if native else _SIZES, [], 0, ""
    for letter in format[1:] if format[:1] in tuple("@=<>!") else format:
        if letter.isspace():
            continue
        if letter.isdigit():
            count += letter
            continue
        if letter not in sizes:
            raise error("bad char in struct format")
        size, times = sizes[letter], int(count) if count else 1
        gap = -place % size if native else 0
        parts.append((letter, times, size, gap))
        place, count = place + gap + size * times, ""
    if count:
        raise error("repeat count given without format specifier")
    return order, parts, place


def calcsize(format):
    return _parts(format)[2]


def _bits(letter, value):
    width, digits = _FLOATS[letter]
    try:
        value = float(value)
    except (TypeError, ValueError):
        raise error("required argument is not a float") from None
    most, bias = (1 << width) - 1, (1 << width - 1) - 1
    sign = math.copysign(1.0, value) < 0
    if math.isnan(value):
        return most << digits | 1 << digits - 1
    if math.isinf(value):
        bits = most << digits
    elif value == 0:
        bits = 0
    else:
        fraction, exponent = math.frexp(abs(value))
        exponent -= 1
        least = max(exponent, 1 - bias)
        whole = round(math.ldexp(abs(value), digits - least)) if digits - least < 1023 else round(math.ldexp(math.ldexp(abs(value), 600), digits - least - 600))
        bits = whole + (least + bias - 1 << digits)
        if bits >> digits >= most:
            raise OverflowError("float too large to pack with " + letter + " format")
    return bits | sign << width + digits


def _number(letter, bits):
    width, digits = _FLOATS[letter]
    sign, exponent, fraction = bits >> width + digits, bits >> digits & (1 << width) - 1, bits & (1 << digits) - 1
    bias = (1 << width - 1) - 1
    if exponent == (1 << width) - 1:
        value = math.nan if fraction else math.inf
    elif exponent == 0:
        value = math.ldexp(fraction, 1 - bias - digits)
    else:
        value = math.ldexp(fraction | 1 << digits, exponent - bias - digits)
    return -value if sign else value


def _packed(letter, size, order, value):
    if letter in _FLOATS:
        return _bits(letter, value).to_bytes(size, order)
    if letter == "?":
        return b"\1" if value else b"\0"
    if letter == "c":
        if not isinstance(value, (bytes, bytearray)) or len(value) != 1:
            raise error("char format requires a bytes object of length 1")
        return bytes(value)
    if not hasattr(value, "__index__"):
        raise error("required argument is not an integer")
    value, signed = value.__index__(), letter.islower()
    least, most = (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) if signed else (0, (1 << 8 * size) - 1)
    if not least <= value <= most:
        if letter in "bB":
            raise error(f"{'byte' if letter == 'b' else 'ubyte'} format requires {least} <= number <= {most}")
        if letter in "hH":
            raise error(f"{'short' if letter == 'h' else 'ushort'} format requires {least} <= number <= {most}")
        raise error(f"'{letter}' format requires {least} <= number <= {most}" if size < 8 else "argument out of range")
    return value.to_bytes(size, order, signed=signed)


def pack(format, *values):
    order, parts, _ = _parts(format)
    wanted = sum([0 if letter == "x" else 1 if letter in "sp" else times for letter, times, _, _ in parts])
    if wanted != len(values):
        raise error(f"pack expected {wanted} items for packing (got {len(values)})")
    made, values = [], iter(values)
    for letter, times, size, gap in parts:
        made.append(bytes(gap))
        if letter == "x":
            made.append(bytes(times))
        elif letter == "s":
            value = next(values)
            if not isinstance(value, (bytes, bytearray)):
                raise error("argument for 's' must be a bytes object")
            made.append(bytes(value[:times]).ljust(times, b"\0"))
        elif letter == "p":
            value = bytes(next(values)[:max(times - 1, 0)])
            made.append((bytes([min(len(value), 255)]) + value).ljust(times, b"\0")[:times])
        else:
            made.extend([_packed(letter, size, order, next(values)) for _ in range(times)])
    return b"".join(made)


def unpack(format, buffer):
    order, parts, size = _parts(format)
    buffer = bytes(buffer)
    if len(buffer) != size:
        raise error(f"unpack requires a buffer of {size} bytes")
    found, at = [], 0
    for letter, times, size, gap in parts:
        at += gap
        if letter in "sp":
            part = buffer[at:at + times]
            found.append(part if letter == "s" else part[1:1 + part[0]] if part else b"")
            at += times
            continue
        for _ in range(times):
            part = buffer[at:at + size]
            at += size
            if letter == "x":
                continue
            number = int.from_bytes(part, order, signed=letter.islower() and letter not in _FLOATS)
            found.append(_number(letter, number) if letter in _FLOATS else part if letter == "c" else number != 0 if letter == "?" else number)
    return tuple(found)


def unpack_from(format, /, buffer, offset=0):
    size = calcsize(format)
    if len(buffer) - offset < size:
        raise error(f"unpack_from requires a buffer of at least {offset + size} bytes for unpacking {size} bytes at offset {offset} (actual buffer size is {len(buffer)})")
    return unpack(format, buffer[offset:offset + size])


def iter_unpack(format, buffer):
    size = calcsize(format)
    if not size or len(buffer) % size:
        raise error(f"iterative unpacking requires a buffer of a multiple of {size} bytes")
    for at in range(0, len(buffer), size):
        yield unpack(format, buffer[at:at + size])


class Struct:
    def __init__(self, format):
        self.format, self.size = format, calcsize(format)

    def pack(self, *values):
        return pack(self.format, *values)

    def unpack(self, buffer):
        return unpack(self.format, buffer)

    def unpack_from(self, buffer, offset=0):
        return unpack_from(self.format, buffer, offset)

    def iter_unpack(self, buffer):
        return iter_unpack(self.format, buffer)
