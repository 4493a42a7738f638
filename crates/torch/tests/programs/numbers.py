#### numpy
import numpy as np
a = np.array([[3, 1, 2], [9, 7, 8]]); x = np.array([[0.5, -1.5, 2.0], [4.0, 0.25, -3.0]]); f = np.array([1.5, 2.5], dtype=np.float32)
for v in (np.sort(a), np.argsort(a, axis=1), np.percentile(x, 30), np.quantile(x, [0.1, 0.9], axis=1), np.median(x, axis=0), np.cumsum(a), a.cumsum(axis=1), np.diag(np.array([1, 2])), np.linalg.norm(x), np.linalg.norm(x, axis=1), np.where(a > 2, a, 0), np.where(a > 2, 1.0, 0.0), np.take_along_axis(a, np.argsort(a, 1), 1), np.einsum("ij,kj->ik", x, x), a + 1.5, a / 2, a * f[0], f * 2, f + np.float64(1), a.mean(), a.mean(axis=0), a.std(), np.sqrt(a), np.exp(0.0), np.mean([1, 2, 3]), np.sum(a, axis=1, keepdims=True), a.T, a.reshape(3, 2), a.max(), np.max(x, axis=1), a[a > 2], a[:, 1], np.concatenate([a, a]), np.stack([a, a]), a @ a.T, np.dot(x, x.T), np.arange(3), np.arange(0, 1, 0.25), np.linspace(0, 1, 5), np.unique(np.array([3, 1, 3])), np.isnan(x), np.clip(x, 0, 1), np.round(x, 1), x.round(1), np.abs(x), np.outer(f, f), a.astype(float), a.argmax(), np.argmax(a, axis=1), np.any(a > 8), np.all(a > 0), a.sum(), np.prod(a), x.min(axis=1), np.histogram(x)[0], np.searchsorted(np.array([1, 2, 3]), 2), np.nan_to_num(np.array([np.nan, 1.0])), np.tile(f, 2), np.repeat(f, 2), np.vstack([f, f]), np.expand_dims(f, 0), np.squeeze(np.ones((1, 2))), np.full((2,), 7), np.eye(2), np.zeros_like(a), np.linalg.inv(np.array([[2.0, 0], [1, 1]])), np.linalg.det(np.eye(2)), np.linalg.solve(np.eye(2), np.ones(2)), np.count_nonzero(a), np.flip(f), np.ptp(a), x.real, f.strides, np.bincount(np.array([1, 1, 2])), np.allclose(x, x), np.array_equal(a, a), np.meshgrid(f, f)[0], a.tolist(), np.float32(2) * f, np.int64(3) + 1, np.maximum(x, 0), np.power(a, 2), np.logical_and(a > 1, a < 8), np.sign(x), np.broadcast_to(f, (2, 2)), np.random.RandomState(0).randn(2), np.random.default_rng(0).random(2)):
    if isinstance(v, (np.ndarray, np.generic)):
        print(type(v).__name__, v.dtype, v.shape, v.tolist())
    else:
        print(type(v).__name__, v)
