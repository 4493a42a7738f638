from time import struct_time, time as _time

__all__ = ("MAXYEAR", "MINYEAR", "UTC", "date", "datetime", "time", "timedelta", "timezone", "tzinfo")

MINYEAR, MAXYEAR = 1, 9999

_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FULL_MONTHS = ("", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                "November", "December")
_WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FULL_WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _in_month(year, month):
    return 29 if month == 2 and _leap(year) else _DAYS[month]


def _before_year(year):
    year -= 1
    return year * 365 + year // 4 - year // 100 + year // 400


def _before_month(year, month):
    return sum(_DAYS[:month]) + (month > 2 and _leap(year))


def _ordinal(year, month, day):
    return _before_year(year) + _before_month(year, month) + day


def _of_ordinal(n):
    year = (n - 1) * 400 // 146097 + 1
    while _before_year(year + 1) < n:
        year += 1
    while _before_year(year) >= n:
        year -= 1
    day, month = n - _before_year(year), 1
    while day > _in_month(year, month):
        day -= _in_month(year, month)
        month += 1
    return year, month, day


def _whole(value):
    if isinstance(value, int):
        return int(value)
    if hasattr(value, "__index__"):
        return value.__index__()
    raise TypeError(f"'{type(value).__name__}' object cannot be interpreted as an integer")


def _check_date(year, month, day):
    year, month, day = _whole(year), _whole(month), _whole(day)
    if not MINYEAR <= year <= MAXYEAR:
        raise ValueError(f"year {year} is out of range")
    if not 1 <= month <= 12:
        raise ValueError("month must be in 1..12")
    if not 1 <= day <= _in_month(year, month):
        raise ValueError("day is out of range for month")
    return year, month, day


def _check_time(hour, minute, second, microsecond, fold):
    hour, minute, second, microsecond = _whole(hour), _whole(minute), _whole(second), _whole(microsecond)
    if not 0 <= hour <= 23:
        raise ValueError("hour must be in 0..23")
    if not 0 <= minute <= 59:
        raise ValueError("minute must be in 0..59")
    if not 0 <= second <= 59:
        raise ValueError("second must be in 0..59")
    if not 0 <= microsecond <= 999999:
        raise ValueError("microsecond must be in 0..999999")
    if fold not in (0, 1):
        raise ValueError("fold must be either 0 or 1")
    return hour, minute, second, microsecond


