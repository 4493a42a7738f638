import math
import torch

__all__ = (
    "Generator", "RandomState", "choice", "default_rng", "exponential", "get_state", "gumbel", "laplace", "logistic",
    "lognormal", "multivariate_normal", "normal", "pareto", "permutation", "power", "rand", "randint", "randn", "random",
    "random_sample", "ranf", "rayleigh", "sample", "seed", "set_state", "shuffle", "standard_cauchy",
    "standard_exponential", "standard_normal", "triangular", "uniform", "weibull", "chisquare", "standard_gamma", "gamma",
    "beta", "dirichlet", "f", "random_integers", "standard_t",
)

# `RandomState` draws NumPy's numbers: the Mersenne Twister, and what NumPy makes of its words. The bits of `default_rng` are
# PCG64's, seeded as NumPy does, and normal numbers are made of them by the same strips.

_SEED = 67280421310721


def _count(size):
    if size is None:
        return 1
    found = 1
    for part in _sizes(size):
        found *= part
    return found


def _sizes(size):
    return [int(size)] if isinstance(size, int) or not hasattr(size, "__iter__") else [int(part) for part in size]


def _shaped(numbers, size, dtype=torch.float64):
    if size is None:
        return numbers[0]
    return _a(torch.tensor(numbers, dtype=dtype, device="cpu").reshape(_sizes(size)))


def _spread(size, *parameters):
    """Rows of the parameters, one for each number, and the shape that they ask for where no size is given."""
    tensors = [_t(parameter).to(torch.float64) for parameter in parameters]
    if size is None and any([t.dim() for t in tensors]):
        size = tuple([int(part) for part in torch.broadcast_shapes(*[tuple(t.shape) for t in tensors])])
    if all([t.dim() == 0 for t in tensors]):
        row = [t.item() for t in tensors]
        return size, [row] * _count(size)
    rows = [torch.broadcast_to(t, _sizes(size)).reshape(-1).tolist() for t in tensors]
    return size, [list(row) for row in zip(*rows)]


class _Drawing:
    """What both kinds of generators have; `_double`, `_gauss` and `_below` are a kind's own."""

    def _each(self, size, draw, *parameters):
        size, rows = _spread(size, *parameters)
        return _shaped([draw(*row) for row in rows], size)

    def uniform(self, low=0.0, high=1.0, size=None):
        return self._each(size, lambda low, high: low + (high - low) * self._double(), low, high)

    def normal(self, loc=0.0, scale=1.0, size=None):
        return self._each(size, lambda loc, scale: loc + scale * self._gauss(), loc, scale)

    def standard_normal(self, size=None):
        return _shaped([self._gauss() for _ in range(_count(size))], size)

    def lognormal(self, mean=0.0, sigma=1.0, size=None):
        return self._each(size, lambda mean, sigma: math.exp(mean + sigma * self._gauss()), mean, sigma)

    def multivariate_normal(self, mean, cov, size=None, check_valid="warn", tol=1e-8):
        mean, cov = _t(mean).to(torch.float64), _t(cov).to(torch.float64)
        shape = [] if size is None else _sizes(size)
        width = mean.numel()
        numbers = torch.tensor([self._gauss() for _ in range(_count(size) * width)], dtype=torch.float64, device="cpu")
        u, s, v = torch.linalg.svd(cov)
        found = numbers.reshape(-1, width) @ (torch.sqrt(s)[:, None] * v) + mean
        return _a(found.reshape([*shape, width]))

    def choice(self, a, size=None, replace=True, p=None, axis=0, shuffle=True):
        _first("choice", axis)
        if shuffle is not True and not replace:
            raise TypeError("numpy.random: argument 'shuffle' of choice is not supported by this server")
        pool = None if isinstance(a, int) else _t(a)
        count = a if pool is None else pool.shape[0]
        if count <= 0 and _count(size) > 0:
            raise ValueError("a must be a positive integer unless no samples are taken" if pool is None else
                             "'a' cannot be empty unless no samples are taken")
        wanted = _count(size)
        if p is not None:
            weights = _t(p).to(torch.float64)
            if weights.numel() != count:
                raise ValueError("'a' and 'p' must have same size")
            if abs(weights.sum().item() - 1.0) > 1e-8:
                raise ValueError("probabilities do not sum to 1")
            if replace:
                cdf = torch.cumsum(weights, 0)
                cdf = cdf / cdf[-1]
                drawn = torch.tensor([self._double() for _ in range(wanted)], dtype=torch.float64, device="cpu")
                index = torch.searchsorted(cdf, drawn, right=True).tolist()
            else:
                if int((weights > 0).sum()) < wanted:
                    raise ValueError("Fewer non-zero entries in p than size")
                index, left = [], weights.clone()
                while len(index) < wanted:
                    drawn = torch.tensor([self._double() for _ in range(wanted - len(index))], dtype=torch.float64, device="cpu")
                    for at in index:
                        left[at] = 0.0
                    cdf = torch.cumsum(left, 0)
                    cdf = cdf / cdf[-1]
                    for at in torch.searchsorted(cdf, drawn, right=True).tolist():
                        if at not in index:
                            index.append(at)
        elif replace:
            index = self._indices(count, wanted)
        else:
            if wanted > count:
                raise ValueError("Cannot take a larger sample than population when 'replace=False'")
            index = self._without(count, wanted)
        if size is None:
            return index[0] if pool is None else _r(pool[index[0]])
        index = torch.tensor(index, dtype=torch.int64, device="cpu")
        if pool is None:
            return _a(index.reshape(_sizes(size)))
        return _a(pool[index].reshape([*_sizes(size), *pool.shape[1:]]))

    def _shuffled(self, count):
        order = list(range(count))
        for at in range(count - 1, 0, -1):
            other = self._below(at)
            order[at], order[other] = order[other], order[at]
        return order

    def shuffle(self, x, axis=0):
        _first("shuffle", axis)
        if isinstance(x, list):
            for at in range(len(x) - 1, 0, -1):
                other = self._below(at)
                x[at], x[other] = x[other], x[at]
            return
        t = _t(x)
        x[...] = _a(t[torch.tensor(self._shuffled(t.shape[0]), dtype=torch.int64, device="cpu")])

    def permutation(self, x, axis=0):
        _first("permutation", axis)
        if isinstance(x, int):
            return _a(torch.tensor(self._shuffled(x), dtype=torch.int64, device="cpu"))
        t = _t(x)
        return _a(t[torch.tensor(self._shuffled(t.shape[0]), dtype=torch.int64, device="cpu")])


