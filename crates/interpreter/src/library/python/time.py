__all__ = (
    "asctime", "ctime", "gmtime", "localtime", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
    "process_time_ns", "sleep", "strftime", "struct_time", "time", "time_ns",
)


class struct_time(tuple):
    """The parts of a moment."""
    _names = ("tm_year", "tm_mon", "tm_mday", "tm_hour", "tm_min", "tm_sec", "tm_wday", "tm_yday", "tm_isdst")

    def __getattr__(self, name):
        if name in self._names:
            return self[self._names.index(name)]
        raise AttributeError(f"'time.struct_time' object has no attribute '{name}'")

    def __repr__(self):
        return f"time.struct_time({', '.join([f'{name}={value}' for name, value in zip(self._names, self)])})"


# All clocks are one: the time that the job's own code has had, in hundredths of a second. The time of day is when the job
# began, and that time since.


def perf_counter():
    return _clock()


def perf_counter_ns():
    return int(_clock() * 100) * 10_000_000


def time():
    return _began() + _clock()


def time_ns():
    return round(time() * 100) * 10_000_000


def sleep(seconds, /):
    raise NotImplementedError(
        f"time.sleep({seconds!r}) is not supported by this server: a block that waits would keep others waiting"
    )


def _moment(seconds):
    from datetime import datetime
    return datetime.fromtimestamp(time() if seconds is None else seconds // 1)


def gmtime(seconds=None, /):
    return struct_time((*_moment(seconds).timetuple()[:8], 0))


def _of_parts(parts):
    from datetime import datetime
    return datetime(*(localtime() if parts is None else parts)[:6])


def strftime(format, parts=None, /):
    return _of_parts(parts).strftime(format)


def asctime(parts=None, /):
    return strftime("%c", parts)


def ctime(seconds=None, /):
    return asctime(localtime(seconds))


# The zone is UTC.
localtime = gmtime
monotonic = process_time = perf_counter
monotonic_ns = process_time_ns = perf_counter_ns