class timedelta:
    def __init__(self, days=0, seconds=0, microseconds=0, milliseconds=0, minutes=0, hours=0, weeks=0):
        days += weeks * 7
        seconds += minutes * 60 + hours * 3600
        microseconds += milliseconds * 1000
        total, rest = 0, 0.0
        for value, scale in ((days, 86400000000), (seconds, 1000000), (microseconds, 1)):
            if isinstance(value, float):
                whole = int(value)
                total += whole * scale
                rest += (value - whole) * scale
            else:
                total += value * scale
        self._set(total + round(rest))

    def _set(self, total):
        self.days, rest = divmod(total, 86400000000)
        self.seconds, self.microseconds = divmod(rest, 1000000)
        if abs(self.days) > 999999999:
            raise OverflowError(f"days={self.days}; must have magnitude <= 999999999")

    def __reduce__(self):
        return self.__class__, (self.days, self.seconds, self.microseconds)

    @property
    def _total(self):
        return (self.days * 86400 + self.seconds) * 1000000 + self.microseconds

    def total_seconds(self):
        return self._total / 10**6

    def __repr__(self):
        parts = [f"{name}={getattr(self, name)}" for name in ("days", "seconds", "microseconds") if getattr(self, name)]
        return f"datetime.timedelta({', '.join(parts) or '0'})"

    def __str__(self):
        minutes, seconds = divmod(self.seconds, 60)
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}:{minutes:02d}:{seconds:02d}"
        if self.days:
            text = f"{self.days} day{'' if abs(self.days) == 1 else 's'}, {text}"
        return text + (f".{self.microseconds:06d}" if self.microseconds else "")

    def __add__(self, other):
        return _delta(self._total + other._total) if isinstance(other, timedelta) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other):
        return _delta(self._total - other._total) if isinstance(other, timedelta) else NotImplemented

    def __rsub__(self, other):
        return _delta(other._total - self._total) if isinstance(other, timedelta) else NotImplemented

    def __neg__(self):
        return _delta(-self._total)

    def __pos__(self):
        return self

    def __abs__(self):
        return _delta(abs(self._total))

    def __mul__(self, other):
        if isinstance(other, int):
            return _delta(self._total * other)
        if isinstance(other, float):
            over, under = other.as_integer_ratio()
            return _delta(_rounded(self._total * over, under))
        return NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, other):
        if isinstance(other, timedelta):
            return self._total // other._total
        return _delta(self._total // other) if isinstance(other, int) else NotImplemented

    def __truediv__(self, other):
        if isinstance(other, timedelta):
            return self._total / other._total
        if isinstance(other, int):
            return _delta(_rounded(self._total, other))
        if isinstance(other, float):
            over, under = other.as_integer_ratio()
            return _delta(_rounded(under * self._total, over))
        return NotImplemented

    def __mod__(self, other):
        return _delta(self._total % other._total) if isinstance(other, timedelta) else NotImplemented

    def __divmod__(self, other):
        if not isinstance(other, timedelta):
            return NotImplemented
        times, rest = divmod(self._total, other._total)
        return times, _delta(rest)

    def __eq__(self, other):
        return self._total == other._total if isinstance(other, timedelta) else NotImplemented

    def __lt__(self, other):
        return self._total < other._total if isinstance(other, timedelta) else NotImplemented

    def __le__(self, other):
        return self._total <= other._total if isinstance(other, timedelta) else NotImplemented

    def __gt__(self, other):
        return self._total > other._total if isinstance(other, timedelta) else NotImplemented

    def __ge__(self, other):
        return self._total >= other._total if isinstance(other, timedelta) else NotImplemented

    def __hash__(self):
        return hash(self._total)

    def __bool__(self):
        return self._total != 0


def _rounded(over, under):
    """A quotient, rounded to the nearest, and halves to the even."""
    whole, rest = divmod(over, under)
    rest *= 2
    above = rest > under if under > 0 else rest < under
    return whole + 1 if above or rest == under and whole % 2 == 1 else whole


def _delta(total):
    made = timedelta()
    made._set(total)
    return made


timedelta.min = _delta(-999999999 * 86400000000)
timedelta.max = _delta(999999999 * 86400000000 + 86400000000 - 1)
timedelta.resolution = _delta(1)


class tzinfo:
    def tzname(self, dt):
        raise NotImplementedError("a tzinfo subclass must implement tzname()")

    def utcoffset(self, dt):
        raise NotImplementedError("a tzinfo subclass must implement utcoffset()")

    def dst(self, dt):
        raise NotImplementedError("a tzinfo subclass must implement dst()")

    def fromutc(self, dt):
        return dt + self.utcoffset(dt)


def _moment(asked, dt):
    """What a fixed offset is asked about changes nothing, but it is a moment."""
    if dt is not None and not isinstance(dt, datetime):
        raise TypeError(f"{asked}(dt) argument must be a datetime instance or None, not {type(dt).__name__}")


class timezone(tzinfo):
    def __init__(self, offset, name=None):
        if not isinstance(offset, timedelta):
            raise TypeError(f"timezone() argument 1 must be datetime.timedelta, not {type(offset).__name__}")
        if not timedelta(-1) < offset < timedelta(1):
            raise ValueError(
                "offset must be a timedelta strictly between -timedelta(hours=24) and timedelta(hours=24), not "
                f"{offset!r}."
            )
        self._offset, self._name = offset, name

    def utcoffset(self, dt):
        _moment("utcoffset", dt)
        return self._offset

    def dst(self, dt):
        _moment("dst", dt)
        return None

    def tzname(self, dt):
        _moment("tzname", dt)
        if self._name is not None:
            return self._name
        return "UTC" if not self._offset else "UTC" + _offset(self._offset)

    def __eq__(self, other):
        return self._offset == other._offset if isinstance(other, timezone) else NotImplemented

    def __hash__(self):
        return hash(self._offset)

    def __repr__(self):
        if not self._offset and self._name is None:
            return "datetime.timezone.utc"
        return f"datetime.timezone({self._offset!r}{'' if self._name is None else f', {self._name!r}'})"

    def __str__(self):
        return self.tzname(None)

    def __reduce__(self):
        return self.__class__, (self._offset,) if self._name is None else (self._offset, self._name)


timezone.utc = UTC = timezone(timedelta(0))
timezone.min, timezone.max = timezone(timedelta(minutes=-1439)), timezone(timedelta(minutes=1439))


def _offset(offset, between=":"):
    if offset is None:
        return ""
    sign = "-" if offset.days < 0 else "+"
    minutes, seconds = divmod(abs(offset).seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{sign}{hours:02d}{between}{minutes:02d}"
    return text + (f"{between}{seconds:02d}" if seconds else "")


def _formatted(self, format):
    """`strftime`, of whatever has the parts that are asked for."""
    year, month, day = getattr(self, "year", 1900), getattr(self, "month", 1), getattr(self, "day", 1)
    hour, minute, second = getattr(self, "hour", 0), getattr(self, "minute", 0), getattr(self, "second", 0)
    days = _ordinal(year, month, day)
    week, of_year = (days + 6) % 7, days - _before_year(year)
    iso_year, iso_week, _ = _iso_week(date(year, month, day))
    aware = self.utcoffset() if hasattr(self, "utcoffset") else None
    parts = {
        "Y": str(year), "m": f"{month:02d}", "d": f"{day:02d}", "H": f"{hour:02d}", "M": f"{minute:02d}",
        "S": f"{second:02d}", "f": f"{getattr(self, 'microsecond', 0):06d}", "y": f"{year % 100:02d}", "j": f"{of_year:03d}",
        "a": _WEEK[week], "A": _FULL_WEEK[week], "b": _MONTHS[month], "B": _FULL_MONTHS[month], "h": _MONTHS[month],
        "I": f"{(hour + 11) % 12 + 1:02d}", "p": "AM" if hour < 12 else "PM", "w": str((week + 1) % 7), "u": str(week + 1),
        "e": f"{day:2d}", "U": f"{(of_year + 6 - (week + 1) % 7) // 7:02d}", "W": f"{(of_year + 6 - week) // 7:02d}",
        "z": _offset(aware, ""), "Z": (self.tzname() or "") if aware is not None else "", "%": "%", "n": "\n", "t": "\t",
        "G": str(iso_year), "V": f"{iso_week:02d}", "g": f"{iso_year % 100:02d}",
        "s": "", "C": f"{year // 100:02d}",
    }
    parts["D"] = parts["x"] = f"{parts['m']}/{parts['d']}/{parts['y']}"
    parts["T"] = parts["X"] = f"{parts['H']}:{parts['M']}:{parts['S']}"
    parts["F"] = f"{year}-{parts['m']}-{parts['d']}"
    parts["R"] = f"{parts['H']}:{parts['M']}"
    parts["c"] = f"{parts['a']} {parts['b']} {day:2d} {parts['T']} {year}"
    out, at = [], 0
    while at < len(format):
        char = format[at]
        if char != "%" or at + 1 == len(format):
            out.append(char)
            at += 1
            continue
        code = format[at + 1]
        out.append(parts.get(code, "%" + code))
        at += 2
    return "".join(out)


class IsoCalendarDate(tuple):
    def __new__(cls, year, week, weekday):
        return tuple.__new__(cls, (year, week, weekday))

    year = property(lambda self: self[0])
    week = property(lambda self: self[1])
    weekday = property(lambda self: self[2])

    def __repr__(self):
        return f"datetime.IsoCalendarDate(year={self[0]}, week={self[1]}, weekday={self[2]})"


def _struct_time(d):
    day = d.toordinal() - _ordinal(d.year, 1, 1) + 1
    clock = (d.hour, d.minute, d.second) if isinstance(d, datetime) else (0, 0, 0)
    return struct_time((d.year, d.month, d.day, *clock, d.weekday(), day, -1))


def _iso_week(d):
    """The year, the week and the day that a day has where weeks are counted."""
    n = d.toordinal()
    thursday = n - d.weekday() + 3
    year = _of_ordinal(thursday)[0]
    return year, (thursday - _ordinal(year, 1, 1)) // 7 + 1, d.weekday() + 1


def _pickled_date(year, month, day):
    return bytes([year // 256, year % 256, month, day])


def _pickled_time(hour, minute, second, microsecond):
    return bytes([hour, minute, second, microsecond >> 16, microsecond >> 8 & 255, microsecond & 255])


def _unpickled_time(state):
    return state[0], state[1], state[2], state[3] << 16 | state[4] << 8 | state[5]


class date:
    def __init__(self, year, month=None, day=None):
        if isinstance(year, bytes) and len(year) == 4 and month is None:
            year, month, day = year[0] * 256 + year[1], year[2], year[3]
        if month is None or day is None:
            raise TypeError("function missing required argument 'month' (pos 2)" if month is None else
                            "function missing required argument 'day' (pos 3)")
        self.year, self.month, self.day = _check_date(year, month, day)

    @classmethod
    def fromordinal(cls, n):
        return cls(*_of_ordinal(n))

    @classmethod
    def fromisoformat(cls, text):
        year, month, day = _iso_date(text)
        return cls(year, month, day)

    @classmethod
    def today(cls):
        return cls.fromtimestamp(_time())

    @classmethod
    def fromtimestamp(cls, timestamp):
        return cls(1970, 1, 1) + timedelta(seconds=timestamp)

    def __reduce__(self):
        return self.__class__, (_pickled_date(self.year, self.month, self.day),)

    def toordinal(self):
        return _ordinal(self.year, self.month, self.day)

    def weekday(self):
        return (self.toordinal() + 6) % 7

    def isocalendar(self):
        return IsoCalendarDate(*_iso_week(self))

    @classmethod
    def fromisocalendar(cls, year, week, day):
        first = _ordinal(year, 1, 4)
        monday = first - (first + 6) % 7
        following = _ordinal(year + 1, 1, 4)
        weeks = (following - (following + 6) % 7 - monday) // 7
        if not 1 <= week <= weeks:
            raise ValueError(f"Invalid week: {week}")
        if not 1 <= day <= 7:
            raise ValueError(f"Invalid weekday: {day} (range is [1, 7])")
        return cls.fromordinal(monday + (week - 1) * 7 + day - 1)

    def timetuple(self):
        return _struct_time(self)

    def isoweekday(self):
        return self.toordinal() % 7 or 7

    def isoformat(self):
        return f"{self.year:04d}-{self.month:02d}-{self.day:02d}"

    def strftime(self, format):
        return _formatted(self, format)

    def __format__(self, spec):
        return self.strftime(spec) if spec else str(self)

    def replace(self, year=None, month=None, day=None):
        return type(self)(self.year if year is None else year, self.month if month is None else month,
                          self.day if day is None else day)

    def ctime(self):
        return f"{_WEEK[self.weekday()]} {_MONTHS[self.month]} {self.day:2d} 00:00:00 {self.year:04d}"

    def __repr__(self):
        return f"datetime.date({self.year}, {self.month}, {self.day})"

    def __str__(self):
        return self.isoformat()

    def __add__(self, other):
        if not isinstance(other, timedelta):
            return NotImplemented
        n = self.toordinal() + other.days
        if not 0 < n <= 3652059:
            raise OverflowError("date value out of range")
        return type(self).fromordinal(n)

    __radd__ = __add__

    def __sub__(self, other):
        if isinstance(other, timedelta):
            return self + timedelta(-other.days)
        if isinstance(other, date):
            return timedelta(self.toordinal() - other.toordinal())
        return NotImplemented

    def _key(self):
        return (self.year, self.month, self.day)

    def _other(self, other):
        return isinstance(other, date) and not isinstance(other, datetime)

    def __eq__(self, other):
        return self._key() == other._key() if self._other(other) else NotImplemented

    def __lt__(self, other):
        return self._key() < other._key() if self._other(other) else NotImplemented

    def __le__(self, other):
        return self._key() <= other._key() if self._other(other) else NotImplemented

    def __gt__(self, other):
        return self._key() > other._key() if self._other(other) else NotImplemented

    def __ge__(self, other):
        return self._key() >= other._key() if self._other(other) else NotImplemented

    def __hash__(self):
        return hash(self._key())


date.min, date.max, date.resolution = date(1, 1, 1), date(9999, 12, 31), timedelta(1)


def _iso_date(text):
    wrong = ValueError(f"Invalid isoformat string: {text!r}")
    if not isinstance(text, str):
        raise TypeError("fromisoformat: argument must be str")
    parts = text.split("-") if "-" in text else [text[:4], text[4:6], text[6:]]
    if [len(part) for part in parts] != [4, 2, 2] or not all(part.isdigit() for part in parts):
        raise wrong
    return [int(part) for part in parts]


def _iso_time(text, whole):
    wrong = ValueError(f"Invalid isoformat string: {whole!r}")
    zone = None
    for mark in ("Z", "+", "-"):
        at = text.find(mark)
        if at >= 0:
            body, sign = text[at + 1:], -1 if mark == "-" else 1
            if mark == "Z":
                zone = timezone.utc
            else:
                digits = body.replace(":", "")
                if len(digits) not in (2, 4, 6) or not digits.isdigit():
                    raise wrong
                digits += "0" * (6 - len(digits))
                zone = timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:])))
                if not zone._offset:
                    zone = timezone.utc
            text = text[:at]
            break
    text, dot, part = text.replace(",", ".").partition(".")
    digits = text.replace(":", "")
    if len(digits) not in (2, 4, 6) or not digits.isdigit() or dot and not (part.isdigit() and part):
        raise wrong
    digits += "0" * (6 - len(digits))
    return int(digits[:2]), int(digits[2:4]), int(digits[4:]), int((part + "000000")[:6]), zone