np.random.seed(3)
print(np.random.rand(2).tolist(), np.random.randint(0, 10, 4).tolist(), np.random.permutation(5).tolist(), np.random.choice(5, 2, replace=False).tolist())
#### arrays as they print
import numpy as np
h = np.array([0.1, 1 / 3, -2.5, 1e-3])
arrays = [
    h, h.astype(np.float32), h.astype(np.float16), h * 1e7, h / 1e5, h[:1], np.array(2.5), np.array(3.0), np.array(3, dtype=np.int16),
    np.array([np.nan, 1.0]), np.array([np.inf, -1.0]), np.array([np.nan, -np.inf, 1e-9]), np.array([np.nan, np.nan]), np.array([np.nan, np.inf]), np.array([-np.inf, 12345.5]),
    np.array([1e6, 1], dtype=np.float32), np.array([999999, 0.5], dtype=np.float32), np.array([1e7, 1.0]), np.array([1e8, 1.0]), np.array([1e5, 200.0]), np.array([99999999.0]),
    np.array([1, 2.5, -3e-6]), np.array([0.1, 1.2345679e-5], dtype=np.float32), np.array([0.0, -0.0]), np.array([1e-4, 2e-5], dtype=np.float32), np.array([1e-4], dtype=np.float32), np.array([1e-4]),
    np.array([[1, -20], [300, 4]]), np.array([True, False]), np.array([[True], [False]]), np.array(True), np.array([2 ** 63 - 1, -1]),
    np.array([1 + 2j, 3.5 - 1e-3j]), np.array([1 + 2j], dtype=np.complex64), np.array([-1.5 + 0j, np.nan]), np.array(2 - 1j),
    np.array([]), np.zeros((0, 3), dtype=np.float32), np.zeros((2, 0)), np.array([7]), np.array([3, 1], dtype=np.uint8),
    np.arange(40.0), np.arange(2000), np.arange(2001.0), np.arange(60.0).reshape(3, 4, 5), np.arange(3000).reshape(3, 10, 100), np.arange(1001).astype(np.float32), np.arange(5000).reshape(50, 100) / 7,
    np.arange(24, dtype=np.int8).reshape(2, 3, 4), np.array([1e300, 1e-300]), np.linspace(-1, 1, 17), np.array([[0.5, 1e10]]), np.array([100000.0, 123456.789]), np.array([0.1234567891, 5.0]),
    np.arange(2000.0).astype(np.float16), np.array([65504, 0.25], dtype=np.float16), np.array([0.1, 999], dtype=np.float16), np.arange(16.0).reshape(2, 2, 2, 2), np.arange(200) % 2 == 0,
]
for a in arrays:
    print(a, repr(a), f"{a}", a.shape)
print([h[:2], h[0], h.astype(np.float32)[1]], {"a": np.array([1, 2])}, h.astype(np.float32).mean(), str(np.float16(0.1)), np.array([1 + 0j]).dtype, np.array([2 - 1j])[0], [np.array([2 - 1j])[0]])
try:
    format(h, ".2f")
except TypeError as error:
    print(error)
#### what NumPy makes of tensors, of Python's numbers, and of truth values
import numpy as np, torch
t, f = torch.arange(6.0).reshape(2, 3), np.arange(3, dtype=np.float32)
a, b, c = np.arange(6).reshape(2, 3), [1 + 2j, 3, 4 - 1j], [1j, 2]
for v in (
    np.take(t, [0, 1]), np.take([1, 2], torch.tensor([0, 1])), np.repeat(t, 2), np.repeat(t, 2, axis=0), np.diagflat(t[0]), np.delete(t, 0), np.delete(t, 0, axis=1),
    *np.split(t, 2), *np.array_split(t, 2, axis=1), np.ldexp(t, 2), *np.frexp(t), *np.modf(t), np.insert(t, 1, 9.0), np.insert(t, 1, 9.0, axis=1),
    np.dot(f, 2), np.dot(2.0, f), np.outer(f, 2), np.outer(2, f), np.inner(f, 2), np.kron(f, 2), np.kron(2, f), np.vdot(f[:1], 2), np.tensordot(f, 2, 0), np.dot(f, f),
    np.convolve(f, 2), np.correlate(f, [2]), np.correlate(b, c), np.correlate(c, b), np.correlate(b, c, "full"), np.correlate(c, b, "full"), np.correlate(c, b, "same"),
    np.insert(a, 1, [8, 9], axis=1), np.insert(a, 1, 9, axis=1), np.insert(a, [1], [[8], [9]], axis=1), np.insert(a, [1, 2], [8, 9], axis=1), np.insert(a, 1, [[8], [9]], axis=1),
    np.insert(a, 1, [[8, 9]], axis=1), np.insert(a, [0, 2], [[8, 9], [10, 11]], axis=-1), np.insert(a, 1, [[7, 8, 9], [1, 2, 3]], axis=0), np.insert(a, [1, 1], [7, 8, 9], axis=0),
    np.insert(np.arange(6), slice(1, 3), 9), np.insert(np.arange(6), 1, [7, 8]), np.insert(np.arange(12).reshape(2, 2, 3), 1, [8, 9], axis=2),
    np.square([True, False]), np.square(True), np.conj([True, False]), *np.frexp([True, False]), *np.modf([True, False]), *np.modf(np.array([-2.0, np.inf, -np.inf, np.nan, -2.5])), *np.frexp(np.array([3], np.int8)),
    np.polyval([[1, 2], [3, 4]], 2), np.polyval([[1, 2], [3, 4]], [2, 3]), np.polyval([1, 2, 3], [[2, 3], [4, 5]]),
):
    print(type(v).__name__, v.dtype, tuple(v.shape), v.tolist())
