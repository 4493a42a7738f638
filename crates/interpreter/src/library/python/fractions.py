import math
from numbers import Rational

__all__ = ("Fraction",)


def _digits(text):
    return text.replace("_", "").isdigit() and not text.startswith("_") and not text.endswith("_") and "__" not in text


def _parsed(text):
    """A text such as '-3/4', '1.25e-3' as a numerator and a denominator."""
    wrong = ValueError(f"Invalid literal for Fraction: {text!r}")
    body = text.strip()
    sign = -1 if body[:1] == "-" else 1
    if body[:1] in ("+", "-"):
        body = body[1:]
    if "/" in body:
        over, _, under = body.partition("/")
        if not (_digits(over) and _digits(under)):
            raise wrong
        return sign * int(over), int(under)
    body = body.lower()
    mantissa, marked, exponent = body.partition("e")
    scale = 0
    if marked:
        digits = exponent[1:] if exponent[:1] in ("+", "-") else exponent
        if not _digits(digits):
            raise wrong
        scale = int(exponent)
    whole, _, part = mantissa.partition(".")
    if not (whole or part) or whole and not _digits(whole) or part and not _digits(part):
        raise wrong
    whole, part = whole.replace("_", ""), part.replace("_", "")
    number, scale = int(whole + part or "0"), scale - len(part)
    return (sign * number * 10**scale, 1) if scale >= 0 else (sign * number, 10**-scale)


