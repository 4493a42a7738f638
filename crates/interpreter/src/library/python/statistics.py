import math

__all__ = (
    "LinearRegression", "NormalDist", "StatisticsError", "correlation", "covariance", "fmean", "geometric_mean",
    "harmonic_mean", "linear_regression", "mean", "median", "median_grouped", "median_high", "median_low", "mode", "multimode",
    "pstdev", "pvariance", "quantiles", "stdev", "variance",
)


class StatisticsError(ValueError):
    pass


def _ratio(x):
    """Gives a number as numerator and denominator; the denominator of what no fraction is equal to is None."""
    if isinstance(x, (str, bytes)) or x is None:
        raise TypeError(f"can't convert type '{type(x).__name__}' to numerator/denominator")
    if isinstance(x, int):
        return int(x), 1
    if not isinstance(x, float) and hasattr(x, "as_integer_ratio"):
        try:
            return x.as_integer_ratio()
        except (OverflowError, ValueError):
            return x, None
    x = float(x)
    return x.as_integer_ratio() if math.isfinite(x) else (x, None)


class _Sums:
    """Exact sums of numbers and of their squares: numerators over one denominator, which is a power of two."""

    def __init__(self, data, squares=False):
        sums, squared = {}, {}
        self.count, self.whole, self.kind = 0, True, None
        for x in data:
            n, d = _ratio(x)
            sums[d] = sums.get(d, 0) + n
            if squares:
                squared[d] = squared.get(d, 0) + n * n
            self.count += 1
            self.whole = self.whole and isinstance(x, int)
            if not isinstance(x, (int, float)) and type(x).__name__ in ("Fraction", "Decimal"):
                self.kind = type(x)
        self.special = sums.pop(None, None)
        squared.pop(None, None)
        self.over = max(sums, default=1) if self.kind is None else math.lcm(*sums)
        self.sum = sum([n * (self.over // d) for d, n in sums.items()])
        self.squares = sum([n * (self.over // d) ** 2 for d, n in squared.items()])

    def shaped(self, numerator, denominator):
        """Gives a quotient as an integer where all numbers were integers and it is one."""
        if self.kind is not None:
            return self.kind(numerator) / self.kind(denominator)
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


def harmonic_mean(data, weights=None):
    data = list(data)
    if not data:
        raise StatisticsError("harmonic_mean requires at least one data point")
    if any(x < 0 for x in data):
        raise StatisticsError("harmonic mean does not support negative values")
    weights = [1] * len(data) if weights is None else list(weights)
    if len(weights) != len(data):
        raise StatisticsError("Number of weights does not match data size")
    if 0 in data:
        return 0
    if len(data) == 1:
        return data[0]
    over, under, total = 0, 1, _Sums(weights)
    for x, weight in zip(data, weights):
        (n, d), (p, q) = _ratio(x), _ratio(weight)
        over, under = over * n * q + p * d * under, under * n * q
    kind = _Sums(data).kind
    if kind is not None:
        return kind(total.sum * under) / kind(total.over * over)
    return (total.sum * under) / (total.over * over)


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


def median_grouped(data, interval=1.0):
    data = sorted(data)
    if not data:
        raise StatisticsError("no median for empty data")
    middle = data[len(data) // 2]
    below = len([x for x in data if x < middle])
    count = data.count(middle)
    return float(middle) - float(interval) / 2.0 + float(interval) * (len(data) / 2 - below) / count


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


class LinearRegression(tuple):
    _fields = ("slope", "intercept")

    def __new__(cls, slope, intercept):
        return tuple.__new__(cls, (slope, intercept))

    slope = property(lambda self: self[0])
    intercept = property(lambda self: self[1])

    def __repr__(self):
        return f"LinearRegression(slope={self[0]!r}, intercept={self[1]!r})"


def linear_regression(x, y, /, *, proportional=False):
    if len(y) != len(x):
        raise StatisticsError("linear regression requires that both inputs have same number of data points")
    if len(x) < 2:
        raise StatisticsError("linear regression requires at least two data points")
    left, right = (x, y) if proportional else (_distances(x), _distances(y))
    try:
        slope = (_product(left, right) + 0.0) / _product(left, left)
    except ZeroDivisionError:
        raise StatisticsError("x is constant") from None
    if proportional:
        return LinearRegression(slope, 0.0)
    return LinearRegression(slope, math.fsum(y) / len(y) - slope * (math.fsum(x) / len(x)))


class NormalDist:
    """A normal distribution, to look at and to add up."""

    def __init__(self, mu=0.0, sigma=1.0):
        if sigma < 0.0:
            raise StatisticsError("sigma must be non-negative")
        self._mu, self._sigma = float(mu), float(sigma)

    @classmethod
    def from_samples(cls, data):
        data = list(data)
        return cls(fmean(data), stdev(data))

    mean = median = mode = property(lambda self: self._mu)
    stdev = property(lambda self: self._sigma)
    variance = property(lambda self: self._sigma * self._sigma)

    def samples(self, n, *, seed=None):
        from random import Random

        if seed is None:
            raise TypeError("NormalDist.samples() without a seed is not supported by this server: give seed=")
        gauss = Random(seed).gauss
        return [gauss(self._mu, self._sigma) for _ in range(n)]

    def pdf(self, x):
        variance, distance = self._sigma * self._sigma, x - self._mu
        if not variance:
            raise StatisticsError("pdf() not defined when sigma is zero")
        return math.exp(distance * distance / (-2.0 * variance)) / math.sqrt(2.0 * math.pi * variance)

    def cdf(self, x):
        if not self._sigma:
            raise StatisticsError("cdf() not defined when sigma is zero")
        return 0.5 * (1.0 + math.erf((x - self._mu) / (self._sigma * math.sqrt(2.0))))

    def inv_cdf(self, p):
        if p <= 0.0 or p >= 1.0:
            raise StatisticsError("p must be in the range 0.0 < p < 1.0")
        return _quantile(p, self._mu, self._sigma)

    def quantiles(self, n=4):
        return [self.inv_cdf(i / n) for i in range(1, n)]

    def zscore(self, x):
        if not self._sigma:
            raise StatisticsError("zscore() not defined when sigma is zero")
        return (x - self._mu) / self._sigma

    def overlap(self, other):
        if not isinstance(other, NormalDist):
            raise TypeError("Expected another NormalDist instance")
        X, Y = (self, other) if (self._sigma, self._mu) <= (other._sigma, other._mu) else (other, self)
        if not X.variance or not Y.variance:
            raise StatisticsError("overlap() not defined when sigma is zero")
        dv, dm = Y.variance - X.variance, math.fabs(Y._mu - X._mu)
        if not dv:
            return 1.0 - math.erf(dm / (2.0 * X._sigma * math.sqrt(2.0)))
        a = X._mu * Y.variance - Y._mu * X.variance
        b = X._sigma * Y._sigma * math.sqrt(dm * dm + dv * math.log(Y.variance / X.variance))
        x1, x2 = (a + b) / dv, (a - b) / dv
        return 1.0 - (math.fabs(Y.cdf(x1) - X.cdf(x1)) + math.fabs(Y.cdf(x2) - X.cdf(x2)))

    def __add__(self, other):
        if isinstance(other, NormalDist):
            return NormalDist(self._mu + other._mu, math.hypot(self._sigma, other._sigma))
        return NormalDist(self._mu + other, self._sigma)

    def __sub__(self, other):
        if isinstance(other, NormalDist):
            return NormalDist(self._mu - other._mu, math.hypot(self._sigma, other._sigma))
        return NormalDist(self._mu - other, self._sigma)

    def __mul__(self, other):
        return NormalDist(self._mu * other, self._sigma * math.fabs(other))

    def __truediv__(self, other):
        return NormalDist(self._mu / other, self._sigma / math.fabs(other))

    def __pos__(self):
        return NormalDist(self._mu, self._sigma)

    def __neg__(self):
        return NormalDist(-self._mu, self._sigma)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other):
        return -(self - other)

    def __eq__(self, other):
        if not isinstance(other, NormalDist):
            return NotImplemented
        return self._mu == other._mu and self._sigma == other._sigma

    def __hash__(self):
        return hash((self._mu, self._sigma))

    def __repr__(self):
        return f"NormalDist(mu={self._mu!r}, sigma={self._sigma!r})"


def _ratio_of(r, over, under, times=1.0):
    n = d = 0.0
    for a in over:
        n = n * r + a
    for b in under:
        d = d * r + b
    return n * times / d


def _quantile(p, mu, sigma):
    # Wichura's AS241, with the numbers that Python has.
    q = p - 0.5
    if math.fabs(q) <= 0.425:
        r = 0.180625 - q * q
        x = _ratio_of(r, (
            2.5090809287301226727e+3, 3.3430575583588128105e+4, 6.7265770927008700853e+4, 4.5921953931549871457e+4,
            1.3731693765509461125e+4, 1.9715909503065514427e+3, 1.3314166789178437745e+2, 3.3871328727963666080e+0), (
            5.2264952788528545610e+3, 2.8729085735721942674e+4, 3.9307895800092710610e+4, 2.1213794301586595867e+4,
            5.3941960214247511077e+3, 6.8718700749205790830e+2, 4.2313330701600911252e+1, 1.0), q)
        return mu + x * sigma
    r = math.sqrt(-math.log(p if q <= 0.0 else 1.0 - p))
    if r <= 5.0:
        x = _ratio_of(r - 1.6, (
            7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e+0,
            3.64784832476320460504e+0, 5.76949722146069140550e+0, 4.63033784615654529590e+0, 1.42343711074968357734e+0), (
            1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
            6.89767334985100004550e-1, 1.67638483018380384940e+0, 2.05319162663775882187e+0, 1.0))
    else:
        x = _ratio_of(r - 5.0, (
            2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
            2.96560571828504891230e-1, 1.78482653991729133580e+0, 5.46378491116411436990e+0, 6.65790464350110377720e+0), (
            2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
            1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0))
    return mu + (-x if q < 0.0 else x) * sigma
