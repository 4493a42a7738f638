import math

__all__ = (
    "StatisticsError", "correlation", "covariance", "fmean", "geometric_mean", "mean", "median", "median_high",
    "median_low", "mode", "multimode", "pstdev", "pvariance", "quantiles", "stdev", "variance",
)


class StatisticsError(ValueError):
    pass


def _ratio(x):
    """Gives a number as numerator and denominator; the denominator of what no fraction is equal to is None."""
    if isinstance(x, (str, bytes)) or x is None:
        raise TypeError(f"can't convert type '{type(x).__name__}' to numerator/denominator")
    if isinstance(x, int):
        return int(x), 1
    x = float(x)
    return x.as_integer_ratio() if math.isfinite(x) else (x, None)


class _Sums:
    """Exact sums of numbers and of their squares: numerators over one denominator, which is a power of two."""

    def __init__(self, data, squares=False):
        sums, squared = {}, {}
        self.count, self.whole = 0, True
        for x in data:
            n, d = _ratio(x)
            sums[d] = sums.get(d, 0) + n
            if squares:
                squared[d] = squared.get(d, 0) + n * n
            self.count += 1
            self.whole = self.whole and isinstance(x, int)
        self.special = sums.pop(None, None)
        squared.pop(None, None)
        self.over = max(sums, default=1)
        self.sum = sum([n * (self.over // d) for d, n in sums.items()])
        self.squares = sum([n * (self.over // d) ** 2 for d, n in squared.items()])

    def shaped(self, numerator, denominator):
        """Gives a quotient as an integer where all numbers were integers and it is one."""
        if self.whole and numerator % denominator == 0:
            return numerator // denominator
        return numerator / denominator


def _deviation(name, data, center, freedom):
    """Gives the sums of data, and the sum of squared distances from the center, over their number less the freedom."""
    if center is not None:
        sums = _Sums([(x - center) * (x - center) for x in data])
        numerator, denominator = sums.sum, sums.over
    else:
        sums = _Sums(data, squares=True)
        numerator, denominator = sums.count * sums.squares - sums.sum ** 2, sums.over ** 2 * sums.count
    if sums.count <= freedom:
        needed = "two data points" if freedom else "one data point"
        raise StatisticsError(f"{name} requires at least {needed}")
    return sums, numerator, denominator * (sums.count - freedom)


def _root(numerator, denominator):
    """Gives the square root of a fraction, rounded once: two bits more than a float has, and one for what is cut off."""
    shift = (numerator.bit_length() - denominator.bit_length() - 109) // 2
    if shift >= 0:
        quotient, rest = divmod(numerator, denominator << 2 * shift)
    else:
        quotient, rest = divmod(numerator << -2 * shift, denominator)
    root = math.isqrt(quotient)
    root |= rest != 0 or root * root != quotient
    return (root << shift) / 1 if shift >= 0 else root / (1 << -shift)


def mean(data):
    sums = _Sums(data)
    if sums.count < 1:
        raise StatisticsError("mean requires at least one data point")
    return sums.shaped(sums.sum, sums.over * sums.count) if sums.special is None else sums.special


def fmean(data, weights=None):
    data = list(data)
    if weights is None:
        if not data:
            raise StatisticsError("fmean requires at least one data point")
        return math.fsum(data) / len(data)
    weights = list(weights)
    if len(data) != len(weights):
        raise StatisticsError("data and weights must be the same length")
    total = math.fsum(weights)
    if not total:
        raise StatisticsError("sum of weights must be non-zero")
    return math.fsum([x * weight for x, weight in zip(data, weights)]) / total


def geometric_mean(data):
    try:
        return math.exp(fmean([math.log(x) for x in data]))
    except ValueError:
        raise StatisticsError("geometric mean requires a non-empty dataset containing positive numbers") from None


def pvariance(data, mu=None):
    sums, numerator, denominator = _deviation("pvariance", data, mu, 0)
    return sums.shaped(numerator, denominator) if sums.special is None else sums.special


def variance(data, xbar=None):
    sums, numerator, denominator = _deviation("variance", data, xbar, 1)
    return sums.shaped(numerator, denominator) if sums.special is None else sums.special


def pstdev(data, mu=None):
    sums, numerator, denominator = _deviation("pstdev", data, mu, 0)
    return _root(numerator, denominator) if sums.special is None else math.nan


def stdev(data, xbar=None):
    sums, numerator, denominator = _deviation("stdev", data, xbar, 1)
    return _root(numerator, denominator) if sums.special is None else math.nan


def _ordered(data):
    data = sorted(data)
    if not data:
        raise StatisticsError("no median for empty data")
    return data


def median(data):
    data = _ordered(data)
    middle = len(data) // 2
    return data[middle] if len(data) % 2 else (data[middle - 1] + data[middle]) / 2


def median_low(data):
    data = _ordered(data)
    return data[(len(data) - 1) // 2]


def median_high(data):
    data = _ordered(data)
    return data[len(data) // 2]


def mode(data):
    most = multimode(data)
    if not most:
        raise StatisticsError("no mode for empty data")
    return most[0]


def multimode(data):
    counts = Counter(iter(data))
    most = max(counts.values(), default=0)
    return [value for value, count in counts.items() if count == most]


def quantiles(data, *, n=4, method="exclusive"):
    if n < 1:
        raise StatisticsError("n must be at least 1")
    data = sorted(data)
    if len(data) < 2:
        raise StatisticsError("must have at least two data points")
    if method not in ("inclusive", "exclusive"):
        raise ValueError(f"Unknown method: {method!r}")
    inclusive = method == "inclusive"
    steps = len(data) - 1 if inclusive else len(data) + 1
    found = []
    for i in range(1, n):
        j, delta = divmod(i * steps, n)
        if not inclusive:
            j = min(max(j, 1), len(data) - 1) - 1
            delta = i * steps - (j + 1) * n
        found.append((data[j] * (n - delta) + data[j + 1] * delta) / n)
    return found


def _pairs(name, x, y):
    if len(y) != len(x):
        raise StatisticsError(f"{name} requires that both inputs have same number of data points")
    if len(x) < 2:
        raise StatisticsError(f"{name} requires at least two data points")
    return _distances(x), _distances(y)


def _distances(data):
    center = math.fsum(data) / len(data)
    return [value - center for value in data]


def _product(left, right):
    return math.fsum([a * b for a, b in zip(left, right)])


def covariance(x, y, /):
    left, right = _pairs("covariance", x, y)
    return _product(left, right) / (len(left) - 1)


def correlation(x, y, /):
    left, right = _pairs("correlation", x, y)
    try:
        return _product(left, right) / math.sqrt(_product(left, left) * _product(right, right))
    except ZeroDivisionError:
        raise StatisticsError("at least one of the inputs is constant") from None