def _first(function, axis):
    if axis != 0:
        raise TypeError(f"numpy.random: argument 'axis' of {function} is not supported by this server: move that axis first")


def _wide(function, dtype, kind):
    if _dtype(dtype) != kind:
        raise TypeError(f"numpy.random: argument 'dtype' of {function} is not supported by this server: convert what it returns")


def _words(seed):
    """A seed by words of 32 bits, the least first."""
    if seed < 0:
        raise ValueError("expected non-negative integer")
    found = []
    while True:
        found.append(seed & 0xFFFFFFFF)
        seed >>= 32
        if not seed:
            return found


class RandomState(_Drawing):
    def __init__(self, seed=None):
        self._twister, self._next = _Twister(), None
        self.seed(seed)

    def seed(self, seed=None):
        self._next = None
        if seed is None:
            self._twister.seed(_SEED)
        elif isinstance(seed, int) or hasattr(seed, "__index__") and not hasattr(seed, "__len__"):
            seed = int(seed)
            if not 0 <= seed < 2**32:
                raise ValueError("Seed must be between 0 and 2**32 - 1")
            self._twister.seed_word(seed)
        else:
            total = 0
            words = [int(word) for word in _t(seed).reshape(-1).tolist()]
            for word in words[::-1]:
                total = (total << 32) | word
            if not words or words[-1] == 0:
                raise ValueError("numpy.random.seed: an array that ends with zero is not supported by this server")
            self._twister.seed(total)

    def get_state(self, legacy=True):
        *words, at = self._twister.getstate()
        return ("MT19937", words, at, int(self._next is not None), self._next or 0.0)

    def set_state(self, state):
        self._twister.setstate((*state[1], state[2]))
        self._next = state[4] if state[3] else None

    def _double(self):
        return self._twister.random()

    def _gauss(self):
        if self._next is not None:
            found, self._next = self._next, None
            return found
        while True:
            x1, x2 = 2.0 * self._double() - 1.0, 2.0 * self._double() - 1.0
            r2 = x1 * x1 + x2 * x2
            if 0.0 < r2 < 1.0:
                break
        f = math.sqrt(-2.0 * math.log(r2) / r2)
        self._next = f * x1
        return f * x2

    def _below(self, most):
        """From 0 to `most`, that included."""
        if most == 0:
            return 0
        mask = (1 << most.bit_length()) - 1
        while True:
            if most <= 0xFFFFFFFF:
                found = self._twister.word() & mask
            else:
                found = (self._twister.word() << 32 | self._twister.word()) & mask
            if found <= most:
                return found

    def _indices(self, count, wanted):
        return [self._below(count - 1) for _ in range(wanted)]

    def _without(self, count, wanted):
        return self._shuffled(count)[:wanted]

    def random_sample(self, size=None):
        return _shaped([self._double() for _ in range(_count(size))], size)

    random = ranf = sample = random_sample

    def rand(self, *args):
        return self.random_sample(args or None)

    def randn(self, *args):
        return self.standard_normal(args or None)

    def randint(self, low, high=None, size=None, dtype=int):
        if high is None:
            low, high = 0, low
        low, high = int(low), int(high)
        if low >= high:
            raise ValueError("low >= high" if low != 0 or high > 0 else "high <= 0")
        kind = _dtype(dtype)
        if kind != torch.int64:
            raise TypeError("numpy.random.randint: types other than int64 are not supported by this server: use astype")
        return _shaped([low + self._below(high - 1 - low) for _ in range(_count(size))], size, torch.int64)

    def random_integers(self, low, high=None, size=None):
        return self.randint(1, low + 1, size) if high is None else self.randint(low, high + 1, size)

    def standard_exponential(self, size=None):
        return _shaped([-math.log(1.0 - self._double()) for _ in range(_count(size))], size)

    def exponential(self, scale=1.0, size=None):
        return self._each(size, lambda scale: scale * -math.log(1.0 - self._double()), scale)

    def standard_cauchy(self, size=None):
        found = []
        for _ in range(_count(size)):
            first = self._gauss()
            found.append(first / self._gauss())
        return _shaped(found, size)

    def laplace(self, loc=0.0, scale=1.0, size=None):
        def draw(loc, scale):
            while True:
                u = self._double()
                if u >= 0.5:
                    return loc - scale * math.log(2.0 - u - u)
                if u > 0.0:
                    return loc + scale * math.log(u + u)

        return self._each(size, draw, loc, scale)

    def gumbel(self, loc=0.0, scale=1.0, size=None):
        def draw(loc, scale):
            while True:
                u = 1.0 - self._double()
                if u < 1.0:
                    return loc - scale * math.log(-math.log(u))

        return self._each(size, draw, loc, scale)

    def logistic(self, loc=0.0, scale=1.0, size=None):
        def draw(loc, scale):
            while True:
                u = self._double()
                if u > 0.0:
                    return loc + scale * math.log(u / (1.0 - u))

        return self._each(size, draw, loc, scale)

    def rayleigh(self, scale=1.0, size=None):
        return self._each(size, lambda scale: scale * math.sqrt(-2.0 * math.log(1.0 - self._double())), scale)

    def weibull(self, a, size=None):
        return self._each(size, lambda a: 0.0 if a == 0 else (-math.log(1.0 - self._double())) ** (1.0 / a), a)

    def pareto(self, a, size=None):
        return self._each(size, lambda a: math.exp(-math.log(1.0 - self._double()) / a) - 1, a)

    def power(self, a, size=None):
        return self._each(size, lambda a: (1 - math.exp(-(-math.log(1.0 - self._double())))) ** (1.0 / a), a)

    def triangular(self, left, mode, right, size=None):
        def draw(left, mode, right):
            base, ratio = right - left, (mode - left) / (right - left)
            u = self._double()
            if u <= ratio:
                return left + math.sqrt(u * (mode - left) * base)
            return right - math.sqrt((1.0 - u) * base * (right - mode))

        return self._each(size, draw, left, mode, right)

    def _gamma(self, shape):
        if shape == 1.0:
            return -math.log(1.0 - self._double())
        if shape == 0.0:
            return 0.0
        if shape < 1.0:
            while True:
                u, v = self._double(), -math.log(1.0 - self._double())
                if u <= 1.0 - shape:
                    x = u ** (1.0 / shape)
                    if x <= v:
                        return x
                else:
                    y = -math.log((1 - u) / shape)
                    x = (1.0 - shape + shape * y) ** (1.0 / shape)
                    if x <= v + y:
                        return x
        b = shape - 1.0 / 3.0
        c = 1.0 / math.sqrt(9 * b)
        while True:
            while True:
                x = self._gauss()
                v = 1.0 + c * x
                if v > 0.0:
                    break
            v = v * v * v
            u = self._double()
            if u < 1.0 - 0.0331 * (x * x) * (x * x) or math.log(u) < 0.5 * x * x + b * (1.0 - v + math.log(v)):
                return b * v

    def standard_gamma(self, shape, size=None):
        return self._each(size, self._gamma, shape)

    def gamma(self, shape, scale=1.0, size=None):
        return self._each(size, lambda shape, scale: scale * self._gamma(shape), shape, scale)

    def chisquare(self, df, size=None):
        return self._each(size, lambda df: 2.0 * self._gamma(df / 2.0), df)

    def beta(self, a, b, size=None):
        def draw(a, b):
            if a <= 1.0 and b <= 1.0:
                while True:
                    u, v = self._double(), self._double()
                    x, y = u ** (1.0 / a), v ** (1.0 / b)
                    if x + y <= 1.0 and x + y > 0:
                        return x / (x + y)
            first = self._gamma(a)
            return first / (first + self._gamma(b))

        return self._each(size, draw, a, b)


    def standard_t(self, df, size=None):
        def draw(df):
            number = self._gauss()
            return math.sqrt(df / 2) * number / math.sqrt(self._gamma(df / 2))

        return self._each(size, draw, df)

    def f(self, dfnum, dfden, size=None):
        def draw(over, under):
            number = 2.0 * self._gamma(over / 2.0) * under
            return number / (2.0 * self._gamma(under / 2.0) * over)

        return self._each(size, draw, dfnum, dfden)

    def dirichlet(self, alpha, size=None):
        alpha, rows = [float(part) for part in alpha], []
        for _ in range(_count(size)):
            row = [self._gamma(part) for part in alpha]
            scale = 1 / sum(row)
            rows.append([part * scale for part in row])
        shape = [] if size is None else _sizes(size)
        return _a(torch.tensor(rows, dtype=torch.float64, device="cpu").reshape([*shape, len(alpha)]))


