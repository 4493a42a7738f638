import math

__all__ = (
    "BasicContext", "Context", "ConversionSyntax", "Decimal", "DecimalException", "DefaultContext", "DivisionByZero",
    "DivisionUndefined", "ExtendedContext", "Inexact", "InvalidOperation", "Overflow", "ROUND_05UP", "ROUND_CEILING",
    "ROUND_DOWN", "ROUND_FLOOR", "ROUND_HALF_DOWN", "ROUND_HALF_EVEN", "ROUND_HALF_UP", "ROUND_UP", "Rounded", "getcontext",
    "localcontext", "setcontext",
)

ROUND_05UP, ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR = "ROUND_05UP", "ROUND_CEILING", "ROUND_DOWN", "ROUND_FLOOR"
ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP = "ROUND_HALF_DOWN", "ROUND_HALF_EVEN", "ROUND_HALF_UP", "ROUND_UP"


class DecimalException(ArithmeticError):
    pass


class InvalidOperation(DecimalException):
    pass


class ConversionSyntax(InvalidOperation):
    pass


class DivisionByZero(DecimalException, ZeroDivisionError):
    pass


class DivisionUndefined(InvalidOperation, ZeroDivisionError):
    pass


class Inexact(DecimalException):
    pass


class Rounded(DecimalException):
    pass


class Overflow(Inexact, Rounded):
    pass


class Context:
    """Signals are as in the default context: an invalid operation, a division by zero and an overflow raise, others do not."""

    def __init__(self, prec=28, rounding=ROUND_HALF_EVEN, Emin=-999999, Emax=999999, capitals=1, clamp=0, flags=None,
                 traps=None):
        if traps is not None:
            raise TypeError("decimal.Context(): argument 'traps' is not supported by this server")
        self.prec, self.rounding, self.Emin, self.Emax, self.capitals, self.clamp = prec, rounding, Emin, Emax, capitals, clamp

    def copy(self):
        return Context(self.prec, self.rounding, self.Emin, self.Emax, self.capitals, self.clamp)

    def create_decimal(self, num="0"):
        return Decimal(num)._fixed(self)

    def quantize(self, a, b):
        return Decimal(a).quantize(b, context=self)

    def add(self, a, b):
        return Decimal(a).__add__(b, self)

    def subtract(self, a, b):
        return Decimal(a).__sub__(b, self)

    def multiply(self, a, b):
        return Decimal(a).__mul__(b, self)

    def divide(self, a, b):
        return Decimal(a).__truediv__(b, self)

    def sqrt(self, a):
        return Decimal(a).sqrt(self)

    def __repr__(self):
        return (f"Context(prec={self.prec}, rounding={self.rounding}, Emin={self.Emin}, Emax={self.Emax}, capitals="
                f"{self.capitals}, clamp={self.clamp}, flags=[], traps=[InvalidOperation, DivisionByZero, Overflow])")


DefaultContext, BasicContext, ExtendedContext = Context(), Context(9, ROUND_HALF_UP), Context(9)
_current = [Context()]


def getcontext():
    return _current[-1]


def setcontext(context):
    _current[-1] = context


class localcontext:
    def __init__(self, ctx=None, **kwargs):
        self._context = (ctx or getcontext()).copy()
        for name, value in kwargs.items():
            setattr(self._context, name, value)

    def __enter__(self):
        _current.append(self._context)
        return self._context

    def __exit__(self, *raised):
        _current.pop()


def _up(rounding, negative, digit_even, half):
    """Whether to round away from zero what is behind a digit; `half` compares it with a half."""
    if rounding == ROUND_HALF_EVEN:
        return half > 0 or half == 0 and not digit_even
    if rounding == ROUND_HALF_UP:
        return half >= 0
    if rounding == ROUND_HALF_DOWN:
        return half > 0
    if rounding == ROUND_UP:
        return True
    if rounding == ROUND_CEILING:
        return not negative
    if rounding == ROUND_FLOOR:
        return negative
    return False


def _shortened(number, places, rounding, negative):
    """A whole number without its last digits, rounded."""
    scale = 10**places
    whole, rest = divmod(number, scale)
    if not rest:
        return whole
    if rounding == ROUND_05UP:
        return whole + (whole % 10 in (0, 5))
    twice = rest * 2
    half = (twice > scale) - (twice < scale)
    return whole + _up(rounding, negative, whole % 2 == 0, half)