class time:
    def __init__(self, hour=0, minute=0, second=0, microsecond=0, tzinfo=None, *, fold=0):
        if isinstance(hour, bytes) and len(hour) == 6:
            # As Python pickles it, where a fold is the highest bit of the hour.
            state, tzinfo = hour, minute or None
            fold = state[0] >> 7
            hour, minute, second, microsecond = _unpickled_time(bytes([state[0] & 127]) + state[1:])
        self.hour, self.minute, self.second, self.microsecond = _check_time(hour, minute, second, microsecond, fold)
        self.tzinfo, self.fold = tzinfo, fold

    @classmethod
    def fromisoformat(cls, text):
        return cls(*_iso_time(text.removeprefix("T"), text))

    def __reduce__(self):
        state = _pickled_time(self.hour | self.fold << 7, self.minute, self.second, self.microsecond)
        return self.__class__, (state,) if self.tzinfo is None else (state, self.tzinfo)

    def utcoffset(self):
        return None if self.tzinfo is None else self.tzinfo.utcoffset(None)

    def tzname(self):
        return None if self.tzinfo is None else self.tzinfo.tzname(None)

    def isoformat(self, timespec="auto"):
        return _iso_text(self, timespec) + _offset(self.utcoffset())

    def strftime(self, format):
        return _formatted(self, format)

    def __format__(self, spec):
        return self.strftime(spec) if spec else str(self)

    def replace(self, hour=None, minute=None, second=None, microsecond=None, tzinfo=True, *, fold=None):
        return type(self)(self.hour if hour is None else hour, self.minute if minute is None else minute,
                          self.second if second is None else second,
                          self.microsecond if microsecond is None else microsecond,
                          self.tzinfo if tzinfo is True else tzinfo, fold=self.fold if fold is None else fold)

    def __str__(self):
        return self.isoformat()

    def __repr__(self):
        text = f"{self.hour}, {self.minute}"
        if self.microsecond:
            text += f", {self.second}, {self.microsecond}"
        elif self.second:
            text += f", {self.second}"
        zone = f", tzinfo={self.tzinfo!r}" if self.tzinfo is not None else ""
        return f"datetime.time({text}{zone})"

    def _key(self):
        offset = self.utcoffset()
        total = ((self.hour * 60 + self.minute) * 60 + self.second) * 1000000 + self.microsecond
        return total if offset is None else total - offset._total

    def __eq__(self, other):
        return self._key() == other._key() if isinstance(other, time) else NotImplemented

    def __lt__(self, other):
        return self._key() < other._key() if isinstance(other, time) else NotImplemented

    def __le__(self, other):
        return self._key() <= other._key() if isinstance(other, time) else NotImplemented

    def __gt__(self, other):
        return self._key() > other._key() if isinstance(other, time) else NotImplemented

    def __ge__(self, other):
        return self._key() >= other._key() if isinstance(other, time) else NotImplemented

    def __hash__(self):
        return hash(self._key())