_MASK = (1 << 128) - 1
# Where the tail of normal numbers begins.
_TAIL, _TAIL_INVERSE = 3.6541528853610088, 0.27366123732975827
_STEP = 0x2360ED051FC65DA44385DF649FCCF645


def _entropy(seed):
    """NumPy's SeedSequence: four words of 64 bits for a seed."""
    words = []
    for part in seed if isinstance(seed, (list, tuple)) else [seed]:
        words += _words(int(part))
    hash_const = 0x43B0D7E5

    def hashed(value):
        nonlocal hash_const
        value ^= hash_const
        hash_const = hash_const * 0x931E8875 & 0xFFFFFFFF
        value = value * hash_const & 0xFFFFFFFF
        return value ^ value >> 16

    def mixed(x, y):
        found = (0xCA01F9DD * x - 0x4973F715 * y) & 0xFFFFFFFF
        return found ^ found >> 16

    pool = [hashed(words[at] if at < len(words) else 0) for at in range(4)]
    for source in range(4):
        for target in range(4):
            if source != target:
                pool[target] = mixed(pool[target], hashed(pool[source]))
    for word in words[4:]:
        for target in range(4):
            pool[target] = mixed(pool[target], hashed(word))
    hash_const, found = 0x8B51F9DD, []
    for at in range(8):
        value = pool[at % 4] ^ hash_const
        hash_const = hash_const * 0x58F38DED & 0xFFFFFFFF
        value = value * hash_const & 0xFFFFFFFF
        found.append(value ^ value >> 16)
    return [found[at] | found[at + 1] << 32 for at in range(0, 8, 2)]


