import time

__all__ = ("TqdmWarning", "asyncio", "auto", "autonotebook", "notebook", "std", "tqdm", "tqdm_notebook", "trange")


class TqdmWarning(Warning):
    pass


def _interval(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:d}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"


class tqdm:
    """Prints its line at most once a second, and at the end: nobody's terminal is here to draw a bar over itself."""

    def __init__(self, iterable=None, desc=None, total=None, leave=True, file=None, ncols=None, mininterval=1.0,
                 maxinterval=10.0, miniters=None, ascii=None, disable=False, unit="it", unit_scale=False,
                 dynamic_ncols=False, smoothing=0.3, bar_format=None, initial=0, position=None, postfix=None,
                 unit_divisor=1000, write_bytes=False, lock_args=None, nrows=None, colour=None, delay=0.0, gui=False,
                 **kwargs):
        if total is None and hasattr(iterable, "__len__"):
            total = len(iterable)
        self.iterable, self.desc, self.total, self.leave = iterable, f"{desc}: " if desc else "", total, leave
        self.disable, self.unit, self.n, self.initial = bool(disable), unit, initial, initial
        self.mininterval = max(float(mininterval), 1.0)
        self.postfix = None
        self._closed = False
        self.start_t = self.last_print_t = time.perf_counter()
        if postfix:
            self.set_postfix(refresh=False, **dict(postfix))

    def __len__(self):
        return self.total if self.iterable is None else len(self.iterable)

    def __bool__(self):
        return self.total is None or self.total > 0

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.close()

    def __iter__(self):
        try:
            for item in self.iterable:
                yield item
                self.update(1)
        finally:
            self.close()

    def update(self, n=1):
        self.n += n
        if self.disable:
            return None
        now = time.perf_counter()
        if now - self.last_print_t >= self.mininterval:
            self.last_print_t = now
            print(self)
            return True
        return None

    def close(self):
        if self._closed:
            return
        self._closed = True
        if not self.disable and self.leave:
            print(self)

    def refresh(self, nolock=False, lock_args=None):
        return self.update(0)

    def reset(self, total=None):
        self.n = 0
        if total is not None:
            self.total = total
        self.start_t = self.last_print_t = time.perf_counter()

    def clear(self, nolock=False):
        pass

    def set_description(self, desc=None, refresh=True):
        self.set_description_str(f"{desc}: " if desc else "", refresh)

    def set_description_str(self, desc=None, refresh=True):
        self.desc = desc or ""
        if refresh:
            self.refresh()

    def set_postfix(self, ordered_dict=None, refresh=True, **kwargs):
        values = dict(ordered_dict or {})
        values.update(kwargs)
        shown = []
        for key, value in values.items():
            if isinstance(value, float):
                value = f"{value:.3g}"
            shown.append(f"{key}={str(value).strip()}")
        self.set_postfix_str(", ".join(shown), refresh)

    def set_postfix_str(self, s="", refresh=True):
        self.postfix = str(s)
        if refresh:
            self.refresh()

    @property
    def format_dict(self):
        return {"n": self.n, "total": self.total, "elapsed": time.perf_counter() - self.start_t, "unit": self.unit}

    def __str__(self):
        elapsed = time.perf_counter() - self.start_t
        rate = (self.n - self.initial) / elapsed if elapsed else None
        speed = f"{rate:5.2f}{self.unit}/s" if rate is not None else f"?{self.unit}/s"
        extra = f", {self.postfix}" if self.postfix else ""
        if not self.total:
            return f"{self.desc}{self.n}{self.unit} [{_interval(elapsed)}, {speed}{extra}]"
        left = _interval((self.total - self.n) / rate) if rate else "?"
        if self.n >= self.total:
            left = "00:00"
        part = min(self.n / self.total, 1.0)
        bar = ("#" * int(part * 10)).ljust(10)
        return f"{self.desc}{part:4.0%}|{bar}| {self.n}/{self.total} [{_interval(elapsed)}<{left}, {speed}{extra}]"

    __repr__ = __str__

    @classmethod
    def write(cls, s, file=None, end="\n", nolock=False):
        if file is None:
            print(s, end=end)
        else:
            file.write(str(s) + end)

    @classmethod
    def pandas(cls, **kwargs):
        raise NotImplementedError("tqdm.pandas is not supported by this server, which has no pandas")


def trange(*args, **kwargs):
    return tqdm(range(*args), **kwargs)


tqdm_notebook = tqdm


class auto:
    TqdmWarning = TqdmWarning
    tqdm = tqdm
    tqdm_notebook = tqdm_notebook
    trange = trange


asyncio = autonotebook = notebook = std = auto