for attempt in (lambda: np.flip(t), lambda: np.flip(t, 1), lambda: np.insert(np.arange(6), 7, 9)):
    try:
        print(attempt())
    except (ValueError, IndexError) as error:
        print(type(error).__name__, error)
#### what NumPy makes of tensors by their own methods, and the types of places on a line
import numpy as np, torch
t, T = torch.tensor([1.5, 3.5, 2.5]), torch.arange(6).reshape(2, 3)
a = np.arange(3, dtype=np.float32)
for v in (
    np.argmax(t), np.argmin(t), np.argmax(T, axis=1), np.argmin(T, 0), np.argwhere(T > 0), np.argwhere(t), np.nonzero(T), np.squeeze(T[None]), np.squeeze(T[None], 0), np.transpose(T), np.transpose(T, (1, 0)),
    np.reshape(T, (3, 2)), np.swapaxes(T, 0, 1), np.searchsorted(t, 2.0), np.compress([True, False], T, axis=0), np.choose(torch.tensor([0, 1]), [t[:2], t[1:]]),
    np.linspace(torch.tensor(0.0), torch.tensor(1.0), 5), np.linspace(0, torch.tensor(1.0), 5), np.linspace(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), 3), np.logspace(0, torch.tensor(1.0), 3),
    np.argmax(a), np.transpose(a), np.linspace(a[0], a[2], 7), np.linspace(0, a[2], 7), np.linspace(0, 1, 7), np.linspace(0, 2, 7, endpoint=False), np.linspace(np.float16(0), np.float16(1), 3), np.linspace(0, 1j, 3),
    np.linspace(np.int8(0), 3, 5), np.linspace(a[0], a[2], 3, dtype=int), np.linspace(np.float32(0), np.float64(1), 3), np.linspace(a, 1, 2), np.linspace(5, 5, 3),
):
    print(type(v).__name__, v.dtype, tuple(v.shape), v.tolist())
print(np.linspace(a[0], a[2], 3, retstep=True), np.linspace(0, 1, 3, retstep=True))
#### a scalar of NumPy's in a text: formatted as a float of Python's, written as its own
import numpy as np, torch
for x in (np.float32(1.1), np.float16(0.1), np.float64(0.1), np.int8(3), np.bool_(1), np.array(1.1, dtype=np.float32), np.array([1.1], dtype=np.float32)[0], np.array([1.5, 2.5], dtype=np.float32), np.float32(1e10), np.float32("nan")):
    print(f"{x}", "{}".format(x), format(x), str(x), "%s" % x, f"{x!s}", f"{x!r}", x, [x])
print(f"{np.float32(1.1):.3f} {np.float32(1.1):>8} {np.float16(0.1):g} {np.int8(3):05d}")
#### classes: their names, and what is below them
import numbers, collections.abc
import numpy as np, torch
from torch import nn
p = nn.Parameter(torch.ones(2))
for one in (p, torch.ones(2), torch.ones(2).int(), 3, [1], torch.float32, np.ones(2), torch.Size([1]), nn.Parameter, torch.Tensor):
    print(torch.typename(one))
