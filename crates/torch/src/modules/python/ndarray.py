import numpy
import torch

__all__ = (
    "argpartition", "argsort", "choose", "clip", "compress", "conj", "conjugate", "cumprod", "diagonal", "dot", "fill",
    "nonzero", "partition", "ptp", "put", "repeat", "resize", "round", "searchsorted", "sort", "swapaxes", "take", "trace", "transpose",
    "view", "_flags", "__copy__", "__round__",
)

_round = round

# Methods of arrays that are functions of numpy, given the array first.


def __round__(self, ndigits=None):
    if not _is_scalar(self):
        raise TypeError("type numpy.ndarray doesn't define __round__ method")
    return _round(self.item()) if ndigits is None else numpy.round(self, ndigits)


def argpartition(self, kth, axis=-1):
    return numpy.argpartition(self, kth, axis)


def argsort(self, axis=-1, kind=None, order=None, *, stable=None):
    return numpy.argsort(self, axis, kind, order, stable=stable)


def choose(self, choices):
    return numpy.choose(self, choices)


def clip(self, min=None, max=None, out=None):
    return numpy.clip(self, min, max, out)


def compress(self, condition, axis=None):
    return numpy.compress(condition, self, axis)


def conj(self):
    return numpy.conj(self)


conjugate = conj


def cumprod(self, axis=None, dtype=None):
    return numpy.cumprod(self, axis, dtype)


def diagonal(self, offset=0, axis1=0, axis2=1):
    return numpy.diagonal(self, offset, axis1, axis2)


def dot(self, b, out=None):
    return numpy.dot(self, b, out)


def fill(self, value):
    self[...] = _a(_t(value).to(_t(self).dtype).expand(_t(self).shape))


def nonzero(self):
    return numpy.nonzero(self)


def partition(self, kth, axis=-1):
    sort(self, axis)


def ptp(self, axis=None):
    return numpy.ptp(self, axis)


def put(self, indices, values, mode="raise"):
    t, index = _t(self), _t(indices).reshape(-1)
    if mode == "wrap":
        index = index % t.numel()
    elif mode == "clip":
        index = index.clamp(0, t.numel() - 1)
    value = _t(numpy.resize(values, index.numel())).to(t.dtype)
    self[...] = _a(t.clone().put_(torch.where(index < 0, index + t.numel(), index), value))


def repeat(self, repeats, axis=None):
    return numpy.repeat(self, repeats, axis)


def resize(self, *shape):
    raise AttributeError("numpy.ndarray.resize is not supported by this server: use numpy.resize")


def round(self, decimals=0, out=None):
    return numpy.round(self, decimals, out)


def searchsorted(self, v, side="left", sorter=None):
    return numpy.searchsorted(self, v, side, sorter)


def sort(self, axis=-1, kind=None, order=None, *, stable=None):
    self[...] = numpy.sort(self, axis, kind, order, stable=stable)


def swapaxes(self, axis1, axis2):
    return numpy.swapaxes(self, axis1, axis2)


def take(self, indices, axis=None, out=None, mode="raise"):
    return numpy.take(self, indices, axis, out, mode)


def trace(self, offset=0, axis1=0, axis2=1):
    return numpy.trace(self, offset, axis1, axis2)


def transpose(self, *axes):
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = axes[0]
    return numpy.transpose(self, axes or None)


def view(self, dtype=None, type=None):
    if type is not None:
        raise TypeError("argument 'type' of numpy.ndarray.view is not supported by this server")
    t = _t(self)
    return _a(t if dtype is None else t.view(_dtype(dtype)))


def __copy__(self):
    return numpy.copy(self)


class _Flags:
    """How an array lies in memory."""

    def __init__(self, t):
        self.c_contiguous = self.contiguous = t.is_contiguous()
        self.f_contiguous = t.permute(*reversed(range(t.dim()))).is_contiguous()
        self.writeable, self.aligned = True, True

    def __getattr__(self, name):
        raise AttributeError(f"numpy.ndarray.flags.{name} is not supported by this server")

    def __getitem__(self, name):
        return getattr(self, name.lower())


def _flags(self):
    return _Flags(_t(self))