time.min, time.max, time.resolution = time(0, 0), time(23, 59, 59, 999999), timedelta(microseconds=1)


def _iso_text(self, timespec):
    text = f"{self.hour:02d}:{self.minute:02d}"
    seconds = f"{text}:{self.second:02d}"
    if timespec == "auto":
        timespec = "microseconds" if self.microsecond else "seconds"
    found = {"hours": f"{self.hour:02d}", "minutes": text, "seconds": seconds,
             "milliseconds": f"{seconds}.{self.microsecond // 1000:03d}",
             "microseconds": f"{seconds}.{self.microsecond:06d}"}
    if timespec not in found:
        raise ValueError("Unknown timespec value")
    return found[timespec]


class datetime(date):
    def __init__(self, year, month=None, day=None, hour=0, minute=0, second=0, microsecond=0, tzinfo=None, *, fold=0):
        if isinstance(year, bytes) and len(year) == 10:
            # As Python pickles it, where a fold is the highest bit of the month.
            state, tzinfo = year, month
            fold = state[2] >> 7
            year, month, day = state[0] * 256 + state[1], state[2] & 127, state[3]
            hour, minute, second, microsecond = _unpickled_time(state[4:])
        super().__init__(year, month, day)
        self.hour, self.minute, self.second, self.microsecond = _check_time(hour, minute, second, microsecond, fold)
        self.tzinfo, self.fold = tzinfo, fold

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(_time(), tz)

    @classmethod
    def utcnow(cls):
        return cls.now()

    @classmethod
    def fromtimestamp(cls, timestamp, tz=None):
        made = cls(1970, 1, 1) + timedelta(seconds=timestamp)
        if tz is None:
            return made
        return tz.fromutc(made.replace(tzinfo=tz))

    @classmethod
    def utcfromtimestamp(cls, timestamp):
        return cls.fromtimestamp(timestamp)

    @classmethod
    def combine(cls, date, time, tzinfo=True):
        return cls(date.year, date.month, date.day, time.hour, time.minute, time.second, time.microsecond,
                   time.tzinfo if tzinfo is True else tzinfo, fold=time.fold)

    @classmethod
    def fromisoformat(cls, text):
        if not isinstance(text, str):
            raise TypeError("fromisoformat: argument must be str")
        size = 10 if "-" in text[:8] else 8
        try:
            year, month, day = _iso_date(text[:size])
        except ValueError:
            raise ValueError(f"Invalid isoformat string: {text!r}") from None
        if len(text) == size:
            return cls(year, month, day)
        hour, minute, second, microsecond, zone = _iso_time(text[size + 1:], text)
        return cls(year, month, day, hour, minute, second, microsecond, zone)

    @classmethod
    def strptime(cls, text, format):
        return cls(*_parsed(text, format))

    def date(self):
        return date(self.year, self.month, self.day)

    def time(self):
        return time(self.hour, self.minute, self.second, self.microsecond, fold=self.fold)

    def timetz(self):
        return time(self.hour, self.minute, self.second, self.microsecond, self.tzinfo, fold=self.fold)

    def __reduce__(self):
        state = _pickled_date(self.year, self.month | self.fold << 7, self.day)
        state += _pickled_time(self.hour, self.minute, self.second, self.microsecond)
        return self.__class__, (state,) if self.tzinfo is None else (state, self.tzinfo)

    def utcoffset(self):
        return None if self.tzinfo is None else self.tzinfo.utcoffset(self)

    def tzname(self):
        return None if self.tzinfo is None else self.tzinfo.tzname(self)

    def dst(self):
        return None if self.tzinfo is None else self.tzinfo.dst(self)

    def timestamp(self):
        return (self - datetime(1970, 1, 1, tzinfo=None if self.tzinfo is None else timezone.utc)).total_seconds()

    def astimezone(self, tz=None):
        tz = timezone.utc if tz is None else tz
        offset = self.utcoffset() or timedelta(0)
        return tz.fromutc((self - offset).replace(tzinfo=tz))

    def replace(self, year=None, month=None, day=None, hour=None, minute=None, second=None, microsecond=None, tzinfo=True,
                *, fold=None):
        given = (year, month, day, hour, minute, second, microsecond)
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        parts = [getattr(self, name) if value is None else value for name, value in zip(names, given)]
        return type(self)(*parts, self.tzinfo if tzinfo is True else tzinfo, fold=self.fold if fold is None else fold)

    def isoformat(self, sep="T", timespec="auto"):
        return f"{super().isoformat()}{sep}{_iso_text(self, timespec)}{_offset(self.utcoffset())}"

    def ctime(self):
        return (f"{_WEEK[self.weekday()]} {_MONTHS[self.month]} {self.day:2d} {self.hour:02d}:{self.minute:02d}:"
                f"{self.second:02d} {self.year:04d}")

    def __repr__(self):
        parts = [self.year, self.month, self.day, self.hour, self.minute, self.second, self.microsecond]
        while len(parts) > 5 and parts[-1] == 0:
            parts.pop()
        zone = f", tzinfo={self.tzinfo!r}" if self.tzinfo is not None else ""
        return f"datetime.datetime({', '.join([str(part) for part in parts])}{zone})"

    def __str__(self):
        return self.isoformat(" ")

    def _total(self):
        return (self.toordinal() * 86400 + self.hour * 3600 + self.minute * 60 + self.second) * 1000000 + self.microsecond

    def __add__(self, other):
        if not isinstance(other, timedelta):
            return NotImplemented
        days, rest = divmod(self._total() + other._total, 86400000000)
        if not 0 < days <= 3652059:
            raise OverflowError("date value out of range")
        seconds, microsecond = divmod(rest, 1000000)
        hour, seconds = divmod(seconds, 3600)
        return type(self)(*_of_ordinal(days), hour, seconds // 60, seconds % 60, microsecond, self.tzinfo)

    __radd__ = __add__

    def __sub__(self, other):
        if isinstance(other, timedelta):
            return self + -other
        if not isinstance(other, datetime):
            return NotImplemented
        mine, others = self.utcoffset(), other.utcoffset()
        if (mine is None) != (others is None):
            raise TypeError("can't subtract offset-naive and offset-aware datetimes")
        found = _delta(self._total() - other._total())
        return found if mine is None else found + others - mine

    def _key(self):
        offset = self.utcoffset()
        return (offset is not None, self._total() - (0 if offset is None else offset._total))

    def _other(self, other):
        return isinstance(other, datetime)

    def _ordered(self, other):
        if not isinstance(other, datetime):
            return False
        if (self.utcoffset() is None) != (other.utcoffset() is None):
            raise TypeError("can't compare offset-naive and offset-aware datetimes")
        return True

    def __lt__(self, other):
        return self._key() < other._key() if self._ordered(other) else NotImplemented

    def __le__(self, other):
        return self._key() <= other._key() if self._ordered(other) else NotImplemented

    def __gt__(self, other):
        return self._key() > other._key() if self._ordered(other) else NotImplemented

    def __ge__(self, other):
        return self._key() >= other._key() if self._ordered(other) else NotImplemented

    def __eq__(self, other):
        return self._key() == other._key() if isinstance(other, datetime) else NotImplemented

    def __hash__(self):
        return hash(self._key())


datetime.min, datetime.max = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)
datetime.resolution = timedelta(microseconds=1)

