__all__ = ("b16decode", "b16encode", "b64decode", "b64encode", "standard_b64decode", "standard_b64encode", "urlsafe_b64decode", "urlsafe_b64encode")

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def b64encode(s, altchars=None):
    if isinstance(s, str):
        raise TypeError("a bytes-like object is required, not 'str'")
    s, made = bytes(s), []
    for at in range(0, len(s), 3):
        part = s[at:at + 3]
        number = int.from_bytes(part + bytes(3 - len(part)), "big")
        letters = bytes([_LETTERS[number >> shift & 63] for shift in (18, 12, 6, 0)])
        made.append(letters[:len(part) + 1] + b"=" * (3 - len(part)))
    made = b"".join(made)
    return made if altchars is None else made.translate(bytes.maketrans(b"+/", altchars))


def b64decode(s, altchars=None, validate=False):
    s = s.encode("ascii") if isinstance(s, str) else bytes(s)
    if altchars is not None:
        altchars = altchars.encode("ascii") if isinstance(altchars, str) else altchars
        s = s.translate(bytes.maketrans(altchars, b"+/"))
    if validate and any(letter not in _LETTERS + b"=" for letter in s):
        raise ValueError("Only base64 data is allowed")
    places = {letter: place for place, letter in enumerate(_LETTERS)}
    letters = [places[letter] for letter in s.partition(b"=")[0] if letter in places]
    padding = s.count(b"=")
    if len(letters) % 4 == 1:
        raise ValueError(f"Invalid base64-encoded string: number of data characters ({len(letters)}) cannot be 1 more than a multiple of 4")
    if len(letters) % 4 and len(letters) % 4 + padding < 4:
        raise ValueError("Incorrect padding")
    made = []
    for at in range(0, len(letters), 4):
        part = letters[at:at + 4]
        number = 0
        for place in part + [0] * (4 - len(part)):
            number = number << 6 | place
        made.append(number.to_bytes(3, "big")[:len(part) - 1])
    return b"".join(made)


standard_b64encode, standard_b64decode = b64encode, b64decode


def urlsafe_b64encode(s):
    return b64encode(s, b"-_")


def urlsafe_b64decode(s):
    return b64decode(s, b"-_")


def b16encode(s):
    return bytes(s).hex().upper().encode("ascii")


def b16decode(s, casefold=False):
    text = s if isinstance(s, str) else s.decode("ascii")
    if not casefold and text != text.upper():
        raise ValueError("Non-base16 digit found")
    return bytes.fromhex(text)
