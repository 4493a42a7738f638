import math

__all__ = ("md5", "new", "sha1", "sha224", "sha256", "sha384", "sha512", "algorithms_available", "algorithms_guaranteed")

algorithms_available = algorithms_guaranteed = {"md5", "sha1", "sha224", "sha256", "sha384", "sha512"}

# Digests of small texts, as programs use them to name and compare what they have.


def _primes(count):
    found, number = [], 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _root(number, degree, bits):
    """The fraction of a root, to so many bits."""
    wanted = number << degree * bits
    low, high = 0, 1 << bits + 8
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle ** degree <= wanted else (low, middle - 1)
    return low & (1 << bits) - 1


_made = {}


def _constants(width):
    if width not in _made:
        rounds = 64 if width == 32 else 80
        primes = _primes(rounds)
        _made[width] = ([_root(prime, 3, width) for prime in primes], [_root(prime, 2, width) for prime in primes[:16]])
    return _made[width]


def _padded(data, block, order):
    size = block // 8
    data = data + b"\x80"
    data += bytes(-(len(data) + size) % block)
    return data


def _sha2(data, width, start, length):
    rounds, mask = _constants(width)[0], (1 << width) - 1
    block = 2 * width
    data = _padded(data, block, "big") + (8 * len(data)).to_bytes(block // 8, "big")
    a1, a2, a3, e1, e2, e3 = (2, 13, 22, 6, 11, 25) if width == 32 else (28, 34, 39, 14, 18, 41)
    s1, s2, s3, t1, t2, t3 = (7, 18, 3, 17, 19, 10) if width == 32 else (1, 8, 7, 19, 61, 6)
    step, state = width // 8, list(start)
    for at in range(0, len(data), block):
        w = [int.from_bytes(data[at + n * step:at + (n + 1) * step], "big") for n in range(16)]
        for n in range(16, len(rounds)):
            x, y = w[n - 15], w[n - 2]
            x = (x >> s1 | x << width - s1) ^ (x >> s2 | x << width - s2) ^ x >> s3
            y = (y >> t1 | y << width - t1) ^ (y >> t2 | y << width - t2) ^ y >> t3
            w.append(w[n - 16] + (x & mask) + w[n - 7] + (y & mask) & mask)
        a, b, c, d, e, f, g, h = state
        for n, constant in enumerate(rounds):
            x = ((e >> e1 | e << width - e1) ^ (e >> e2 | e << width - e2) ^ (e >> e3 | e << width - e3)) & mask
            first = h + x + (e & f ^ ~e & g) + constant + w[n]
            y = ((a >> a1 | a << width - a1) ^ (a >> a2 | a << width - a2) ^ (a >> a3 | a << width - a3)) & mask
            second = y + (a & b ^ a & c ^ b & c)
            a, b, c, d, e, f, g, h = first + second & mask, a, b, c, d + first & mask, e, f, g
        state = [old + new & mask for old, new in zip(state, (a, b, c, d, e, f, g, h))]
    return b"".join([word.to_bytes(step, "big") for word in state])[:length]


def _sha1(data):
    data = _padded(data, 64, "big") + (8 * len(data)).to_bytes(8, "big")
    mask, state = 0xFFFFFFFF, [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0]
    for at in range(0, len(data), 64):
        w = [int.from_bytes(data[at + 4 * n:at + 4 * n + 4], "big") for n in range(16)]
        for n in range(16, 80):
            x = w[n - 3] ^ w[n - 8] ^ w[n - 14] ^ w[n - 16]
            w.append((x << 1 | x >> 31) & mask)
        a, b, c, d, e = state
        for n in range(80):
            f, k = ((b & c | ~b & d, 0x5A827999), (b ^ c ^ d, 0x6ED9EBA1), (b & c | b & d | c & d, 0x8F1BBCDC),
                    (b ^ c ^ d, 0xCA62C1D6))[n // 20]
            a, b, c, d, e = (a << 5 | a >> 27) + f + e + k + w[n] & mask, a, (b << 30 | b >> 2) & mask, c, d
        state = [old + new & mask for old, new in zip(state, (a, b, c, d, e))]
    return b"".join([word.to_bytes(4, "big") for word in state])


def _md5(data):
    data = _padded(data, 64, "little") + (8 * len(data)).to_bytes(8, "little")
    turns = [(7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21)]
    constants = [int(abs(math.sin(n + 1)) * 2 ** 32) for n in range(64)]
    mask, state = 0xFFFFFFFF, [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    for at in range(0, len(data), 64):
        w = [int.from_bytes(data[at + 4 * n:at + 4 * n + 4], "little") for n in range(16)]
        a, b, c, d = state
        for n in range(64):
            f, g = ((b & c | ~b & d, n), (d & b | ~d & c, 5 * n + 1), (b ^ c ^ d, 3 * n + 5), (c ^ (b | ~d & mask), 7 * n))[n // 16]
            x, turn = (a + f + constants[n] + w[g % 16]) & mask, turns[n // 16][n % 4]
            a, b, c, d = d, b + (x << turn | x >> 32 - turn) & mask, b, c
        state = [old + new & mask for old, new in zip(state, (a, b, c, d))]
    return b"".join([word.to_bytes(4, "little") for word in state])


def _of_sha256(data):
    return _sha2(data, 32, [root & 0xFFFFFFFF for root in _constants(32)[1][:8]], 32)


def _of_sha224(data):
    return _sha2(data, 32, [root & 0xFFFFFFFF for root in [_root(prime, 2, 64) for prime in _primes(16)[8:]]], 28)


def _of_sha512(data):
    return _sha2(data, 64, _constants(64)[1][:8], 64)


def _of_sha384(data):
    return _sha2(data, 64, _constants(64)[1][8:16], 48)


class HASH:
    def __init__(self, name, digest_size, block_size, function, data):
        self.name, self.digest_size, self.block_size, self._function = name, digest_size, block_size, function
        self._data = b""
        self.update(data)

    def update(self, data, /):
        if isinstance(data, str):
            raise TypeError("Strings must be encoded before hashing")
        self._data += bytes(data)

    def digest(self):
        return self._function(self._data)

    def hexdigest(self):
        return self.digest().hex()

    def copy(self):
        return HASH(self.name, self.digest_size, self.block_size, self._function, self._data)


def md5(string=b"", *, usedforsecurity=True):
    return HASH("md5", 16, 64, _md5, string)


def sha1(string=b"", *, usedforsecurity=True):
    return HASH("sha1", 20, 64, _sha1, string)


def sha224(string=b"", *, usedforsecurity=True):
    return HASH("sha224", 28, 64, _of_sha224, string)


def sha256(string=b"", *, usedforsecurity=True):
    return HASH("sha256", 32, 64, _of_sha256, string)


def sha384(string=b"", *, usedforsecurity=True):
    return HASH("sha384", 48, 128, _of_sha384, string)


def sha512(string=b"", *, usedforsecurity=True):
    return HASH("sha512", 64, 128, _of_sha512, string)


def new(name, data=b"", *, usedforsecurity=True):
    known = {"md5": md5, "sha1": sha1, "sha224": sha224, "sha256": sha256, "sha384": sha384, "sha512": sha512}
    if name.lower() not in known:
        raise ValueError(f"unsupported hash type {name}")
    return known[name.lower()](data)