class Generator(_Drawing):
    def __init__(self, seed=None):
        words = _entropy(_SEED if seed is None else seed)
        state, stream = words[0] << 64 | words[1], words[2] << 64 | words[3]
        self._stream = (stream << 1 | 1) & _MASK
        self._state = 0
        self._advance()
        self._state = (self._state + state) & _MASK
        self._advance()
        self._half = None

    def _advance(self):
        self._state = (self._state * _STEP + self._stream) & _MASK

    def _long(self):
        self._advance()
        value, turn = (self._state >> 64 ^ self._state) & 0xFFFFFFFFFFFFFFFF, self._state >> 122
        return (value >> turn | value << (64 - turn & 63)) & 0xFFFFFFFFFFFFFFFF

    def _word(self):
        if self._half is not None:
            found, self._half = self._half, None
            return found
        found = self._long()
        self._half = found >> 32
        return found & 0xFFFFFFFF

    def _double(self):
        return (self._long() >> 11) * (1.0 / 9007199254740992.0)

    def _gauss(self):
        while True:
            word = self._long()
            at, negative, magnitude = word & 0xFF, word >> 8 & 1, word >> 9 & 0xFFFFFFFFFFFFF
            bound, width, height = _strip(at)
            x = -(magnitude * width) if negative else magnitude * width
            if magnitude < bound:
                return x
            if at:
                if (_strip(at - 1)[2] - height) * self._double() + height < math.exp(-0.5 * x * x):
                    return x
                continue
            while True:
                beyond = -_TAIL_INVERSE * math.log1p(-self._double())
                y = -math.log1p(-self._double())
                if y + y > beyond * beyond:
                    return -(_TAIL + beyond) if magnitude >> 8 & 1 else _TAIL + beyond

    def _lemire(self, most):
        if most == 0:
            return 0
        if most <= 0xFFFFFFFF:
            if most == 0xFFFFFFFF:
                return self._word()
            count, bits, draw = most + 1, 32, self._word
        else:
            if most == 0xFFFFFFFFFFFFFFFF:
                return self._long()
            count, bits, draw = most + 1, 64, self._long
        mask = (1 << bits) - 1
        product = draw() * count
        if product & mask < count:
            limit = (mask - most) % count
            while product & mask < limit:
                product = draw() * count
        return product >> bits

    def _below(self, most):
        mask = (1 << most.bit_length()) - 1
        while True:
            found = (self._word() if most <= 0xFFFFFFFF else self._long()) & mask
            if found <= most:
                return found

    def _indices(self, count, wanted):
        return [self._lemire(count - 1) for _ in range(wanted)]

    def _without(self, count, wanted):
        if count > 10000 and wanted > count // 50:
            order = list(range(count))
            for at in range(count - 1, max(count - wanted, 1) - 1, -1):
                other = self._lemire(at)
                order[at], order[other] = order[other], order[at]
            return order[count - wanted:]
        chosen, known = [], set()
        for at in range(count - wanted, count):
            drawn = self._lemire(at)
            drawn = at if drawn in known else drawn
            known.add(drawn)
            chosen.append(drawn)
        for at in range(wanted - 1, 0, -1):
            other = self._lemire(at)
            chosen[at], chosen[other] = chosen[other], chosen[at]
        return chosen

    def random(self, size=None, dtype=float, out=None):
        _wide("random", dtype, torch.float64)
        if out is not None:
            raise TypeError("numpy.random: argument 'out' of random is not supported by this server: bind what is returned")
        return _shaped([self._double() for _ in range(_count(size))], size)

    def integers(self, low, high=None, size=None, dtype=int, endpoint=False):
        _wide("integers", dtype, torch.int64)
        if high is None:
            low, high = 0, low
        low, high = int(low), int(high) + bool(endpoint)
        if low >= high:
            raise ValueError("low >= high" if low != 0 or high > 0 else "high <= 0")
        found = [low + self._lemire(high - 1 - low) for _ in range(_count(size))]
        return _r(torch.tensor(found[0], device="cpu")) if size is None else _shaped(found, size, torch.int64)

    def permuted(self, x, axis=None, out=None):
        raise NotImplementedError("Generator.permuted is not supported by this server: use permutation")


def default_rng(seed=None):
    return seed if isinstance(seed, Generator) else Generator(seed)


_state = RandomState()
seed, get_state, set_state = _state.seed, _state.get_state, _state.set_state
random_sample = random = ranf = sample = _state.random_sample
rand, randn, randint = _state.rand, _state.randn, _state.randint
uniform, normal, standard_normal, lognormal = _state.uniform, _state.normal, _state.standard_normal, _state.lognormal
multivariate_normal, choice, shuffle, permutation = (
    _state.multivariate_normal, _state.choice, _state.shuffle, _state.permutation)
standard_exponential, exponential, standard_cauchy = (
    _state.standard_exponential, _state.exponential, _state.standard_cauchy)
laplace, gumbel, logistic, rayleigh = _state.laplace, _state.gumbel, _state.logistic, _state.rayleigh
weibull, pareto, power, triangular = _state.weibull, _state.pareto, _state.power, _state.triangular
dirichlet, f, random_integers, standard_t = _state.dirichlet, _state.f, _state.random_integers, _state.standard_t
standard_gamma, gamma, chisquare, beta = _state.standard_gamma, _state.gamma, _state.chisquare, _state.beta