print(type(p), type(p).__module__, type(p).__qualname__, nn.Parameter.__name__)
kinds = np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8, np.bool_, np.complex64, np.complex128, np.floating, np.integer, np.signedinteger, np.inexact, np.complexfloating
for one in kinds:
    print(one.__name__, [above.__name__ for above in (np.generic, np.number, np.integer, np.signedinteger, np.unsignedinteger, np.inexact, np.floating, np.complexfloating, float, complex, int,
          numbers.Number, numbers.Complex, numbers.Real, numbers.Rational, numbers.Integral) if issubclass(one, above)])
for x in (np.float32(1), np.int64(1), np.bool_(1), np.complex64(1), torch.tensor(1)):
    print([isinstance(x, one) for one in (numbers.Number, numbers.Real, numbers.Integral, np.number, np.floating)])
print(issubclass(nn.Linear, nn.Module), issubclass(nn.Sequential, nn.Module), issubclass(nn.Parameter, torch.Tensor), issubclass(nn.Module, nn.Linear), issubclass(torch.Tensor, nn.Module), issubclass(nn.Linear, torch.Tensor))
#### numbers of Python's own of tensors and arrays: what each defines
import math, collections.abc
import numpy as np, torch
t, f, v, a = torch.tensor(3), torch.tensor(2.5), torch.tensor([1.5, 2.5]), np.arange(1, 4)
for attempt in (
    lambda: divmod(7, t), lambda: divmod(t, 2), lambda: divmod(v, 2), lambda: divmod(7, a), lambda: divmod(a, 2), lambda: divmod(np.int64(7), 2), lambda: divmod(7.0, f), lambda: round(t), lambda: round(v, 1),
    lambda: round(np.float32(2.567), 2), lambda: round(np.float64(2.5)), lambda: round(a), lambda: math.trunc(f), lambda: math.trunc(t), lambda: math.trunc(np.float32(1.5)), lambda: math.trunc(np.float64(1.5)),
    lambda: math.trunc(np.int64(3)), lambda: math.trunc(np.array(2.5)), lambda: math.floor(f), lambda: math.ceil(t), lambda: math.floor(np.float32(1.5)),
):
    try:
        print(attempt())
    except TypeError as error:
        print(error)
print([issubclass(torch.Tensor, one) for one in (collections.abc.Iterable, collections.abc.Sized, collections.abc.Hashable, collections.abc.Sequence)])
u = np.array([1, 2], dtype=np.uint8)
print(u.cumsum().dtype, np.cumsum(u).dtype, np.cumprod(u).dtype, u.cumsum(0).dtype, np.array([True, False]).cumsum().dtype, u.astype(np.int8).cumsum().dtype, np.arange(6).reshape(2, 3).cumsum(axis=1), np.arange(6).reshape(2, 3).cumsum(), v.numpy().cumsum())
print(*[one.dtype for one in (np.setdiff1d(v.numpy(), [1.5]), np.setdiff1d(v, [1.5]), np.setdiff1d(a, [1.5]), np.intersect1d(v.numpy(), [1.5]))])
#### normal numbers of a generator
import numpy as np
g = np.random.default_rng(0)
print(g.normal(), g.standard_normal(3).tolist(), g.normal(2.0, [1.0, 3.0]).tolist(), g.normal(size=(2, 2)).tolist(), g.lognormal(), g.random(), g.integers(0, 9, 2))
numbers = np.random.default_rng(7).standard_normal(20000).tolist()
print(sum(numbers), min(numbers), max(numbers), [number for number in numbers if abs(number) > 3.6])
print(np.random.default_rng([1, 2]).normal(0, 1, 5).tolist())
