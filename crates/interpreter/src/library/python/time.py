__all__ = (
    "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "process_time_ns", "sleep", "time",
    "time_ns",
)

# All clocks are one: the time that the job's own code has had, in hundredths of a second.


def perf_counter():
    return _clock()


def perf_counter_ns():
    return int(_clock() * 100) * 10_000_000


def sleep(seconds, /):
    raise NotImplementedError("time.sleep is not supported by this server: a block that waits would keep others waiting")


monotonic = process_time = time = perf_counter
monotonic_ns = process_time_ns = time_ns = perf_counter_ns