_SIZES = {"Y": (4, 4), "m": (1, 2), "d": (1, 2), "H": (1, 2), "I": (1, 2), "M": (1, 2), "S": (1, 2), "f": (1, 6), "y": (2, 2),
          "j": (1, 3)}


def _parsed(text, format):
    wrong = ValueError(f"time data {text!r} does not match format {format!r}")
    found, zone, at, place = {}, None, 0, 0
    format = format.replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d").replace("%D", "%m/%d/%y").replace("%R", "%H:%M")
    while place < len(format):
        char = format[place]
        if char != "%":
            if char.isspace():
                while at < len(text) and text[at].isspace():
                    at += 1
            elif at < len(text) and text[at] == char:
                at += 1
            else:
                raise wrong
            place += 1
            continue
        code = format[place + 1] if place + 1 < len(format) else ""
        place += 2
        if code in _SIZES:
            least, most = _SIZES[code]
            end = at
            while end < len(text) and end - at < most and text[end].isdigit():
                end += 1
            if end - at < least:
                raise wrong
            digits = text[at:end]
            found[code] = int(digits + "0" * (6 - len(digits))) if code == "f" else int(digits)
            at = end
        elif code in "bBaAph" and code:
            names = {"b": _MONTHS, "h": _MONTHS, "B": _FULL_MONTHS, "a": _WEEK, "A": _FULL_WEEK, "p": ("AM", "PM")}[code]
            for number, name in enumerate(names):
                if name and text[at:at + len(name)].lower() == name.lower():
                    found[code] = number
                    at += len(name)
                    break
            else:
                raise wrong
        elif code == "z":
            if text[at:at + 1] == "Z":
                zone, at = timezone.utc, at + 1
            else:
                end = at + 1
                while end < len(text) and (text[end].isdigit() or text[end] == ":"):
                    end += 1
                digits = text[at + 1:end].replace(":", "")
                if text[at:at + 1] not in ("+", "-") or len(digits) not in (4, 6):
                    raise wrong
                sign = -1 if text[at] == "-" else 1
                zone = timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]),
                                                 seconds=int(digits[4:] or "0")))
                at = end
        elif code == "%":
            if text[at:at + 1] != "%":
                raise wrong
            at += 1
        else:
            raise ValueError(f"'{code}' is a bad directive in format {format!r}")
    if at != len(text):
        raise ValueError(f"unconverted data remains: {text[at:]}")
    year = found.get("Y", 1900)
    if "y" in found:
        year = found["y"] + (2000 if found["y"] < 69 else 1900)
    month = found.get("m") or found.get("b") or found.get("B") or found.get("h") or 1
    day = found.get("d", 1)
    hour = found.get("H", 0)
    if "I" in found:
        hour = found["I"] % 12 + (12 if found.get("p") == 1 else 0)
    if "j" in found and "m" not in found:
        year, month, day = _of_ordinal(_before_year(year) + found["j"])
    return year, month, day, hour, found.get("M", 0), found.get("S", 0), found.get("f", 0), zone