class Fraction(Rational):
    __slots__ = ("_numerator", "_denominator")

    def __new__(cls, numerator=0, denominator=None, *, _normalize=True):
        self = super().__new__(cls)
        if denominator is None:
            if type(numerator) is int:
                self._numerator, self._denominator = numerator, 1
                return self
            if isinstance(numerator, Fraction):
                self._numerator, self._denominator = numerator._numerator, numerator._denominator
                return self
            if isinstance(numerator, int):
                self._numerator, self._denominator = int(numerator), 1
                return self
            if isinstance(numerator, float) or hasattr(numerator, "as_integer_ratio"):
                self._numerator, self._denominator = numerator.as_integer_ratio()
                return self
            if not isinstance(numerator, str):
                raise TypeError("argument should be a string or a Rational instance")
            numerator, denominator = _parsed(numerator)
        elif not (isinstance(numerator, (int, Fraction)) and isinstance(denominator, (int, Fraction))):
            raise TypeError("both arguments should be Rational instances")
        else:
            numerator, denominator = (
                numerator.numerator * denominator.denominator, denominator.numerator * numerator.denominator)
        if denominator == 0:
            raise ZeroDivisionError(f"Fraction({numerator}, 0)")
        if _normalize:
            common = math.gcd(numerator, denominator)
            if denominator < 0:
                common = -common
            numerator, denominator = numerator // common, denominator // common
        self._numerator, self._denominator = int(numerator), int(denominator)
        return self

    @classmethod
    def from_float(cls, f):
        if isinstance(f, int):
            return cls(f)
        if not isinstance(f, float):
            raise TypeError(f"{cls.__name__}.from_float() only takes floats, not {f!r} ({type(f).__name__})")
        return cls(*f.as_integer_ratio())

    @classmethod
    def from_decimal(cls, dec):
        return cls(*dec.as_integer_ratio())

    def as_integer_ratio(self):
        return self._numerator, self._denominator

    def limit_denominator(self, max_denominator=1000000):
        if max_denominator < 1:
            raise ValueError("max_denominator should be at least 1")
        if self._denominator <= max_denominator:
            return Fraction(self)
        p0, q0, p1, q1 = 0, 1, 1, 0
        n, d = self._numerator, self._denominator
        while True:
            a = n // d
            q2 = q0 + a * q1
            if q2 > max_denominator:
                break
            p0, q0, p1, q1 = p1, q1, p0 + a * p1, q2
            n, d = d, n - a * d
        k = (max_denominator - q0) // q1
        if 2 * d * (q0 + k * q1) <= self._denominator:
            return Fraction(p1, q1)
        return Fraction(p0 + k * p1, q0 + k * q1)

    @property
    def numerator(self):
        return self._numerator

    @property
    def denominator(self):
        return self._denominator

    def __repr__(self):
        return f"{type(self).__name__}({self._numerator}, {self._denominator})"

    def __str__(self):
        return str(self._numerator) if self._denominator == 1 else f"{self._numerator}/{self._denominator}"

    def _with(self, other, exact, inexact):
        if isinstance(other, (int, Fraction)):
            return exact(self, Fraction(other))
        if isinstance(other, (float, complex)):
            return inexact(type(other)(self), other)
        return NotImplemented

    def __add__(self, other):
        return self._with(other, _added, lambda a, b: a + b)

    def __radd__(self, other):
        return self._with(other, _added, lambda a, b: b + a)

    def __sub__(self, other):
        return self._with(other, _subtracted, lambda a, b: a - b)

    def __rsub__(self, other):
        return self._with(other, lambda a, b: _subtracted(b, a), lambda a, b: b - a)

    def __mul__(self, other):
        return self._with(other, _multiplied, lambda a, b: a * b)

    def __rmul__(self, other):
        return self._with(other, _multiplied, lambda a, b: b * a)

    def __truediv__(self, other):
        return self._with(other, _divided, lambda a, b: a / b)

    def __rtruediv__(self, other):
        return self._with(other, lambda a, b: _divided(b, a), lambda a, b: b / a)

    def __floordiv__(self, other):
        return self._with(other, _floored, lambda a, b: a // b)

    def __rfloordiv__(self, other):
        return self._with(other, lambda a, b: _floored(b, a), lambda a, b: b // a)

    def __mod__(self, other):
        return self._with(other, _rest, lambda a, b: a % b)

    def __rmod__(self, other):
        return self._with(other, lambda a, b: _rest(b, a), lambda a, b: b % a)

    def __divmod__(self, other):
        return self._with(other, lambda a, b: (_floored(a, b), _rest(a, b)), divmod)

    def __rdivmod__(self, other):
        return self._with(other, lambda a, b: (_floored(b, a), _rest(b, a)), lambda a, b: divmod(b, a))

    def __pow__(self, other):
        if isinstance(other, (int, Fraction)):
            if other.denominator != 1:
                return float(self) ** float(other)
            power = other.numerator
            if power >= 0:
                return Fraction(self._numerator**power, self._denominator**power, _normalize=False)
            if self._numerator == 0:
                raise ZeroDivisionError(f"Fraction({self._denominator ** -power}, 0)")
            if self._numerator > 0:
                return Fraction(self._denominator**-power, self._numerator**-power, _normalize=False)
            return Fraction((-self._denominator) ** -power, (-self._numerator) ** -power, _normalize=False)
        if isinstance(other, (float, complex)):
            return float(self) ** other
        return NotImplemented

    def __rpow__(self, other):
        if self._denominator == 1 and self._numerator >= 0:
            return other**self._numerator
        if isinstance(other, int):
            return Fraction(other) ** self
        if self._denominator == 1:
            return other**self._numerator
        return other ** float(self)

    def __pos__(self):
        return Fraction(self._numerator, self._denominator, _normalize=False)

    def __neg__(self):
        return Fraction(-self._numerator, self._denominator, _normalize=False)

    def __abs__(self):
        return Fraction(abs(self._numerator), self._denominator, _normalize=False)

    def __int__(self):
        return -(-self._numerator // self._denominator) if self._numerator < 0 else self._numerator // self._denominator

    def __trunc__(self):
        return int(self)

    def __float__(self):
        return self._numerator / self._denominator

    def __complex__(self):
        return complex(float(self))

    def __floor__(self):
        return self._numerator // self._denominator

    def __ceil__(self):
        return -(-self._numerator // self._denominator)

    def __round__(self, ndigits=None):
        if ndigits is None:
            floor, remainder = divmod(self._numerator, self._denominator)
            if remainder * 2 < self._denominator:
                return floor
            if remainder * 2 > self._denominator or floor % 2:
                return floor + 1
            return floor
        shift = 10 ** abs(ndigits)
        return Fraction(round(self * shift), shift) if ndigits > 0 else Fraction(round(self / shift) * shift)

    def __hash__(self):
        if self._denominator == 1:
            return hash(self._numerator)
        prime = (1 << 61) - 1
        try:
            inverse = pow(self._denominator, -1, prime)
            found = hash(hash(abs(self._numerator)) * inverse)
        except ValueError:
            found = 314159
        found = found if self._numerator >= 0 else -found
        return -2 if found == -1 else found

    def __eq__(self, other):
        if isinstance(other, (int, Fraction)):
            return self._numerator == other.numerator and self._denominator == other.denominator
        if isinstance(other, complex) and other.imag == 0:
            other = other.real
        if isinstance(other, float):
            return 0.0 == other if math.isnan(other) or math.isinf(other) else self == Fraction(other)
        return NotImplemented

    def _compared(self, other, compare):
        if isinstance(other, (int, Fraction)):
            return compare(self._numerator * other.denominator, self._denominator * other.numerator)
        if isinstance(other, float):
            if math.isnan(other) or math.isinf(other):
                return compare(0.0, other)
            return self._compared(Fraction(other), compare)
        return NotImplemented

    def __lt__(self, other):
        return self._compared(other, lambda a, b: a < b)

    def __gt__(self, other):
        return self._compared(other, lambda a, b: a > b)

    def __le__(self, other):
        return self._compared(other, lambda a, b: a <= b)

    def __ge__(self, other):
        return self._compared(other, lambda a, b: a >= b)

    def __bool__(self):
        return bool(self._numerator)

    def __reduce__(self):
        return self.__class__, (self._numerator, self._denominator)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


def _added(a, b):
    return Fraction(a._numerator * b._denominator + b._numerator * a._denominator, a._denominator * b._denominator)


def _subtracted(a, b):
    return Fraction(a._numerator * b._denominator - b._numerator * a._denominator, a._denominator * b._denominator)


def _multiplied(a, b):
    return Fraction(a._numerator * b._numerator, a._denominator * b._denominator)


def _divided(a, b):
    return Fraction(a._numerator * b._denominator, a._denominator * b._numerator)


def _floored(a, b):
    return (a._numerator * b._denominator) // (a._denominator * b._numerator)


def _rest(a, b):
    under = a._denominator * b._denominator
    return Fraction((a._numerator * b._denominator) % (b._numerator * a._denominator), under)