class Decimal:
    __slots__ = ("_negative", "_number", "_exp", "_special")

    def __new__(cls, value="0", context=None):
        if isinstance(value, Decimal):
            return _made(value._negative, value._number, value._exp, value._special)
        if isinstance(value, int):
            return _made(value < 0, abs(int(value)), 0)
        if isinstance(value, float):
            return cls.from_float(value)
        if isinstance(value, (tuple, list)):
            sign, digits, exponent = value
            if exponent in ("F", "n", "N"):
                return _made(sign == 1, 0, 0, {"F": "Infinity", "n": "NaN", "N": "sNaN"}[exponent])
            return _made(sign == 1, int("".join([str(digit) for digit in digits]) or "0"), exponent)
        if not isinstance(value, str):
            raise TypeError(f"conversion from {type(value).__name__} to Decimal is not supported")
        text = value.strip().replace("_", "")
        negative = text[:1] == "-"
        body = text[1:] if text[:1] in ("+", "-") else text
        lower = body.lower()
        if lower in ("inf", "infinity"):
            return _made(negative, 0, 0, "Infinity")
        if lower in ("nan", "snan"):
            return _made(negative, 0, 0, "sNaN" if lower == "snan" else "NaN")
        mantissa, marked, exponent = lower.partition("e")
        whole, _, part = mantissa.partition(".")
        digits = exponent[1:] if exponent[:1] in ("+", "-") else exponent
        if not (whole + part).isdigit() or marked and not digits.isdigit():
            raise InvalidOperation([ConversionSyntax])
        return _made(negative, int(whole + part), (int(exponent) if marked else 0) - len(part))

    @classmethod
    def from_float(cls, f):
        if isinstance(f, int):
            return cls(f)
        if math.isnan(f):
            return _made(False, 0, 0, "NaN")
        if math.isinf(f):
            return _made(f < 0, 0, 0, "Infinity")
        over, under = abs(f).as_integer_ratio()
        places = under.bit_length() - 1
        return _made(math.copysign(1.0, f) < 0, over * 5**places, -places)

    def is_nan(self):
        return self._special in ("NaN", "sNaN")

    def is_snan(self):
        return self._special == "sNaN"

    def is_qnan(self):
        return self._special == "NaN"

    def is_infinite(self):
        return self._special == "Infinity"

    def is_finite(self):
        return self._special is None

    def is_zero(self):
        return self._special is None and self._number == 0

    def is_signed(self):
        return self._negative

    def as_tuple(self):
        from collections import namedtuple
        kind = namedtuple("DecimalTuple", "sign digits exponent")
        if self._special:
            return kind(int(self._negative), (0,) if self.is_infinite() else (), "F" if self.is_infinite() else "N" if self.is_snan() else "n")
        return kind(int(self._negative), tuple([int(digit) for digit in str(self._number)]), self._exp)

    def as_integer_ratio(self):
        if self._special:
            kind = OverflowError if self.is_infinite() else ValueError
            raise kind(f"cannot convert {self._special} to integer ratio")
        number = -self._number if self._negative else self._number
        if self._exp >= 0:
            return number * 10**self._exp, 1
        under = 10**-self._exp
        common = math.gcd(number, under)
        return number // common, under // common

    def adjusted(self):
        return 0 if self._special else self._exp + len(str(self._number)) - 1

    def _fixed(self, context):
        """Rounded to a context's digits."""
        if self._special:
            return self
        size = len(str(self._number))
        if size > context.prec and self._number:
            places = size - context.prec
            number, exponent = _shortened(self._number, places, context.rounding, self._negative), self._exp + places
            if len(str(number)) > context.prec:
                number, exponent = number // 10, exponent + 1
            return _made(self._negative, number, exponent)._bounded(context)
        return self._bounded(context)

    def _bounded(self, context):
        if self._number and self.adjusted() > context.Emax:
            raise Overflow([Overflow, Inexact, Rounded])
        return self

    def _scaled(self, exponent):
        return (-self._number if self._negative else self._number) * 10 ** _room(self._exp - exponent)

    def __add__(self, other, context=None):
        other = _converted(other)
        if other is NotImplemented:
            return other
        context = context or getcontext()
        if self._special or other._special:
            if self.is_nan() or other.is_nan():
                return _not_a_number(self, other)
            if self.is_infinite() and other.is_infinite() and self._negative != other._negative:
                raise InvalidOperation([InvalidOperation])
            return self if self.is_infinite() else other
        exponent = min(self._exp, other._exp)
        total = self._scaled(exponent) + other._scaled(exponent)
        negative = total < 0
        if not total:
            negative = self._negative and other._negative or context.rounding == ROUND_FLOOR and (
                self._negative != other._negative)
        return _made(negative, abs(total), exponent)._fixed(context)

    __radd__ = __add__

    def __neg__(self):
        if self.is_nan():
            return self
        if self.is_zero() and getcontext().rounding != ROUND_FLOOR:
            return _made(False, 0, self._exp)
        return _made(not self._negative, self._number, self._exp, self._special)._fixed(getcontext())

    def __pos__(self):
        if self.is_zero():
            return _made(False, 0, self._exp)
        return self._fixed(getcontext())

    def __abs__(self):
        return _made(False, self._number, self._exp, self._special)._fixed(getcontext())

    def copy_abs(self):
        return _made(False, self._number, self._exp, self._special)

    def copy_negate(self):
        return _made(not self._negative, self._number, self._exp, self._special)

    def copy_sign(self, other):
        return _made(_converted(other)._negative, self._number, self._exp, self._special)

    def __sub__(self, other, context=None):
        other = _converted(other)
        return other if other is NotImplemented else self.__add__(other.copy_negate(), context)

    def __rsub__(self, other):
        other = _converted(other)
        return other if other is NotImplemented else other - self

    def __mul__(self, other, context=None):
        other = _converted(other)
        if other is NotImplemented:
            return other
        negative = self._negative != other._negative
        if self._special or other._special:
            if self.is_nan() or other.is_nan():
                return _not_a_number(self, other)
            if self.is_zero() or other.is_zero():
                raise InvalidOperation([InvalidOperation])
            return _made(negative, 0, 0, "Infinity")
        return _made(negative, self._number * other._number, self._exp + other._exp)._fixed(context or getcontext())

    __rmul__ = __mul__

    def __truediv__(self, other, context=None):
        other = _converted(other)
        if other is NotImplemented:
            return other
        context = context or getcontext()
        negative = self._negative != other._negative
        if self._special or other._special:
            if self.is_nan() or other.is_nan():
                return _not_a_number(self, other)
            if self.is_infinite() and other.is_infinite():
                raise InvalidOperation([InvalidOperation])
            if self.is_infinite():
                return _made(negative, 0, 0, "Infinity")
            return _made(negative, 0, context.Emin - context.prec + 1)
        if not other._number:
            if not self._number:
                raise InvalidOperation([DivisionUndefined])
            raise DivisionByZero([DivisionByZero])
        exponent = self._exp - other._exp
        if not self._number:
            return _made(negative, 0, exponent)._fixed(context)
        shift = len(str(other._number)) - len(str(self._number)) + context.prec + 1
        exponent -= shift
        if shift >= 0:
            number, rest = divmod(self._number * 10**shift, other._number)
        else:
            number, rest = divmod(self._number, other._number * 10**-shift)
        if rest:
            if number % 5 == 0:
                number += 1
        else:
            ideal = self._exp - other._exp
            while exponent < ideal and number % 10 == 0:
                number //= 10
                exponent += 1
        return _made(negative, number, exponent)._fixed(context)

    def __rtruediv__(self, other):
        other = _converted(other)
        return other if other is NotImplemented else other / self

    def _divided(self, other):
        """The whole quotient, and what remains with the sign of the dividend."""
        if self._special or other._special:
            raise InvalidOperation([InvalidOperation])
        if not other._number:
            if self._number:
                raise DivisionByZero([DivisionByZero])
            raise InvalidOperation([DivisionUndefined])
        exponent = min(self._exp, other._exp)
        mine, others = abs(self._scaled(exponent)), abs(other._scaled(exponent))
        whole, rest = divmod(mine, others)
        if len(str(whole)) > getcontext().prec:
            raise InvalidOperation([InvalidOperation])
        return _made(self._negative != other._negative, whole, 0), _made(self._negative, rest, exponent)

    def __floordiv__(self, other):
        other = _converted(other)
        if other is NotImplemented:
            return other
        if self.is_nan() or other.is_nan():
            return _not_a_number(self, other)
        negative = self._negative != other._negative
        if other.is_infinite() and not self._special:
            return _made(negative, 0, 0)
        if self.is_infinite() and not other._special:
            return _made(negative, 0, 0, "Infinity")
        if not other._number and not other._special and self._number:
            raise DivisionByZero([DivisionByZero])
        return self._divided(other)[0]._fixed(getcontext())

    def __rfloordiv__(self, other):
        other = _converted(other)
        return other if other is NotImplemented else other // self

    def __mod__(self, other):
        other = _converted(other)
        if other is NotImplemented:
            return other
        if self.is_nan() or other.is_nan():
            return _not_a_number(self, other)
        if other.is_infinite() and not self._special:
            return self._fixed(getcontext())
        if not other._special and not other._number:
            raise InvalidOperation([InvalidOperation if self._number else DivisionUndefined])
        return self._divided(other)[1]._fixed(getcontext())

    def __rmod__(self, other):
        other = _converted(other)
        return other if other is NotImplemented else other % self

    def __divmod__(self, other):
        other = _converted(other)
        return other if other is NotImplemented else (self // other, self % other)

    def __pow__(self, other, modulo=None):
        other = _converted(other)
        if other is NotImplemented:
            return other
        if self.is_nan() or other.is_nan():
            return _not_a_number(self, other)
        if other._special or other != other.to_integral_value():
            return self._real_power(other)
        power = int(other)
        context = getcontext()
        if power == 0:
            if not self._number:
                raise InvalidOperation([InvalidOperation])
            return _made(False, 1, 0)
        if self._special:
            odd = self._negative and power % 2 == 1
            return _made(odd, 0, 0, "Infinity") if power > 0 else _made(odd, 0, 0)
        if not self._number:
            if power < 0:
                return _made(self._negative and power % 2 == 1, 0, 0, "Infinity")
            return _made(self._negative and power % 2 == 1, 0, self._exp * power)
        if abs(power) * (len(str(self._number)) + 1) > 100000:
            return self._real_power(other)
        found = _made(self._negative and power % 2 == 1, self._number ** abs(power), self._exp * abs(power))
        if power > 0:
            return found._fixed(context)
        return _made(False, 1, 0).__truediv__(found, context)

    def _real_power(self, other):
        raise NotImplementedError("powers of decimals that are not whole are not supported by this server: use floats")

    def __rpow__(self, other):
        other = _converted(other)
        return other if other is NotImplemented else other ** self

    def sqrt(self, context=None):
        context = context or getcontext()
        if self._special:
            return self
        if not self._number:
            return _made(self._negative, 0, self._exp // 2)
        if self._negative:
            raise InvalidOperation([InvalidOperation])
        number, exponent = self._number, self._exp
        if exponent % 2:
            number, exponent = number * 10, exponent - 1
        ideal, shift = exponent // 2, context.prec + 1 - (len(str(number)) + 1) // 2
        exact = True
        if shift >= 0:
            number *= 100**shift
        else:
            number, rest = divmod(number, 100**-shift)
            exact = not rest
        exponent = ideal - shift
        root = math.isqrt(number)
        exact = exact and root * root == number
        if exact:
            while exponent < ideal and root % 10 == 0:
                root, exponent = root // 10, exponent + 1
        elif root % 5 == 0:
            root += 1
        half = context.copy()
        half.rounding = ROUND_HALF_EVEN
        return _made(False, root, exponent)._fixed(half)

    def quantize(self, exp, rounding=None, context=None):
        context, exp = context or getcontext(), _converted(exp)
        if self._special or exp._special:
            if self.is_infinite() and exp.is_infinite() or self.is_nan():
                return self
            raise InvalidOperation([InvalidOperation])
        found = self._rescaled(exp._exp, rounding or context.rounding)
        if len(str(found._number)) > context.prec:
            raise InvalidOperation([InvalidOperation])
        return found

    def _rescaled(self, exponent, rounding):
        if self._exp >= exponent:
            return _made(self._negative, self._number * 10 ** _room(self._exp - exponent), exponent)
        places = exponent - self._exp
        if places > len(str(self._number)) + 1:
            number = int(bool(self._number) and _up(rounding, self._negative, True, -1))
        else:
            number = _shortened(self._number, places, rounding, self._negative)
        return _made(self._negative, number, exponent)

    def to_integral_value(self, rounding=None, context=None):
        if self._special or self._exp >= 0:
            return self
        return self._rescaled(0, rounding or (context or getcontext()).rounding)

    to_integral = to_integral_exact = to_integral_value

    def normalize(self, context=None):
        found = self._fixed(context or getcontext())
        if found._special:
            return found
        number, exponent = found._number, found._exp
        if not number:
            return _made(found._negative, 0, 0)
        while number % 10 == 0:
            number, exponent = number // 10, exponent + 1
        return _made(found._negative, number, exponent)

    def scaleb(self, other):
        return _made(self._negative, self._number, self._exp + int(other), self._special)

    def __int__(self):
        if self._special:
            kind = OverflowError if self.is_infinite() else ValueError
            raise kind("cannot convert Infinity to integer" if self.is_infinite() else "cannot convert NaN to integer")
        number = self._number * 10 ** _room(self._exp) if self._exp >= 0 else self._number // 10**-self._exp
        return -number if self._negative else number

    __trunc__ = __int__

    def __float__(self):
        return float(str(self))

    def __round__(self, n=None):
        if n is None:
            return int(self.to_integral_value(ROUND_HALF_EVEN))
        return self.quantize(_made(False, 1, -n))

    def __floor__(self):
        return int(self.to_integral_value(ROUND_FLOOR))

    def __ceil__(self):
        return int(self.to_integral_value(ROUND_CEILING))

    def __bool__(self):
        return bool(self._special or self._number)

    def _compared(self, other):
        """-1, 0 or 1; None where there is no order."""
        if isinstance(other, float):
            other = Decimal.from_float(other)
        other = _converted(other)
        if other is NotImplemented:
            return other
        if self.is_nan() or other.is_nan():
            return None
        if self._special or other._special:
            mine = 0 if not self._special else -1 if self._negative else 1
            others = 0 if not other._special else -1 if other._negative else 1
            return (mine > others) - (mine < others)
        if self._number and other._number and self._negative == other._negative and self.adjusted() != other.adjusted():
            found = 1 if self.adjusted() > other.adjusted() else -1
            return -found if self._negative else found
        if not (self._number and other._number):
            mine = 0 if not self._number else -1 if self._negative else 1
            others = 0 if not other._number else -1 if other._negative else 1
            return (mine > others) - (mine < others)
        exponent = min(self._exp, other._exp)
        mine, others = self._scaled(exponent), other._scaled(exponent)
        return (mine > others) - (mine < others)

    def compare(self, other):
        found = self._compared(other)
        return _made(False, 0, 0, "NaN") if found is None else Decimal(found)

    def __eq__(self, other):
        found = self._compared(other)
        return found if found is NotImplemented else found == 0

    def _ordered(self, other, test):
        found = self._compared(other)
        if found is NotImplemented:
            return found
        if found is None:
            raise InvalidOperation([InvalidOperation])
        return test(found)

    def __lt__(self, other):
        return self._ordered(other, lambda found: found < 0)

    def __le__(self, other):
        return self._ordered(other, lambda found: found <= 0)

    def __gt__(self, other):
        return self._ordered(other, lambda found: found > 0)

    def __ge__(self, other):
        return self._ordered(other, lambda found: found >= 0)

    def max(self, other):
        other = _converted(other)
        return (self if self >= other else other)._fixed(getcontext())

    def min(self, other):
        other = _converted(other)
        return (self if self <= other else other)._fixed(getcontext())

    def __hash__(self):
        if self._special:
            return hash(float(str(self)))
        over, under = self.as_integer_ratio()
        if under == 1:
            return hash(over)
        prime = (1 << 61) - 1
        found = abs(over) % prime * pow(under, -1, prime) % prime if under % prime else 314159
        found = found if over >= 0 else -found
        return -2 if found == -1 else found

    def __str__(self):
        sign = "-" if self._negative else ""
        if self._special:
            return sign + self._special
        digits = str(self._number)
        left = self._exp + len(digits)
        if self._exp <= 0 and left > -6:
            point = left
        else:
            point = 1
        if point <= 0:
            whole, part = "0", "." + "0" * -point + digits
        elif point >= len(digits):
            whole, part = digits + "0" * (point - len(digits)), ""
        else:
            whole, part = digits[:point], "." + digits[point:]
        exponent = "" if left == point else ("E" if getcontext().capitals else "e") + f"{left - point:+d}"
        return sign + whole + part + exponent

    def __repr__(self):
        return f"Decimal('{self}')"

    def __format__(self, spec, context=None):
        if not spec:
            return str(self)
        if self._special:
            width = spec.lstrip("<>^=+ 0").partition(".")[0].rstrip("fFeEgGn%,_")
            return str(self).rjust(int(width or "0")) + ("%" if spec[-1] == "%" else "")
        kind = spec[-1] if spec[-1].isalpha() or spec[-1] == "%" else ""
        head = spec[:-1] if kind else spec
        head, _, places = head.partition(".")
        places = int(places) if places else None
        shown = self
        if kind == "%":
            shown = _made(self._negative, self._number, self._exp + 2, self._special)
        if kind in ("f", "F", "%"):
            if places is not None:
                shown = shown._rescaled(-places, getcontext().rounding)
            elif shown._exp > 0:
                shown = shown._rescaled(0, ROUND_HALF_EVEN)
            digits = str(shown._number)
            count = -shown._exp
            if count > 0:
                digits = digits.rjust(count + 1, "0")
                whole, part = digits[:-count], "." + digits[-count:]
            else:
                whole, part = digits, ""
        elif kind == "" and places is None:
            text = str(self)
            whole, dot, part = text.removeprefix("-").partition(".")
            part = dot + part
        else:
            digits = len(str(self._number)) if places is None else places + 1 if kind in ("e", "E") else max(places, 1)
            for _ in range(2):
                # What is rounded up may have a digit more.
                if len(str(shown._number)) > digits:
                    shown = shown._rescaled(shown._exp + len(str(shown._number)) - digits, getcontext().rounding)
            if kind in ("e", "E"):
                text = str(shown._number)
                exponent = shown._exp + len(text) - 1
                text = text.ljust(digits, "0")
                whole, part = text[0], ("." + text[1:] if text[1:] else "") + f"{kind}{exponent:+d}"
            else:
                text = str(shown).removeprefix("-")
                whole, dot, part = (text.replace("E", "e") if kind == "g" else text).partition(".")
                part = dot + part
        if "," in head or "_" in head:
            mark = "," if "," in head else "_"
            if whole.isdigit():
                whole = f"{int(whole):{mark}}"
            head = head.replace(mark, "")
        text = whole + part + ("%" if kind == "%" else "")
        sign = "-" if shown._negative else "+" if "+" in head else " " if head.startswith(" ") else ""
        head = head.replace("+", "", 1)
        zeros = head.startswith("0") and head != "0"
        fill, align = " ", ">"
        if len(head) > 1 and head[1] in "<>^=":
            fill, align, head = head[0], head[1], head[2:]
        elif head[:1] in tuple("<>^="):
            align, head = head[0], head[1:]
        elif zeros:
            fill, align, head = "0", "=", head[1:]
        width = int(head.strip() or "0")
        if align == "=":
            return sign + text.rjust(width - len(sign), fill)
        text = sign + text
        return text.ljust(width, fill) if align == "<" else text.center(width, fill) if align == "^" else text.rjust(width, fill)

    def __reduce__(self):
        return self.__class__, (str(self),)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    @property
    def real(self):
        return self

    @property
    def imag(self):
        return Decimal(0)

    def conjugate(self):
        return self


def _not_a_number(*operands):
    """What comes of operands of which one is no number: a signalling one says so."""
    if any([operand._special == "sNaN" for operand in operands]):
        raise InvalidOperation([InvalidOperation])
    return _made(False, 0, 0, "NaN")


def _made(negative, number, exponent, special=None):
    made = object.__new__(Decimal)
    made._negative, made._number, made._exp, made._special = bool(negative), number, exponent, special
    return made


def _room(places):
    if places > 100000:
        raise InvalidOperation("exponents that are this far apart are not supported by this server")
    return places


def _converted(value):
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    return NotImplemented
