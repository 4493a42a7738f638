import math
import torch

__all__ = (
    "abs", "absolute", "acos", "acosh", "add", "all", "allclose", "any", "append", "apply_along_axis", "arange", "arccos",
    "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "argpartition", "argsort", "argwhere", "around",
    "array_equal", "array_equiv", "array_split", "asanyarray", "ascontiguousarray", "asfarray", "asin", "asinh", "astype", "atan", "atan2",
    "atanh", "atleast_1d", "atleast_2d", "atleast_3d", "average", "bincount", "bitwise_and", "bitwise_invert",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "broadcast_arrays",
    "broadcast_shapes", "broadcast_to", "cbrt", "ceil", "clip", "column_stack", "concat", "concatenate", "conj",
    "conjugate", "convolve", "copy", "copysign", "copyto", "corrcoef", "cos", "cosh", "count_nonzero", "cov", "cross",
    "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "deg2rad", "degrees", "delete", "diag", "diag_indices",
    "diagflat", "diagonal", "diff", "digitize", "divide", "divmod", "dot", "dsplit", "dstack", "ediff1d", "einsum",
    "empty", "empty_like", "equal", "exp2", "expand_dims", "expm1", "extract", "eye", "fabs", "fill_diagonal", "fix",
    "flatnonzero", "flip", "fliplr", "flipud", "float_power", "floor", "floor_divide", "fmax", "fmin", "fmod", "full",
    "full_like", "gcd", "geomspace", "gradient", "greater", "greater_equal", "heaviside", "histogram", "histogram2d",
    "histogram_bin_edges", "hsplit", "hstack", "hypot", "identity", "imag", "indices", "inner", "insert", "interp",
    "intersect1d", "invert", "isclose", "iscomplex", "iscomplexobj", "isfinite", "isin", "isinf", "isnan", "isneginf",
    "isposinf", "isreal", "isrealobj", "isscalar", "issubdtype", "iterable", "ix_", "kron", "lcm", "ldexp", "left_shift",
    "less", "less_equal", "lexsort", "linspace", "log10", "log1p", "log2", "logaddexp", "logaddexp2", "logical_and",
    "logical_not", "logical_or", "logical_xor", "logspace", "matmul", "matrix_transpose", "matvec", "maximum", "median", "meshgrid", "minimum",
    "mod", "moveaxis", "multiply", "nan_to_num", "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean",
    "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum", "nanvar", "ndim", "negative",
    "nextafter", "nonzero", "not_equal", "ones_like", "outer", "pad", "partition", "percentile", "permute_dims", "place", "polyfit", "polyval",
    "positive", "pow", "power", "prod", "promote_types", "ptp", "put_along_axis", "quantile", "rad2deg", "radians", "ravel",
    "real", "reciprocal", "remainder", "repeat", "reshape", "resize", "result_type", "right_shift", "rint", "roll", "rollaxis", "rot90",
    "round", "row_stack", "searchsorted", "select", "setdiff1d", "setxor1d", "shape", "sign", "signbit", "sin", "sinc",
    "sinh", "size", "sort", "split", "square", "squeeze", "subtract", "swapaxes", "take", "take_along_axis", "stack", "tan",
    "tanh", "tensordot", "tile", "trace", "transpose", "trapezoid", "tri", "tril", "tril_indices", "triu", "triu_indices",
    "true_divide", "trunc", "union1d", "unique", "unravel_index", "unstack", "unwrap", "vander", "vdot", "vecdot", "vecmat", "vsplit", "vstack", "where",
    "zeros_like", "exp", "log", "sqrt", "ufunc", "_reduced", "iinfo", "finfo", "bool", "random", "float_", "euler_gamma", "set_printoptions", "errstate", "array_repr", "array_str",
    "compress", "choose", "ravel_multi_index", "mask_indices", "triu_indices_from", "tril_indices_from",
    "diag_indices_from", "trim_zeros", "piecewise", "frexp", "modf", "bartlett", "blackman", "hamming", "hanning", "kaiser", "i0",
    "apply_over_axes", "correlate", "roots", "poly", "polyadd", "polymul", "polysub", "polyder", "polyint", "spacing", "vectorize",
    "angle", "array2string", "asarray_chkfinite", "put", "putmask", "sort_complex", "real_if_close", "unique_all", "typename",
    "isdtype", "common_type", "min_scalar_type", "polydiv", "bitwise_count", "unique_values", "unique_counts", "unique_inverse", "block", "binary_repr", "base_repr", "fromfunction", "fromiter", "can_cast",
)

# Arrays lie over tensors: `_t` gives the tensor of what numpy takes for an array, `_a` and `_r` arrays of tensors, `_r` a
# scalar of numpy's where nothing is left of the dimensions. Shapes, types and values are numpy's.

euler_gamma = 0.5772156649015329
_FLOATS = (torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128)


def _f(x):
    """A tensor of floats: those of 64 bits, of whole numbers."""
    t = _t(x)
    return t if t.dtype in _FLOATS else t.to(torch.float64)


def _own(t):
    """Floats that numpy computes functions of numbers in: of as many bits as whole numbers of the type need."""
    if t.dtype in _FLOATS:
        return t
    if t.dtype in (torch.bool, torch.int8, torch.uint8):
        return t.to(torch.float16)
    return t.to(torch.float32 if t.dtype in (torch.int16, torch.uint16) else torch.float64)


def _bytes(t):
    """What numpy makes of truth values where a function is of numbers."""
    return t.to(torch.int8) if t.dtype == torch.bool else t


def _weak(x):
    return isinstance(x, (int, float, complex)) and not hasattr(x, "dtype")


def _common(*values):
    """Tensors of one type, in which Python's numbers have none of their own."""
    strong = [_t(x) for x in values if not _weak(x)]
    if not strong:
        made = [_t(x) for x in values]
        kind = made[0].dtype
        for t in made[1:]:
            kind = _promoted(kind, t.dtype)
        return [t.to(kind) for t in made]
    kind = strong[0].dtype
    for t in strong[1:]:
        kind = _promoted(kind, t.dtype)
    for x in values:
        if _weak(x):
            if isinstance(x, complex):
                kind = kind if kind.is_complex else torch.complex64 if kind == torch.float32 else torch.complex128
            elif isinstance(x, float) and kind not in _FLOATS:
                kind = torch.float64
            elif kind == torch.bool and not isinstance(x, bool):
                kind = torch.int64
    return [torch.tensor(x, dtype=kind, device="cpu") if _weak(x) else _t(x).to(kind) for x in values]


class AxisError(ValueError, IndexError):
    __module__ = "numpy.exceptions"


class ufunc:
    """A function of each element, which may write into an array that is there already."""
    nout = 1

    def __init__(self, compute, nin):
        self._compute, self.nin, self.nargs, self.identity, self.__name__ = compute, nin, nin + 1, None, "function"

    def __call__(self, *args, out=None, where=True, dtype=None, casting="same_kind", order="K", subok=True):
        if len(args) > self.nin and out is None:
            args, out = args[:self.nin], args[self.nin]
        if len(args) != self.nin:
            raise TypeError(f"{self.__name__}() takes from {self.nin} to {self.nargs} positional arguments but {len(args)} were given")
        if order not in ("K", "A", "C", "F"):
            raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got '{order}')")
        made = self._compute(*args, dtype)
        if out is None and where is True:
            return _wrapped(made, args) if subok else made
        return _into(self.__name__, made, out, where, casting)

    def __repr__(self):
        return f"<ufunc '{self.__name__}'>"

    def _pairs(self):
        if self.nin != 2:
            raise ValueError("reduce only supported for binary functions")

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False, initial=None, where=True):
        self._pairs()
        t = _summed(self, array, dtype)
        if where is not True:
            start = self.identity if initial is None else initial
            if start is None:
                raise ValueError(f"reduction operation '{self.__name__}' does not have an identity, so to use a where mask one has to specify 'initial'")
            t = torch.where(_t(where), t, torch.tensor(start, device="cpu").to(t.dtype))
        dims = [*range(t.dim())] if axis is None else [*axis] if isinstance(axis, tuple) else [axis]
        dims = sorted((dim + t.dim() if dim < 0 else dim for dim in dims), reverse=True)
        for dim in dims:
            parts = t.movedim(dim, 0)
            if len(parts) == 0:
                if self.identity is None and initial is None:
                    raise ValueError(f"zero-size array to reduction operation {self.__name__} which has no identity")
                t = torch.full(parts.shape[1:], self.identity if initial is None else 0, dtype=t.dtype, device="cpu")
            else:
                t = self._folded(parts)
            if keepdims:
                t = t.unsqueeze(dim)
        made = _r(t) if initial is None else self(_r(t), initial)
        return made if out is None else _into(self.__name__, made, out, True, "same_kind")

    def _folded(self, parts):
        whole = {"add": torch.sum, "multiply": torch.prod, "maximum": torch.amax, "minimum": torch.amin}.get(self.__name__)
        if whole is not None:
            return whole(parts, 0).to(parts.dtype)
        kept = parts[0]
        for part in parts[1:]:
            kept = _t(self(_a(kept), _a(part)))
        return kept

    def accumulate(self, array, axis=0, dtype=None, out=None):
        self._pairs()
        parts = _summed(self, array, dtype).movedim(axis, 0)
        whole = {"add": torch.cumsum, "multiply": torch.cumprod}.get(self.__name__)
        if whole is not None:
            made = whole(parts, 0).to(parts.dtype)
        else:
            kept = [*parts[:1]]
            for part in parts[1:]:
                kept.append(_t(self(_a(kept[-1]), _a(part))))
            made = torch.stack(kept) if kept else parts
        made = _a(made.movedim(0, axis))
        return made if out is None else _into(self.__name__, made, out, True, "same_kind")

    def reduceat(self, array, indices, axis=0, dtype=None, out=None):
        self._pairs()
        parts, starts = _summed(self, array, dtype).movedim(axis, 0), _t(indices).tolist()
        kept = []
        for start, end in zip(starts, [*starts[1:], len(parts)]):
            if not 0 <= start < len(parts):
                raise IndexError(f"index {start} out-of-bounds in {self.__name__}.reduceat [0, {len(parts)})")
            kept.append(self._folded(parts[start:end]) if start < end else parts[start])
        made = _a(torch.stack(kept).movedim(0, axis))
        return made if out is None else _into(self.__name__, made, out, True, "same_kind")

    def outer(self, A, B, **kwargs):
        self._pairs()
        a, b = _t(A), _t(B)
        return self(_r(a.reshape([*a.shape] + [1] * b.dim())), B, **kwargs)

    def at(self, a, indices, b=None):
        places = indices if isinstance(indices, tuple) else (indices,)
        places = [p if isinstance(p, slice) else _t(p) for p in places]
        if [p for p in places if isinstance(p, slice)]:
            raise TypeError(f"{self.__name__}.at with slices is not supported by this server: use arrays of indices")
        if len(places) == 1 and places[0].dtype == torch.bool:
            places = [*torch.nonzero(places[0], as_tuple=True)]
        places = torch.broadcast_tensors(*places)
        given = None if b is None else _t(b).expand([*places[0].shape] + [*_t(a).shape][len(places):])
        flat = [p.reshape(-1).tolist() for p in places]
        for n, place in enumerate(zip(*flat)):
            if given is None:
                a[place] = self(a[place])
            else:
                a[place] = self(a[place], _r(given.reshape([len(flat[0])] + [*given.shape][places[0].dim():])[n]))


def _reduced(name, a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=True, ddof=0, correction=None):
    """A reduction of some elements, from a first value on, or into an array that is there already."""
    whole = {"sum": add, "prod": multiply, "amax": maximum, "amin": minimum, "all": logical_and, "any": logical_or}
    if name in whole:
        if name in ("all", "any"):
            a = _a(_t(a).to(torch.bool))
        made = whole[name].reduce(a, axis, dtype, None, keepdims, initial, where)
    elif name in ("mean", "var", "std") and initial is None:
        t = _f(a) if dtype is None else _t(a).to(_dtype(dtype))
        mask = (torch.ones(t.shape, dtype=torch.bool, device="cpu") if where is True else _t(where).expand(t.shape)).to(t.dtype)
        dims = [*range(t.dim())] if axis is None else [*axis] if isinstance(axis, tuple) else [axis]
        count = torch.sum(mask, dims, True)
        made = torch.sum(torch.where(mask != 0, t, torch.zeros_like(t)), dims, True) / count
        if name != "mean":
            spread = torch.where(mask != 0, (t - made) ** 2, torch.zeros_like(t))
            made = torch.sum(spread, dims, True) / (count - (ddof if correction is None else correction))
            made = torch.sqrt(made) if name == "std" else made
        if not keepdims:
            made = made.reshape([size for dim, size in enumerate(t.shape) if dim not in [d % t.dim() for d in dims]])
        made = _r(made)
    else:
        raise TypeError(f"numpy.{name}() with out=, where= or initial= is not supported by this server: bind what is returned")
    return made if out is None else _into(name, made, out, True, "same_kind")


def _summed(function, array, dtype):
    """What is reduced: sums and products of small whole numbers are of 64 bits."""
    t = _t(array)
    if dtype is not None:
        return t.to(_dtype(dtype))
    if function.__name__ in ("add", "multiply") and t.dtype not in _FLOATS:
        return t.to(torch.uint64 if t.dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64) else torch.int64)
    return t


def _into(name, made, out, where, casting):
    """Writes what was computed into an array, and returns that."""
    if isinstance(out, tuple):
        out, = out
    if out is None:
        raise TypeError("argument 'where' of numpy's functions without 'out' leaves elements that nobody wrote; this server does not support that: give out=")
    value, kind = _t(made), _t(out).dtype
    if casting != "unsafe" and _rank(value.dtype) > _rank(kind):
        raise TypeError(f"Cannot cast ufunc '{name}' output from {_shown(value.dtype)!r} to {_shown(kind)!r} with casting rule 'same_kind'")
    if where is not True:
        mask = _t(where)
        value = torch.where(mask, value.to(kind), _t(out))
    shape = torch.broadcast_shapes(value.shape, _t(out).shape)
    if shape != _t(out).shape:
        raise ValueError(f"non-broadcastable output operand with shape {_written(_t(out).shape)} doesn't match the broadcast shape {_written(shape)}")
    out[...] = _a(value.to(kind))
    return out


def _written(shape):
    return "(" + ",".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _rank(kind):
    return 0 if kind == torch.bool else 3 if kind.is_complex else 2 if kind.is_floating_point else 1


def _unary(operator, exact=False):
    def function(x, dtype):
        t = _t(x) if exact else _own(_t(x))
        if dtype is not None:
            t = t.to(_dtype(dtype))
        return _r(operator(t))

    return ufunc(function, 1)


def _binary(operator, floats=False):
    def function(x1, x2, dtype):
        a, b = _common(x1, x2)
        if floats and a.dtype not in _FLOATS:
            a, b = (a.to(torch.float64), b.to(torch.float64)) if floats == "wide" else (_own(a), _own(b))
        if dtype is not None:
            a, b = a.to(_dtype(dtype)), b.to(_dtype(dtype))
        return _r(operator(a, b))

    return ufunc(function, 2)


def _inverted(t):
    """One by each; of whole numbers, cut off as in C."""
    if t.dtype in _FLOATS:
        return torch.reciprocal(t)
    t = t.to(torch.int8) if t.dtype == torch.bool else t
    return torch.where(t == 0, torch.zeros_like(t), (t == 1).to(t.dtype) - (t == -1).to(t.dtype))


def _named(**functions):
    for name, function in functions.items():
        function.__name__ = name


def _divided(operator):
    """Whole numbers divided by zero are zero."""
    def function(a, b):
        none = None if a.dtype in _FLOATS else b == 0
        if none is None or not none.any():
            return operator(a, b)
        return torch.where(none, torch.zeros_like(b), operator(a, torch.where(none, torch.ones_like(b), b)))

    return function


def _wrapped(made, given):
    """What `Tensor.__array_wrap__` makes of what numpy computes of tensors: a tensor, whose truth values are bytes."""
    if not any_of([isinstance(one, torch.Tensor) for one in given]):
        return made
    if isinstance(made, (tuple, list)):
        return type(made)([_wrapped(one, given) for one in made])
    t = _t(made)
    return t.to(torch.uint8) if t.dtype == torch.bool else t


def _only(function, **given):
    """Refuses values of arguments that would not be obeyed: each argument comes with those that are."""
    for name, (value, *obeyed) in given.items():
        if not any_of([value is one or type(value) is type(one) and value == one for one in obeyed]):
            shown = " or ".join([repr(one) for one in obeyed])
            raise TypeError(f"argument '{name}' of numpy.{function} can only be {shown} on this server")


def _put(function, made, out):
    """What is returned, written into the array that was given for it."""
    return made if out is None else _into(function, made, out, True, "same_kind")


def _plain(out, where):
    if out is not None:
        raise TypeError("argument 'out' of numpy's functions is not supported by this server: bind what is returned")
    if where is not True:
        raise TypeError("argument 'where' of numpy's functions is not supported by this server: use numpy.where")


sin, cos, tan = _unary(torch.sin), _unary(torch.cos), _unary(torch.tan)
arcsin = asin = _unary(torch.asin)
arccos = acos = _unary(torch.acos)
arctan = atan = _unary(torch.atan)
sinh, cosh, tanh = _unary(torch.sinh), _unary(torch.cosh), _unary(torch.tanh)
arcsinh = asinh = _unary(torch.asinh)
arccosh = acosh = _unary(torch.acosh)
arctanh = atanh = _unary(torch.atanh)
exp2, expm1, log2, log10, log1p = (
    _unary(torch.exp2), _unary(torch.expm1), _unary(torch.log2), _unary(torch.log10), _unary(torch.log1p))
cbrt = _unary(lambda t: torch.sign(t) * torch.abs(t) ** (1.0 / 3.0))
degrees = rad2deg = _unary(torch.rad2deg)
radians = deg2rad = _unary(torch.deg2rad)
rint = _unary(torch.round)
fabs = _unary(torch.abs)
signbit = _unary(torch.signbit, True)
abs = absolute = _unary(torch.abs, True)
negative, positive = _unary(torch.neg, True), _unary(torch.positive, True)
square = _unary(lambda t: torch.square(_bytes(t)), True)
reciprocal = _unary(_inverted, exact=True)
sign = _unary(lambda t: torch.sgn(t) if t.is_complex() else torch.sign(t), True)
floor = _unary(lambda t: torch.floor(t) if t.dtype in _FLOATS else t, True)
ceil = _unary(lambda t: torch.ceil(t) if t.dtype in _FLOATS else t, True)
trunc = fix = _unary(lambda t: torch.trunc(t) if t.dtype in _FLOATS else t, True)
conj = conjugate = _unary(lambda t: torch.conj_physical(t) if t.is_complex() else _bytes(t), True)
isnan, isinf, isfinite = _unary(torch.isnan, True), _unary(torch.isinf, True), _unary(torch.isfinite, True)
isposinf, isneginf = _unary(torch.isposinf, True), _unary(torch.isneginf, True)
logical_not = _unary(torch.logical_not, True)
bitwise_not = bitwise_invert = invert = _unary(torch.bitwise_not, True)
spacing = _unary(lambda t: torch.nextafter(t, torch.full_like(t, math.inf)) - t)
exp, log, sqrt = _unary(torch.exp), _unary(torch.log), _unary(torch.sqrt)

add, subtract, multiply = _binary(torch.add), _binary(torch.sub), _binary(torch.mul)
divide = true_divide = _binary(torch.div, "wide")
floor_divide, fmod = _binary(_divided(torch.floor_divide)), _binary(_divided(torch.fmod))
mod = remainder = _binary(_divided(torch.remainder))
power = pow = _binary(torch.pow)
float_power = _binary(lambda a, b: torch.pow(a.to(torch.float64), b.to(torch.float64)))
arctan2 = atan2 = _binary(torch.atan2, True)
hypot, copysign, nextafter = _binary(torch.hypot, True), _binary(torch.copysign, True), _binary(torch.nextafter, True)
logaddexp, logaddexp2 = _binary(torch.logaddexp, True), _binary(torch.logaddexp2, True)
maximum, minimum, fmax, fmin = (
    _binary(torch.maximum), _binary(torch.minimum), _binary(torch.fmax), _binary(torch.fmin))
heaviside = _binary(torch.heaviside, True)
gcd, lcm = _binary(torch.gcd), _binary(torch.lcm)
bitwise_and, bitwise_or, bitwise_xor = _binary(torch.bitwise_and), _binary(torch.bitwise_or), _binary(torch.bitwise_xor)
left_shift = bitwise_left_shift = _binary(torch.bitwise_left_shift)
right_shift = bitwise_right_shift = _binary(torch.bitwise_right_shift)
equal, not_equal, less, less_equal = _binary(torch.eq), _binary(torch.ne), _binary(torch.lt), _binary(torch.le)
greater, greater_equal = _binary(torch.gt), _binary(torch.ge)
logical_and, logical_or, logical_xor = (
    _binary(torch.logical_and), _binary(torch.logical_or), _binary(torch.logical_xor))


_named(
    sin=sin, cos=cos, tan=tan, arcsin=arcsin, arccos=arccos, arctan=arctan, sinh=sinh, cosh=cosh, tanh=tanh, arcsinh=arcsinh,
    arccosh=arccosh, arctanh=arctanh, exp2=exp2, expm1=expm1, log2=log2, log10=log10, log1p=log1p, cbrt=cbrt, rad2deg=rad2deg,
    deg2rad=deg2rad, rint=rint, fabs=fabs, signbit=signbit, absolute=absolute, negative=negative, positive=positive,
    square=square, reciprocal=reciprocal, sign=sign, floor=floor, ceil=ceil, trunc=trunc, conjugate=conjugate, isnan=isnan,
    isinf=isinf, isfinite=isfinite, logical_not=logical_not, invert=invert, spacing=spacing, exp=exp, log=log, sqrt=sqrt,
    add=add, subtract=subtract, multiply=multiply, divide=divide, floor_divide=floor_divide, fmod=fmod, remainder=remainder,
    power=power, float_power=float_power, arctan2=arctan2, hypot=hypot, copysign=copysign, nextafter=nextafter,
    logaddexp=logaddexp, logaddexp2=logaddexp2, maximum=maximum, minimum=minimum, fmax=fmax, fmin=fmin, heaviside=heaviside,
    gcd=gcd, lcm=lcm, bitwise_and=bitwise_and, bitwise_or=bitwise_or, bitwise_xor=bitwise_xor, left_shift=left_shift,
    right_shift=right_shift, equal=equal, not_equal=not_equal, less=less, less_equal=less_equal, greater=greater,
    greater_equal=greater_equal, logical_and=logical_and, logical_or=logical_or, logical_xor=logical_xor)
add.identity = bitwise_or.identity = bitwise_xor.identity = gcd.identity = hypot.identity = 0
multiply.identity = lcm.identity = 1
bitwise_and.identity = -1
logical_and.identity, logical_or.identity, logical_xor.identity = True, False, False


class iinfo:
    """What whole numbers of a type can be."""

    def __init__(self, type):
        kind = _dtype(type) if not hasattr(type, "dtype") else _t(type).dtype
        if kind in _FLOATS or kind == torch.bool:
            raise ValueError(f"Invalid integer data type '{_shown(kind).kind}'.")
        found = torch.iinfo(kind)
        self.min, self.max, self.bits, self.dtype, self.kind = found.min, found.max, found.bits, _shown(kind), _shown(kind).kind

    def __repr__(self):
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"

    def __str__(self):
        line = "-" * 63
        return f"Machine parameters for {self.dtype}\n{line}\nmin = {self.min}\nmax = {self.max}\n{line}\n"


class finfo:
    """What floats of a type can be."""

    def __init__(self, dtype):
        kind = _dtype(dtype) if not hasattr(dtype, "dtype") else _t(dtype).dtype
        kind = {torch.complex64: torch.float32, torch.complex128: torch.float64}.get(kind, kind)
        if kind not in _FLOATS:
            raise ValueError(f"data type {dtype!r} not inexact")
        found = torch.finfo(kind)
        number = lambda value: _r(torch.tensor(value, dtype=kind, device="cpu"))
        self.dtype, self.bits = _shown(kind), found.bits
        self.nmant = {16: 10, 32: 23, 64: 52}[found.bits]
        self.nexp, self.iexp, self.precision = found.bits - self.nmant - 1, found.bits - self.nmant - 1, {16: 3, 32: 6, 64: 15}[found.bits]
        self.machep, self.maxexp, self.minexp = -self.nmant, 1 << self.nexp - 1, 2 - (1 << self.nexp - 1)
        self.min, self.max, self.eps = number(found.min), number(found.max), number(found.eps)
        self.epsneg, self.resolution = number(found.eps / 2), number(10.0 ** -self.precision)
        self.tiny = self.smallest_normal = number(found.tiny)
        self.smallest_subnormal = number(found.tiny * found.eps)

    def __repr__(self):
        return f"finfo(resolution={self.resolution}, min={self.min}, max={self.max}, dtype={self.dtype})"

    def __str__(self):
        raise TypeError("str() of numpy.finfo is not supported by this server: use its attributes")


def ldexp(x1, x2):
    found = _f(x1) * torch.pow(torch.tensor(2.0, dtype=torch.float64, device="cpu"), _t(x2)).to(_f(x1).dtype)
    return _wrapped(_r(found), [x1, x2])


def divmod(x1, x2):
    return floor_divide(x1, x2), mod(x1, x2)


def sinc(x):
    return _r(torch.sinc(_own(_t(x))))


def i0(x):
    return _r(torch.i0(_own(_t(x))))


def modf(x):
    t = _own(_t(x))
    rest = torch.where(torch.isinf(t), torch.zeros_like(t), t - torch.trunc(t))
    return _wrapped((_r(torch.copysign(rest, t)), _r(torch.trunc(t))), [x])


def frexp(x):
    found = torch.frexp(_own(_t(x)))
    return _wrapped((_r(found[0]), _r(found[1])), [x])


# Making arrays.

def _shape(shape):
    return [int(shape)] if isinstance(shape, int) or not hasattr(shape, "__iter__") else [int(size) for size in shape]


def _kind(dtype, default=torch.float64):
    return default if dtype is None else _dtype(dtype)


def empty(shape, dtype=float, order="C", *, like=None):
    return _a(torch.zeros(_shape(shape), dtype=_kind(dtype), device="cpu"))


def full(shape, fill_value, dtype=None, order="C", *, like=None):
    value = _t(fill_value)
    kind = value.dtype if dtype is None else _dtype(dtype)
    return _a(value.to(kind).expand(_shape(shape)).clone())


def _like(a, dtype, shape, value):
    t = _t(a)
    return _a(torch.full(list(t.shape) if shape is None else _shape(shape), value, dtype=_kind(dtype, t.dtype), device="cpu"))


def zeros_like(a, dtype=None, order="K", subok=True, shape=None):
    return _like(a, dtype, shape, 0)


def ones_like(a, dtype=None, order="K", subok=True, shape=None):
    return _like(a, dtype, shape, 1)


empty_like = zeros_like


def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None):
    return _like(a, dtype, shape, fill_value)


def eye(N, M=None, k=0, dtype=float, order="C"):
    M = N if M is None else M
    rows, columns = torch.arange(N, device="cpu")[:, None], torch.arange(M, device="cpu")[None]
    return _a((columns - rows == k).to(_kind(dtype)))


def identity(n, dtype=None):
    return eye(n, dtype=float if dtype is None else dtype)


def tri(N, M=None, k=0, dtype=float):
    M = N if M is None else M
    rows, columns = torch.arange(N, device="cpu")[:, None], torch.arange(M, device="cpu")[None]
    return _a((columns - rows <= k).to(_kind(dtype)))


def arange(start, stop=None, step=1, dtype=None, *, like=None, device=None):
    if stop is None:
        start, stop = 0, start
    given = [value.item() if hasattr(value, "item") else value for value in (start, stop, step)]
    start, stop, step = given
    whole = all_of([isinstance(value, int) for value in given])
    kind = _kind(dtype, torch.int64 if whole else torch.float64)
    if step == 0:
        raise ZeroDivisionError("division by zero")
    count = max_of(0, math.ceil((stop - start) / step))
    if whole:
        return _a((torch.arange(count, device="cpu") * step + start).to(kind))
    if kind not in _FLOATS:
        # numpy takes the step between the first two elements, which are whole numbers already.
        first = torch.tensor([start, start + step], dtype=torch.float64, device="cpu").to(kind)
        return _a(first[0] + torch.arange(count, device="cpu").to(kind) * (first[1] - first[0]))
    made = torch.arange(count, dtype=torch.float64, device="cpu")
    return _a((start + made * ((start + step) - start)).to(kind))


def all_of(flags):
    for flag in flags:
        if not flag:
            return False
    return True


def max_of(a, b):
    return a if a > b else b


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, *, device=None):
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    first, last = [_f(t) for t in _common(start, stop)]
    div = num - 1 if endpoint else num
    delta = last - first
    steps = torch.arange(num, dtype=torch.float64, device="cpu").to(delta.dtype).reshape([-1] + [1] * delta.dim())
    if div > 0:
        step = delta / div
        made = steps / div * delta if bool((step == 0).any()) else steps * step
    else:
        step = math.nan * delta
        made = steps * delta
    made = made + first
    if endpoint and num > 1:
        made[-1] = last
    if axis != 0:
        made = made.movedim(0, axis)
    if dtype is not None:
        kind = _dtype(dtype)
        made = (torch.floor(made) if kind not in _FLOATS else made).to(kind)
    made = _wrapped(_a(made), [start, stop])
    return (made, _r(step)) if retstep else made


def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0):
    places = _t(linspace(start, stop, num, endpoint, axis=axis))
    made = torch.pow(torch.tensor(float(base), dtype=places.dtype, device="cpu"), places)
    return _wrapped(_a(made if dtype is None else made.to(_dtype(dtype))), [start, stop])


def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    _only("geomspace", axis=(axis, 0))
    first, last = float(start), float(stop)
    if first == 0 or last == 0:
        raise ValueError("Geometric sequence cannot include zero")
    turn = -1.0 if first < 0 and last < 0 else 1.0
    made = turn * _t(logspace(math.log10(first * turn), math.log10(last * turn), num, endpoint))
    if num > 0:
        made[0] = first
        if num > 1 and endpoint:
            made[-1] = last
    return _a(made if dtype is None else made.to(_dtype(dtype)))


def meshgrid(*xi, copy=True, sparse=False, indexing="xy"):
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    parts = [_t(x).reshape(-1) for x in xi]
    if sparse:
        at = [1, 0, *range(2, len(parts))] if indexing == "xy" and len(parts) > 1 else range(len(parts))
        grids = [t.reshape([-1 if dim == place else 1 for dim in range(len(parts))]) for t, place in zip(parts, at)]
    else:
        grids = torch.meshgrid(parts, indexing=indexing) if parts else []
    return tuple([_a(grid.clone() if copy else grid) for grid in grids])


def indices(dimensions, dtype=int, sparse=False):
    parts = [torch.arange(size, device="cpu") for size in dimensions]
    if sparse:
        return meshgrid(*[_a(t.to(_kind(dtype, torch.int64))) for t in parts], sparse=True, indexing="ij")
    grids = torch.meshgrid(parts, indexing="ij")
    return _a(torch.stack(grids).to(_kind(dtype, torch.int64)))


def fromfunction(function, shape, *, dtype=float, like=None, **kwargs):
    return function(*[_a(grid) for grid in _t(indices(shape, dtype=dtype)).unbind(0)], **kwargs)


def fromiter(iter, dtype, count=-1, *, like=None):
    items = []
    for item in iter:
        if 0 <= count <= len(items):
            break
        items.append(item)
    return _a(_t(items).to(_dtype(dtype)))


def copy(a, order="K", subok=False):
    return _a(_t(a).clone())


def asanyarray(a, dtype=None, order=None):
    t = _t(a)
    if hasattr(a, "dtype") and not isinstance(a, torch.Tensor) and (dtype is None or t.dtype == _dtype(dtype)):
        return a
    return _a(t if dtype is None else t.to(_dtype(dtype)))


def ascontiguousarray(a, dtype=None, *, like=None):
    t = _t(a)
    return _a((t if dtype is None else t.to(_dtype(dtype))).contiguous())


def astype(x, dtype, /, *, copy=True, device=None):
    return _a(_t(x).to(_dtype(dtype)))


# Shapes.

def shape(a):
    return tuple([int(size) for size in _t(a).shape])


def ndim(a):
    return _t(a).dim()


def size(a, axis=None):
    return _t(a).numel() if axis is None else _t(a).shape[axis]


def reshape(a, /, shape=None, order="C", *, newshape=None, copy=None):
    _only("reshape", copy=(copy, None))
    if order != "C":
        raise ValueError("orders other than 'C' are not supported by this server")
    return _wrapped(_a(_t(a).reshape(_shape(newshape if shape is None else shape))), [a])


def resize(a, new_shape):
    t, wanted = _t(a).reshape(-1), _shape(new_shape)
    count = math.prod(wanted)
    return _a(t.repeat(-(-count // max_of(t.numel(), 1)))[:count].reshape(wanted))


def ravel(a, order="C"):
    t = _t(a)
    if order in ("A", "K") and not t.is_contiguous():
        _only("ravel", order=(order, "C", "F"))
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got '{order}')")
    return _a((t.permute(list(range(t.dim()))[::-1]) if order == "F" else t).reshape(-1))


def transpose(a, axes=None):
    t = _t(a)
    return _wrapped(_a(t.permute(list(range(t.dim()))[::-1] if axes is None else _shape(axes))), [a])


permute_dims = transpose


def matrix_transpose(x, /):
    return _a(_t(x).mT)


def swapaxes(a, axis1, axis2):
    rank = _t(a).dim()
    for name, axis in (("axis1", axis1), ("axis2", axis2)):
        if not -rank <= axis < rank:
            raise AxisError(f"{name}: axis {axis} is out of bounds for array of dimension {rank}")
    return _wrapped(_a(_t(a).swapaxes(axis1, axis2)), [a])


def moveaxis(a, source, destination):
    return _a(_t(a).movedim(source if isinstance(source, int) else _shape(source),
                            destination if isinstance(destination, int) else _shape(destination)))


def rollaxis(a, axis, start=0):
    t = _t(a)
    axis, start = axis % t.dim(), start + t.dim() if start < 0 else start
    return _a(t.movedim(axis, start - 1 if axis < start else start))


def squeeze(a, axis=None):
    t = _t(a)
    if axis is None:
        return _wrapped(_a(t.squeeze()), [a])
    dims = _shape(axis)
    for dim in dims:
        if t.shape[dim] != 1:
            raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return _wrapped(_a(t.squeeze(dims)), [a])


def expand_dims(a, axis):
    t = _t(a)
    dims = _shape(axis)
    rank = t.dim() + len(dims)
    for dim in dims:
        if not -rank <= dim < rank:
            raise AxisError(f"axis {dim} is out of bounds for array of dimension {rank}")
    for dim in sorted_of([dim % rank for dim in dims]):
        t = t.unsqueeze(dim)
    return _a(t)


def sorted_of(items):
    items = list(items)
    items.sort()
    return items


def atleast_1d(*arys):
    found = [_a(torch.atleast_1d(_t(a))) for a in arys]
    return found[0] if len(found) == 1 else tuple(found)


def atleast_2d(*arys):
    found = [_a(torch.atleast_2d(_t(a))) for a in arys]
    return found[0] if len(found) == 1 else tuple(found)


def atleast_3d(*arys):
    found = [_a(torch.atleast_3d(_t(a))) for a in arys]
    return found[0] if len(found) == 1 else tuple(found)


def broadcast_to(array, shape, subok=False):
    return _a(torch.broadcast_to(_t(array), _shape(shape)))


def broadcast_arrays(*args, subok=False):
    return tuple([_a(t) for t in torch.broadcast_tensors(*[_t(a) for a in args])])


def broadcast_shapes(*args):
    return tuple([int(size) for size in torch.broadcast_shapes(*[tuple(_shape(part)) for part in args])])


def flip(m, axis=None):
    t = _t(m)
    dims = list(range(t.dim())) if axis is None else _shape(axis)
    if dims and isinstance(m, torch.Tensor):
        raise ValueError("step must be greater than zero")
    return _a(torch.flip(t, dims))


def fliplr(m):
    return _a(torch.flip(_t(m), [1]))


def flipud(m):
    return _a(torch.flip(_t(m), [0]))


def rot90(m, k=1, axes=(0, 1)):
    return _a(torch.rot90(_t(m), k, list(axes)))


def roll(a, shift, axis=None):
    t = _t(a)
    if axis is None:
        return _a(torch.roll(t, shift if isinstance(shift, int) else sum_of(shift)))
    dims = _shape(axis)
    shifts = _shape(shift)
    return _a(torch.roll(t, shifts * len(dims) if len(shifts) == 1 else shifts, dims))


def sum_of(items):
    total = 0
    for item in items:
        total += item
    return total


def tile(A, reps):
    return _a(torch.tile(_t(A), _shape(reps)))


def repeat(a, repeats, axis=None):
    t = _t(a)
    counts = int(repeats) if isinstance(repeats, int) else _t(repeats)
    if isinstance(counts, torch.Tensor) and counts.numel() == 1:
        counts = int(counts)
    found = torch.repeat_interleave(t.reshape(-1) if axis is None else t, counts, dim=0 if axis is None else axis)
    return _wrapped(_a(found), [a])


def _joined(arrays):
    return _common(*[_t(a) if _weak(a) else a for a in (arrays if isinstance(arrays, (list, tuple)) else list(arrays))])


def _alike(arrays, axis):
    first = arrays[0]
    for at, t in enumerate(arrays):
        if t.dim() != first.dim():
            raise ValueError(
                "all the input arrays must have same number of dimensions, but the array at index 0 has "
                f"{first.dim()} dimension(s) and the array at index {at} has {t.dim()} dimension(s)"
            )
        for dim in range(t.dim()):
            if t.shape[dim] != first.shape[dim] and dim != axis % t.dim():
                raise ValueError(
                    "all the input array dimensions except for the concatenation axis must match exactly, but along "
                    f"dimension {dim}, the array at index 0 has size {first.shape[dim]} and the array at index {at} has size "
                    f"{t.shape[dim]}"
                )
    return arrays


def concatenate(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    _plain(out, True)
    arrays = _joined(arrays)
    if not arrays:
        raise ValueError("need at least one array to concatenate")
    found = torch.cat([t.reshape(-1) for t in arrays]) if axis is None else torch.cat(_alike(arrays, axis), axis)
    return _a(found if dtype is None else found.to(_dtype(dtype)))


concat = concatenate


def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    arrays = _joined(arrays)
    if not arrays:
        raise ValueError("need at least one array to stack")
    if any_of([t.shape != arrays[0].shape for t in arrays]):
        raise ValueError("all input arrays must have the same shape")
    found = torch.stack(arrays, axis)
    return _put("stack", _a(found if dtype is None else found.to(_dtype(dtype))), out)


def any_of(flags):
    for flag in flags:
        if flag:
            return True
    return False


def vstack(tup, *, dtype=None, casting="same_kind"):
    found = torch.cat(_alike([torch.atleast_2d(t) for t in _joined(tup)], 0))
    return _a(found if dtype is None else found.to(_dtype(dtype)))


row_stack = vstack


def hstack(tup, *, dtype=None, casting="same_kind"):
    arrays = [torch.atleast_1d(t) for t in _joined(tup)]
    found = torch.hstack(_alike(arrays, 0 if arrays and arrays[0].dim() == 1 else 1))
    return _a(found if dtype is None else found.to(_dtype(dtype)))


def dstack(tup):
    return _a(torch.dstack(_joined(tup)))


def column_stack(tup):
    return _a(torch.column_stack(_joined(tup)))


def block(arrays):
    def made(part, axis):
        if not isinstance(part, list):
            return _t(part)
        parts = [made(inner, axis + 1) for inner in part]
        parts = [torch.atleast_2d(t) if depth > 1 else torch.atleast_1d(t) for t in parts]
        return torch.cat(parts, axis - depth)

    depth, inner = 0, arrays
    while isinstance(inner, list):
        depth, inner = depth + 1, inner[0]
    return _a(made(arrays, 0))


def unstack(x, /, *, axis=0):
    return tuple([_a(t) for t in _t(x).unbind(axis)])


def array_split(ary, indices_or_sections, axis=0):
    parts = indices_or_sections if isinstance(indices_or_sections, int) else [int(at) for at in indices_or_sections]
    return [t if isinstance(ary, torch.Tensor) else _a(t) for t in torch.tensor_split(_t(ary), parts, axis)]


def split(ary, indices_or_sections, axis=0):
    if isinstance(indices_or_sections, int) and _t(ary).shape[axis] % indices_or_sections:
        raise ValueError("array split does not result in an equal division")
    return array_split(ary, indices_or_sections, axis)


def hsplit(ary, indices_or_sections):
    return split(ary, indices_or_sections, 0 if _t(ary).dim() == 1 else 1)


def vsplit(ary, indices_or_sections):
    return split(ary, indices_or_sections, 0)


def dsplit(ary, indices_or_sections):
    return split(ary, indices_or_sections, 2)


def pad(array, pad_width, mode="constant", **kwargs):
    t = _t(array)
    if isinstance(pad_width, int):
        widths = [(pad_width, pad_width)] * t.dim()
    else:
        widths = [list(_shape(width)) for width in pad_width] if hasattr(pad_width[0], "__iter__") else [list(pad_width)]
        widths = [width * 2 if len(width) == 1 else width for width in widths]
        if len(widths) == 1:
            widths = widths * t.dim()
    for dim, (before, after) in enumerate(widths):
        length = t.shape[dim]
        at = torch.arange(-before, length + after, device="cpu")
        if mode == "constant":
            value = kwargs.get("constant_values", 0)
            inside = (at >= 0) & (at < length)
            taken = t.index_select(dim, at.clamp(0, max_of(length - 1, 0))) if length else t.new_zeros(
                [*t.shape[:dim], before + after, *t.shape[dim + 1:]])
            mask = inside.reshape([-1 if axis == dim else 1 for axis in range(t.dim())])
            t = torch.where(mask, taken, torch.tensor(value, dtype=t.dtype, device="cpu"))
        elif mode == "edge":
            t = t.index_select(dim, at.clamp(0, length - 1))
        elif mode == "wrap":
            t = t.index_select(dim, at % length)
        elif mode in ("reflect", "symmetric"):
            period = 2 * (length - 1) if mode == "reflect" else 2 * length
            place = at % max_of(period, 1)
            back = period - place if mode == "reflect" else period - 1 - place
            t = t.index_select(dim, torch.minimum(place, back) if length > 1 or mode == "symmetric" else at * 0)
        else:
            raise ValueError(f"mode '{mode}' is not supported")
    return _a(t)


# Sorting, searching, counting.

def _axis(t, axis):
    return (t.reshape(-1), 0) if axis is None else (t, axis)


def sort(a, axis=-1, kind=None, order=None, *, stable=None):
    _only("sort", order=(order, None))
    t, axis = _axis(_t(a), axis)
    return _a(torch.sort(t, dim=axis, stable=True)[0])


def argsort(a, axis=-1, kind=None, order=None, *, stable=None):
    _only("argsort", order=(order, None))
    t, axis = _axis(_t(a), axis)
    return _wrapped(_a(torch.sort(t, dim=axis, stable=True)[1]), [a])


def partition(a, kth, axis=-1, kind="introselect", order=None):
    return sort(a, axis)


def argpartition(a, kth, axis=-1, kind="introselect", order=None):
    return argsort(a, axis)


def lexsort(keys, axis=-1):
    _only("lexsort", axis=(axis, -1))
    found = None
    for key in keys:
        t = _t(key)
        order = torch.sort(t if found is None else t[found], stable=True)[1]
        found = order if found is None else found[order]
    return _a(found)


def searchsorted(a, v, side="left", sorter=None):
    sequence, values = _common(a, v)
    if sorter is not None:
        sequence = sequence[_t(sorter)]
    return _wrapped(_r(torch.searchsorted(sequence.contiguous(), values.contiguous(), right=side == "right")), [a])


def digitize(x, bins, right=False):
    values, edges = _common(x, bins)
    if edges.numel() > 1 and bool(edges[0] > edges[-1]):
        return _r(edges.numel() - torch.searchsorted(edges.flip(0).contiguous(), values, right=right))
    return _r(torch.searchsorted(edges.contiguous(), values.contiguous(), right=not right))


def nonzero(a):
    """Of a tensor, what its own method gives: a row for each element."""
    if isinstance(a, torch.Tensor):
        return a.nonzero()
    return tuple([_a(t) for t in torch.nonzero(_t(a), as_tuple=True)])


def flatnonzero(a):
    return nonzero(ravel(a))[0]


def argwhere(a):
    """NumPy turns what `nonzero` gives, which of a tensor lies the other way round."""
    if isinstance(a, torch.Tensor) and a.dim():
        return transpose(a.nonzero())
    return _a(torch.argwhere(_t(a)))


def where(condition, x=None, y=None, /):
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    a, b = _common(x, y)
    return _r(torch.where(_t(condition).to(torch.bool), a, b))


def select(condlist, choicelist, default=0):
    *choices, found = _common(*choicelist, default)
    for condition, choice in list(zip(condlist, choices))[::-1]:
        found = torch.where(_t(condition), choice, found)
    return _a(found)


def choose(a, choices, out=None, mode="raise"):
    *parts, = torch.broadcast_tensors(_t(a), *_common(*choices))
    index = parts[0]
    if mode == "wrap":
        index = index % (len(parts) - 1)
    elif mode == "clip":
        index = index.clamp(0, len(parts) - 2)
    elif bool_of((index < 0).any()) or bool_of((index >= len(parts) - 1).any()):
        raise ValueError("invalid entry in choice array")
    return _put("choose", _wrapped(_r(torch.gather(torch.stack(parts[1:]), 0, index[None])[0]), [a]), out)


def piecewise(x, condlist, funclist, *args, **kw):
    t = _t(x)
    found = torch.zeros_like(t)
    conditions = [_t(c) for c in (condlist if isinstance(condlist, (list, tuple)) else [condlist])]
    if len(funclist) == len(conditions) + 1:
        rest = torch.stack(conditions).any(0)
        conditions.append(~rest)
    for condition, function in zip(conditions, funclist):
        if callable(function):
            if bool(condition.any()):
                found[condition] = _t(function(_a(t[condition]), *args, **kw)).to(t.dtype)
        else:
            found[condition] = function
    return _a(found)


def extract(condition, arr):
    return _a(_t(arr).reshape(-1)[_t(condition).reshape(-1).to(torch.bool)])


def compress(condition, a, axis=None, out=None):
    t, axis = _axis(_t(a), axis)
    keep = torch.nonzero(_t(condition).to(torch.bool)).reshape(-1)
    return _put("compress", _wrapped(_a(t.index_select(axis, keep)), [a]), out)


def count_nonzero(a, axis=None, *, keepdims=False):
    t = _t(a)
    if axis is None and not keepdims:
        return _r(torch.count_nonzero(t))
    return _r((t != 0).sum(dim=list(range(t.dim())) if axis is None else axis, keepdim=keepdims))


def take(a, indices, axis=None, out=None, mode="raise"):
    t, axis = _axis(_t(a), axis)
    index = _t(indices)
    length = t.shape[axis]
    if mode == "wrap":
        index = index % length
    elif mode == "clip":
        index = index.clamp(0, length - 1)
    elif index.numel() and (int(index.max()) >= length or int(index.min()) < -length):
        wrong = int(index.max()) if int(index.max()) >= length else int(index.min())
        raise IndexError(f"index {wrong} is out of bounds for axis {axis} with size {length}")
    index = torch.where(index < 0, index + length, index)
    axis = axis % t.dim()
    found = t.index_select(axis, index.reshape(-1))
    return _wrapped(_r(found.reshape([*t.shape[:axis], *index.shape, *t.shape[axis + 1:]])), [a])


def take_along_axis(arr, indices, axis=-1):
    t, axis = _axis(_t(arr), axis)
    index = _t(indices)
    return _a(torch.take_along_dim(t, torch.where(index < 0, index + t.shape[axis], index), axis))


def put_along_axis(arr, indices, values, axis):
    t, index = _t(arr), _t(indices)
    value = torch.broadcast_to(_t(values).to(t.dtype), index.shape)
    t.scatter_(axis, torch.where(index < 0, index + t.shape[axis], index), value)


def place(arr, mask, vals):
    t, chosen = _t(arr), _t(mask).to(torch.bool)
    count = int(chosen.sum())
    arr[_a(chosen)] = _a(_t(resize(vals, count)).to(t.dtype))


def copyto(dst, src, casting="same_kind", where=True):
    t, value = _t(dst), _t(src)
    if where is True:
        dst[...] = _a(torch.broadcast_to(value, t.shape))
    else:
        mask = torch.broadcast_to(_t(where), t.shape)
        dst[_a(mask)] = _a(torch.broadcast_to(value.to(t.dtype), t.shape)[mask])


def fill_diagonal(a, val, wrap=False):
    t = _t(a)
    if t.dim() < 2:
        raise ValueError("array must be at least 2-d")
    if t.dim() > 2:
        if any_of([size != t.shape[0] for size in t.shape]):
            raise ValueError("All dimensions of input must be of equal length")
        a[tuple([arange(t.shape[0])] * t.dim())] = val
        return
    if t.shape[0] > t.shape[1]:
        _only("fill_diagonal", wrap=(wrap, False))
    t.diagonal().copy_(torch.broadcast_to(_t(val).to(t.dtype), t.diagonal().shape))


def unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True, sorted=True):
    t = _t(ar)
    if axis is not None:
        found, inverse, counts = torch.unique(t, return_inverse=True, return_counts=True, dim=axis)
    else:
        found, inverse, counts = torch.unique(t, return_inverse=True, return_counts=True)
        if equal_nan and found.dtype in _FLOATS and found.numel() and bool(torch.isnan(found[-1])):
            first = int(torch.isnan(found).to(torch.int64).argmax())
            counts = torch.cat([counts[:first], counts[first:].sum().reshape(1)])
            found, inverse = found[:first + 1], inverse.clamp(max=first)
    result = [_a(found)]
    if return_index:
        flat = inverse.reshape(-1)
        order = torch.sort(flat, stable=True)[1]
        result.append(_a(order[torch.cumsum(counts, 0) - counts]))
    if return_inverse:
        result.append(_a(inverse))
    if return_counts:
        result.append(_a(counts))
    return result[0] if len(result) == 1 else tuple(result)


def unique_values(x, /):
    return unique(x)


def unique_counts(x, /):
    from collections import namedtuple
    return namedtuple("UniqueCountsResult", "values counts")(*unique(x, return_counts=True))


def unique_inverse(x, /):
    from collections import namedtuple
    return namedtuple("UniqueInverseResult", "values inverse_indices")(*unique(x, return_inverse=True))


def isin(element, test_elements, assume_unique=False, invert=False, *, kind=None):
    a, b = _common(element, test_elements)
    return _r(torch.isin(a, b, invert=invert))


def intersect1d(ar1, ar2, assume_unique=False, return_indices=False):
    if return_indices:
        (a, first), (b, second) = unique(ar1, return_index=True), unique(ar2, return_index=True)
        a, b = _common(a, b)
        return _a(a[torch.isin(a, b)]), first[_a(torch.isin(a, b))], second[_a(torch.isin(b, a))]
    a, b = _common(unique(ar1), unique(ar2))
    return _a(a[torch.isin(a, b)])


def union1d(ar1, ar2):
    return unique(concatenate([ravel(ar1), ravel(ar2)]))


def setdiff1d(ar1, ar2, assume_unique=False):
    kept = ravel(ar1) if assume_unique else unique(ar1)
    a, b = _common(kept, ar2)
    return _a(_t(kept)[~torch.isin(a, b)])


def setxor1d(ar1, ar2, assume_unique=False):
    return union1d(setdiff1d(ar1, ar2), setdiff1d(ar2, ar1))


def bincount(x, /, weights=None, minlength=0):
    return _a(torch.bincount(_t(x), None if weights is None else _f(weights).to(torch.float64), minlength))


def histogram_bin_edges(a, bins=10, range=None, weights=None):
    t = _t(a).reshape(-1)
    if isinstance(bins, str):
        raise ValueError("numpy.histogram: bins by a rule are not supported by this server: give a number or edges")
    if not isinstance(bins, int):
        edges = _t(bins)
        if bool((edges[:-1] > edges[1:]).any()):
            raise ValueError("`bins` must increase monotonically, when an array")
        return _a(edges)
    if bins < 1:
        raise ValueError("`bins` must be positive, when an integer")
    if range is not None:
        first, last = range
        if first > last:
            raise ValueError("max must be larger than min in range parameter.")
    elif t.numel() == 0:
        first, last = 0, 1
    else:
        first, last = t.min().item(), t.max().item()
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ValueError(f"autodetected range of [{first}, {last}] is not finite")
    if first == last:
        first, last = first - 0.5, last + 0.5
    return linspace(first, last, bins + 1, dtype=_a(t).dtype if t.dtype in _FLOATS else None)


def histogram(a, bins=10, range=None, density=None, weights=None):
    t = _t(a).reshape(-1)
    edges = _t(histogram_bin_edges(a, bins, range))
    whole = edges if edges.dtype in _FLOATS else edges.to(torch.float64)
    values = t.to(whole.dtype)
    at = torch.searchsorted(whole.contiguous(), values, right=True) - 1
    at = torch.where(values == whole[-1], whole.numel() - 2, at)
    inside = (values >= whole[0]) & (values <= whole[-1])
    kept = at[inside]
    if weights is None:
        counts = torch.bincount(kept, minlength=whole.numel() - 1)
    else:
        counts = torch.bincount(kept, _f(weights).reshape(-1)[inside].to(torch.float64), minlength=whole.numel() - 1)
    if density:
        counts = counts / torch.diff(whole) / counts.sum()
    return _a(counts), _a(edges)


def histogram2d(x, y, bins=10, range=None, density=None, weights=None):
    pair = (bins, bins) if isinstance(bins, int) else bins
    ranges = (None, None) if range is None else range
    xs, ys = _t(histogram_bin_edges(x, pair[0], ranges[0])), _t(histogram_bin_edges(y, pair[1], ranges[1]))

    def places(values, edges):
        t = _f(values).reshape(-1)
        at = torch.searchsorted(edges.contiguous(), t, right=True) - 1
        return torch.where(t == edges[-1], edges.numel() - 2, at), (t >= edges[0]) & (t <= edges[-1])

    (a, a_in), (b, b_in) = places(x, xs), places(y, ys)
    keep, columns = a_in & b_in, ys.numel() - 1
    given = None if weights is None else _f(weights).reshape(-1)[keep]
    counts = torch.bincount((a * columns + b)[keep], given, (xs.numel() - 1) * columns)
    counts = counts.reshape(xs.numel() - 1, columns).to(torch.float64)
    if density:
        counts = counts / torch.outer(torch.diff(xs), torch.diff(ys)) / counts.sum()
    return _a(counts), _a(xs), _a(ys)


# Reductions.

def _dims(t, axis):
    return list(range(t.dim())) if axis is None else _shape(axis)


def prod(a, axis=None, dtype=None, out=None, keepdims=False):
    t = _t(a)
    if dtype is not None:
        t = t.to(_dtype(dtype))
    for dim in sorted_of([dim % max_of(t.dim(), 1) for dim in _dims(t, axis)])[::-1]:
        t = torch.prod(t, dim, keepdim=keepdims)
    return _put("prod", _r(t), out)


def all(a, axis=None, out=None, keepdims=False, *, where=True):
    if out is not None or where is not True:
        return _reduced("all", a, axis, None, out, keepdims, None, where)
    t = _t(a).to(torch.bool)
    return _r(t.all(dim=_dims(t, axis), keepdim=keepdims)) if t.dim() else _r(t)


def any(a, axis=None, out=None, keepdims=False, *, where=True):
    if out is not None or where is not True:
        return _reduced("any", a, axis, None, out, keepdims, None, where)
    t = _t(a).to(torch.bool)
    return _r(t.any(dim=_dims(t, axis), keepdim=keepdims)) if t.dim() else _r(t)


def ptp(a, axis=None, out=None, keepdims=False):
    t = _t(a)
    return _put("ptp", _wrapped(_r(t.amax(_dims(t, axis), keepdims) - t.amin(_dims(t, axis), keepdims)), [a]), out)


def average(a, axis=None, weights=None, returned=False, *, keepdims=False):
    t = _f(a)
    if weights is None:
        found = t.mean(dim=_dims(t, axis), keepdim=keepdims)
        scale = torch.full_like(found, t.numel() / max_of(found.numel(), 1))
    else:
        w = _f(weights)
        if w.shape != t.shape and axis is not None and w.dim() == 1:
            w = w.reshape([-1 if dim == axis % t.dim() else 1 for dim in range(t.dim())])
        w = torch.broadcast_to(w, t.shape)
        scale = w.sum(dim=_dims(t, axis), keepdim=keepdims)
        if bool((scale == 0).any()):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        found = (t * w).sum(dim=_dims(t, axis), keepdim=keepdims) / scale
    return (_r(found), _r(scale)) if returned else _r(found)


def _moved(t, axis, keepdims):
    """What is reduced comes last, in one dimension; and the shape of what is left."""
    dims = sorted_of([dim % max_of(t.dim(), 1) for dim in _dims(t, axis)])
    rest = [dim for dim in range(t.dim()) if dim not in dims]
    shape = [1 if dim in dims else t.shape[dim] for dim in range(t.dim())] if keepdims else [t.shape[dim] for dim in rest]
    return t.permute(rest + dims).reshape([*[t.shape[dim] for dim in rest], -1]), shape


def median(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    t, shape = _moved(_f(a), axis, keepdims)
    ordered, count = torch.sort(t)[0], t.shape[-1]
    if count == 0:
        return _r(torch.full(shape, math.nan, dtype=t.dtype, device="cpu"))
    low, high = ordered[..., (count - 1) // 2], ordered[..., count // 2]
    found = low if count % 2 else (low + high) / 2
    return _put("median", _r(torch.where(torch.isnan(t).any(-1), math.nan, found).reshape(shape)), out)


_METHODS = ("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull",
            "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest")


def _quantiles(t, q, axis, method, keepdims, percent):
    if method not in _METHODS:
        raise ValueError(f"{method!r} is not a valid method. Use one of: {_METHODS!r}")
    if method in ("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf"):
        raise ValueError(f"method {method!r} is not supported by this server: use 'linear'")
    # A number takes the type of the elements; an array keeps its own, and what is computed with it is of that.
    scalar = isinstance(q, (int, float))
    kind = t.dtype if scalar else torch.promote_types(t.dtype, _f(q).dtype)
    q = _f(q).to(torch.float64)
    if percent:
        q = q / 100
    if bool((q < 0).any()) or bool((q > 1).any()):
        raise ValueError("Percentiles must be in the range [0, 100]" if percent else
                         "Quantiles must be in the range [0, 1]")
    t, shape = _moved(t, axis, keepdims)
    ordered, count = torch.sort(t)[0], t.shape[-1]
    if method in ("lower", "higher", "nearest"):
        kind = t.dtype
    betas = {"hazen": (0.5, 0.5), "weibull": (0.0, 0.0), "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8)}
    flat, found = q.reshape(-1).tolist(), []
    for part in flat:
        place = (count - 1) * part
        if method in betas:
            alpha, beta = betas[method]
            place = count * part + (alpha + part * (1 - alpha - beta)) - 1
        place = 0.0 if place < 0 else place if place < count - 1 else float(count - 1)
        low = int(math.floor(place))
        high = low + 1 if low + 1 < count else low
        weight = place - low
        if method == "lower":
            weight = 0.0
        elif method == "higher":
            low, weight = int(math.ceil(place)), 0.0
            high = low
        elif method == "nearest":
            low, weight = int(torch.round(torch.tensor(place, dtype=torch.float64, device="cpu"))), 0.0
            high = low
        elif method == "midpoint":
            weight = 0.5 if weight > 0 else 0.0
        a, b = ordered[..., low], ordered[..., high]
        a, b, step = a.to(kind), b.to(kind), (b - a).to(kind)
        value = b - step * (1 - weight) if weight >= 0.5 else a + step * weight
        found.append(torch.where(torch.isnan(t).any(-1), math.nan, value).reshape(shape))
    stacked = torch.stack(found) if found else t.new_zeros([0, *shape], dtype=kind)
    return _r(stacked.reshape([*q.shape, *shape]))


def quantile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None):
    _only("quantile", weights=(weights, None))
    return _put("quantile", _quantiles(_f(a), q, axis, method, keepdims, False), out)


def percentile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None):
    _only("percentile", weights=(weights, None))
    return _put("percentile", _quantiles(_f(a), q, axis, method, keepdims, True), out)


def _known(t, function, axis, keepdims):
    """What a function gives of each row without what is no number in it; several numbers of one row come first."""
    moved, shape = _moved(t, axis, keepdims)
    rows = [row[~torch.isnan(row)] for row in moved.reshape(-1, moved.shape[-1]).unbind(0)]
    found = torch.stack([_t(function(_a(row))) for row in rows])
    return _r(found.movedim(0, -1).reshape([*found.shape[1:], *shape]))


def nanmedian(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    return _put("nanmedian", _known(_f(a), median, axis, keepdims), out)


def nanquantile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False):
    return _put("nanquantile", _known(_f(a), lambda row: quantile(row, q, method=method), axis, keepdims), out)


def nanpercentile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False):
    return _put("nanpercentile", _known(_f(a), lambda row: percentile(row, q, method=method), axis, keepdims), out)


def _filled(a, value):
    t = _t(a)
    return torch.where(torch.isnan(t), torch.tensor(value, dtype=t.dtype, device="cpu"), t) if t.dtype in _FLOATS else t


def nansum(a, axis=None, dtype=None, out=None, keepdims=False):
    t = _filled(a, 0)
    t = t if dtype is None else t.to(_dtype(dtype))
    return _put("nansum", _r(t.sum(dim=_dims(t, axis), keepdim=keepdims)), out)


def nanprod(a, axis=None, dtype=None, out=None, keepdims=False):
    return _put("nanprod", prod(_a(_filled(a, 1)), axis, dtype, keepdims=keepdims), out)


def nanmean(a, axis=None, dtype=None, out=None, keepdims=False):
    t = _f(a) if dtype is None else _t(a).to(_dtype(dtype))
    return _put("nanmean", _r(torch.nanmean(t, dim=_dims(t, axis), keepdim=keepdims)), out)


def nanvar(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False):
    t = _f(a) if dtype is None else _t(a).to(_dtype(dtype))
    dims, known = _dims(t, axis), ~torch.isnan(t)
    count = known.sum(dim=dims, keepdim=True)
    centred = torch.where(known, t - torch.nanmean(t, dim=dims, keepdim=True), 0.0)
    found = (centred * centred).sum(dim=dims, keepdim=True) / (count - ddof)
    return _put("nanvar", _r(found if keepdims else found.squeeze(dims)), out)


def nanstd(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False):
    return _put("nanstd", _r(torch.sqrt(_t(nanvar(a, axis, dtype, ddof=ddof, keepdims=keepdims)))), out)


def nanmax(a, axis=None, out=None, keepdims=False):
    t = _filled(a, -math.inf)
    return _put("nanmax", _r(t.amax(_dims(t, axis), keepdims)), out)


def nanmin(a, axis=None, out=None, keepdims=False):
    t = _filled(a, math.inf)
    return _put("nanmin", _r(t.amin(_dims(t, axis), keepdims)), out)


def nanargmax(a, axis=None, out=None, *, keepdims=False):
    return _put("nanargmax", _r(torch.argmax(_filled(a, -math.inf), axis, keepdims)), out)


def nanargmin(a, axis=None, out=None, *, keepdims=False):
    return _put("nanargmin", _r(torch.argmin(_filled(a, math.inf), axis, keepdims)), out)


def _cumulated(operator):
    def function(a, axis=None, dtype=None, out=None):
        t, axis = _axis(_t(a), axis)
        made = operator(t if dtype is None else t.to(_dtype(dtype)), axis)
        if dtype is None and t.dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64):
            made = made.to(torch.uint64)
        return _put("cumsum", _wrapped(_a(made), [a]), out)

    return function


cumsum, cumprod = _cumulated(torch.cumsum), _cumulated(torch.cumprod)


def cumulative_sum(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
    _only("cumulative_sum", include_initial=(include_initial, False))
    return cumsum(x, 0 if axis is None else axis, dtype, out)


def cumulative_prod(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
    _only("cumulative_prod", include_initial=(include_initial, False))
    return cumprod(x, 0 if axis is None else axis, dtype, out)


def nancumsum(a, axis=None, dtype=None, out=None):
    return cumsum(_a(_filled(a, 0)), axis, dtype, out)


def nancumprod(a, axis=None, dtype=None, out=None):
    return cumprod(_a(_filled(a, 1)), axis, dtype, out)


def diff(a, n=1, axis=-1, prepend=None, append=None):
    t = _t(a)
    parts = []
    for part in (prepend, append):
        if part is not None:
            part = _t(part).to(t.dtype)
            if part.dim() == 0:
                shape = list(t.shape)
                shape[axis] = 1
                part = part.expand(shape)
        parts.append(part)
    return _a(torch.diff(t, n, axis, prepend=parts[0], append=parts[1]))


def ediff1d(ary, to_end=None, to_begin=None):
    parts = [torch.diff(_t(ary).reshape(-1))]
    if to_begin is not None:
        parts.insert(0, torch.atleast_1d(_t(to_begin)))
    if to_end is not None:
        parts.append(torch.atleast_1d(_t(to_end)))
    return _a(torch.cat(parts))


def gradient(f, *varargs, axis=None, edge_order=1):
    t = _f(f)
    dims = list(range(t.dim())) if axis is None else _shape(axis)
    if len(varargs) == 0:
        spacing = [1.0] * len(dims)
    elif len(varargs) == 1:
        spacing = [varargs[0]] * len(dims)
    elif len(varargs) == len(dims):
        spacing = list(varargs)
    else:
        raise TypeError("invalid number of arguments")
    found = []
    for dim, space in zip(dims, spacing):
        moved = t.movedim(dim, 0)
        count = moved.shape[0]
        if count < edge_order + 1:
            raise ValueError("Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements "
                             "are required.")
        made = torch.empty_like(moved)
        places = _t(space).to(t.dtype)
        if places.dim() == 0:
            made[1:-1] = (moved[2:] - moved[:-2]) / (2.0 * places)
            steps = (places, places)
        else:
            gaps = torch.diff(places)
            if bool((gaps == gaps[0]).all()):
                made[1:-1] = (moved[2:] - moved[:-2]) / (2.0 * gaps[0])
            else:
                one, two = gaps[:-1], gaps[1:]
                shaped = [-1] + [1] * (moved.dim() - 1)
                a = (-two / (one * (one + two))).reshape(shaped)
                b = ((two - one) / (one * two)).reshape(shaped)
                c = (one / (two * (one + two))).reshape(shaped)
                made[1:-1] = a * moved[:-2] + b * moved[1:-1] + c * moved[2:]
            steps = (gaps[0], gaps[-1])
        if edge_order != 1:
            raise ValueError("numpy.gradient: edge_order=2 is not supported by this server")
        made[0] = (moved[1] - moved[0]) / steps[0]
        made[-1] = (moved[-1] - moved[-2]) / steps[1]
        found.append(_a(made.movedim(0, dim)))
    return found[0] if len(found) == 1 else tuple(found)


def trapezoid(y, x=None, dx=1.0, axis=-1):
    values = _f(y)
    return _r(torch.trapezoid(values, dx=dx, dim=axis) if x is None else torch.trapezoid(values, _f(x), dim=axis))


def interp(x, xp, fp, left=None, right=None, period=None):
    at, places, values = _f(x).to(torch.float64), _f(xp).to(torch.float64), _f(fp).to(torch.float64)
    if period is not None:
        raise ValueError("numpy.interp: argument 'period' is not supported by this server")
    index = (torch.searchsorted(places.contiguous(), at.contiguous(), right=True) - 1).clamp(0, max_of(places.numel() - 2, 0))
    if places.numel() == 1:
        found = values[0].expand(at.shape).clone()
    else:
        slope = torch.diff(values) / torch.diff(places)
        found = slope[index] * (at - places[index]) + values[index]
    found = torch.where(at >= places[-1], values[-1], found)
    found = torch.where(at > places[-1], values[-1] if right is None else float(right), found)
    found = torch.where(at < places[0], values[0] if left is None else float(left), found)
    return _r(torch.where(torch.isnan(at), at, found))


def unwrap(p, discont=None, axis=-1, *, period=6.283185307179586):
    t = _f(p)
    steps = torch.diff(t, dim=axis)
    high = period / 2
    limit = high if discont is None else max_of(discont, high)
    mod_steps = torch.remainder(steps + high, period) - high
    mod_steps = torch.where((mod_steps == -high) & (steps > 0), high, mod_steps)
    correct = torch.where(torch.abs(steps) < limit, 0.0, mod_steps - steps)
    made, count = t.clone(), t.shape[axis]
    made.narrow(axis, 1, count - 1).add_(torch.cumsum(correct, axis))
    return _a(made)


def clip(a, a_min=None, a_max=None, out=None, *, min=None, max=None, dtype=None):
    t = _t(a)
    low, high = (min if a_min is None else a_min), (max if a_max is None else a_max)
    for bound, operator in ((low, torch.maximum), (high, torch.minimum)):
        if bound is not None:
            t, other = _common(_a(t), bound)
            t = operator(t, other)
    t = t if dtype is None else t.to(_dtype(dtype))
    return _put("clip", _wrapped(_r(t), [a]), out)


def round(a, decimals=0, out=None):
    return _put("round", _wrapped(_rounded(a, decimals), [a]), out)


def _rounded(a, decimals):
    t = _t(a)
    if t.dtype not in _FLOATS:
        return _r(t if decimals >= 0 else (torch.round(t.to(torch.float64) / 10**-decimals) * 10**-decimals).to(t.dtype))
    if decimals == 0:
        return _r(torch.round(t))
    scale = 10.0 ** (decimals if decimals > 0 else -decimals)
    return _r(torch.round(t * scale) / scale if decimals > 0 else torch.round(t / scale) * scale)


around = round


def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    t = _t(x)
    made = _r(torch.nan_to_num(t, nan, posinf, neginf) if t.dtype in _FLOATS else t.clone() if copy else t)
    return made if copy else _into("nan_to_num", made, x, True, "same_kind")


def real(val):
    t = _t(val)
    return _r(torch.real(t) if t.is_complex() else t)


def imag(val):
    t = _t(val)
    return _r(torch.imag(t) if t.is_complex() else torch.zeros_like(t))


def isclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    x, y = _common(a, b)
    if x.dtype not in _FLOATS:
        x, y = x.to(torch.float64), y.to(torch.float64)
    return _r(torch.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan))


def allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    return bool_of(_t(isclose(a, b, rtol, atol, equal_nan)).all())


def bool_of(t):
    return t.item() is True


def array_equal(a1, a2, equal_nan=False):
    a, b = _t(a1), _t(a2)
    if a.shape != b.shape:
        return False
    same = a == b
    if equal_nan and a.dtype in _FLOATS:
        same = same | (torch.isnan(a) & torch.isnan(b))
    return bool_of(same.all())


def array_equiv(a1, a2):
    try:
        return bool_of((_t(a1) == _t(a2)).all())
    except RuntimeError:
        return False


def iscomplex(x):
    t = _t(x)
    return _r(torch.imag(t) != 0 if t.is_complex() else torch.zeros_like(t, dtype=torch.bool))


def isreal(x):
    t = _t(x)
    return _r(torch.imag(t) == 0 if t.is_complex() else torch.ones_like(t, dtype=torch.bool))


def iscomplexobj(x):
    return _t(x).is_complex()


def isrealobj(x):
    return not _t(x).is_complex()


def isscalar(element):
    return isinstance(element, (int, float, complex, str, bytes)) or _is_scalar(element)


def iterable(y):
    return hasattr(y, "__iter__") or hasattr(y, "__len__")


# Products.

def matmul(x1, x2, /, out=None, *, dtype=None):
    a, b = _common(x1, x2)
    if dtype is not None:
        a, b = a.to(_dtype(dtype)), b.to(_dtype(dtype))
    if a.dim() == 0 or b.dim() == 0:
        raise ValueError("matmul: Input operand 0 does not have enough dimensions (has 0, gufunc core with signature "
                         "(n?,k),(k,m?)->(n?,m?) requires 1)")
    return _put("matmul", _wrapped(_r(_product(a, b)), [x1, x2]), out)


def _product(a, b):
    if a.dtype == torch.bool:
        return torch.matmul(a.to(torch.int64), b.to(torch.int64)).to(torch.bool)
    return torch.matmul(a, b)


def dot(a, b, out=None):
    return _put("dot", _dotted(a, b), out)


def _dotted(a, b):
    x, y = _joined([a, b])
    if x.dim() == 0 or y.dim() == 0:
        return _r(x * y)
    along = x.dim() - 1, 0 if y.dim() == 1 else y.dim() - 2
    if x.shape[along[0]] != y.shape[along[1]]:
        sizes = f"{x.shape[along[0]]} (dim {along[0]}) != {y.shape[along[1]]} (dim {along[1]})"
        raise ValueError(f"shapes {_written(x.shape)} and {_written(y.shape)} not aligned: {sizes}")
    if y.dim() <= 2:
        return _r(_product(x, y))
    return _r(torch.tensordot(x, y, dims=([x.dim() - 1], [y.dim() - 2])))


def vdot(a, b, /):
    x, y = _joined([a, b])
    x = x.reshape(-1)
    return _r(_product(torch.conj_physical(x) if x.is_complex() else x, y.reshape(-1)))


def inner(a, b, /):
    x, y = _joined([a, b])
    return _r(torch.inner(x, y) if x.dim() and y.dim() else x * y)


def outer(a, b, out=None):
    x, y = _joined([a, b])
    return _put("outer", _a(torch.outer(x.reshape(-1), y.reshape(-1))), out)


def vecdot(x1, x2, /, *, axis=-1):
    x, y = _common(x1, x2)
    return _r((torch.conj_physical(x) if x.is_complex() else x).mul(y).sum(axis))


def matvec(x1, x2, /):
    x, y = _common(x1, x2)
    return _r(torch.matmul(x, y.unsqueeze(-1)).squeeze(-1))


def vecmat(x1, x2, /):
    x, y = _common(x1, x2)
    return _r(torch.matmul((torch.conj_physical(x) if x.is_complex() else x).unsqueeze(-2), y).squeeze(-2))


def kron(a, b):
    return _a(torch.kron(*_joined([a, b])))


def tensordot(a, b, axes=2):
    x, y = _joined([a, b])
    if not isinstance(axes, int):
        axes = ([axes[0]] if isinstance(axes[0], int) else list(axes[0]), [axes[1]] if isinstance(axes[1], int) else list(axes[1]))
    return _r(torch.tensordot(x, y, axes))


def einsum(subscripts, *operands, out=None, optimize=False, **kwargs):
    for name in kwargs:
        raise TypeError(f"argument '{name}' of numpy.einsum is not supported by this server")
    if isinstance(optimize, list):
        _only("einsum", optimize=(optimize, True, False))
    return _put("einsum", _r(torch.einsum(subscripts, *_common(*operands))), out)


def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    _only("cross", axisa=(axisa, -1), axisb=(axisb, -1), axisc=(axisc, -1))
    x, y = _common(a, b)
    return _a(torch.cross(*torch.broadcast_tensors(x, y), dim=-1 if axis is None else axis))


def trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    found = torch.diagonal(_t(a), offset, axis1, axis2).sum(-1, dtype=None if dtype is None else _dtype(dtype))
    return _put("trace", _r(found), out)


def diagonal(a, offset=0, axis1=0, axis2=1):
    return _a(torch.diagonal(_t(a), offset, axis1, axis2))


def diag(v, k=0):
    t = _t(v)
    if t.dim() not in (1, 2):
        raise ValueError("Input must be 1- or 2-d.")
    return _a(torch.diag(t, k))


def diagflat(v, k=0):
    return _wrapped(_a(torch.diagflat(_t(v), k)), [v])


def tril(m, k=0):
    return _a(torch.tril(torch.atleast_2d(_t(m)), k))


def triu(m, k=0):
    return _a(torch.triu(torch.atleast_2d(_t(m)), k))


def tril_indices(n, k=0, m=None):
    return tuple([_a(t) for t in torch.tril_indices(n, n if m is None else m, k, device="cpu").unbind(0)])


def triu_indices(n, k=0, m=None):
    return tuple([_a(t) for t in torch.triu_indices(n, n if m is None else m, k, device="cpu").unbind(0)])


def tril_indices_from(arr, k=0):
    return tril_indices(_t(arr).shape[-2], k, _t(arr).shape[-1])


def triu_indices_from(arr, k=0):
    return triu_indices(_t(arr).shape[-2], k, _t(arr).shape[-1])


def mask_indices(n, mask_func, k=0):
    return nonzero(mask_func(_a(torch.ones(n, n, dtype=torch.int64, device="cpu")), k))


def diag_indices(n, ndim=2):
    return tuple([_a(torch.arange(n, device="cpu")) for _ in range(ndim)])


def diag_indices_from(arr):
    return diag_indices(_t(arr).shape[0], _t(arr).dim())


def vander(x, N=None, increasing=False):
    t = _t(x)
    made = torch.vander(t, N, increasing)
    return _a(made)


def cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *, dtype=None):
    kind = torch.promote_types(_f(m).dtype, torch.float64) if dtype is None else _dtype(dtype)
    t = torch.atleast_2d(_f(m).to(kind))
    if not rowvar and t.shape[0] != 1:
        t = t.T
    if y is not None:
        other = torch.atleast_2d(_f(y).to(kind))
        t = torch.cat([t, other.T if not rowvar and other.shape[0] != 1 else other])
    ddof = (0 if bias else 1) if ddof is None else ddof
    weights = None if fweights is None else _t(fweights)
    importance = None if aweights is None else _f(aweights)
    return _a(torch.cov(t, correction=ddof, fweights=weights, aweights=importance).squeeze())


def corrcoef(x, y=None, rowvar=True, *, dtype=None):
    c = _t(cov(x, y, rowvar, dtype=dtype))
    if c.dim() == 0:
        return _r(c / c)
    d = torch.sqrt(torch.diagonal(c))
    c = c / d[:, None] / d[None]
    return _a(c.clamp(-1, 1))


def convolve(a, v, mode="full"):
    x, y = [t.reshape(-1) if t.dim() == 0 else t for t in _joined([a, v])]
    if y.numel() > x.numel():
        x, y = y, x
    return _convolved(x, y.flip(0), mode)


def correlate(a, v, mode="valid"):
    x, y = _joined([a, v])
    if x.dim() == 0 or y.dim() == 0:
        raise ValueError("object of too small depth for desired array")
    if y.numel() > x.numel():
        return conj(_a(_t(_convolved(y, _t(conj(_a(x))), mode)).flip(0)))
    return _convolved(x, _t(conj(_a(y))), mode)


def _convolved(x, kernel, mode):
    whole = x.dtype not in _FLOATS
    n, m = x.numel(), kernel.numel()
    values, by = (x.to(torch.float64), kernel.to(torch.float64)) if whole else (x, kernel)
    found = torch.nn.functional.conv1d(values[None, None], by[None, None], padding=m - 1)[0, 0]
    if whole:
        found = torch.round(found).to(x.dtype)
    if mode == "same":
        begin = (m - 1) // 2
        found = found[begin:begin + n]
    elif mode == "valid":
        found = found[m - 1:n]
    elif mode != "full":
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got '{mode}')")
    return _a(found)


# Polynomials.

def polyval(p, x):
    at = _t(x)
    coefficients, at = _common(p, _a(at) if at.dim() else at.item())
    found = torch.zeros_like(at)
    for coefficient in coefficients:
        found = found * at + coefficient
    return _r(found)


def polyfit(x, y, deg, rcond=None, full=False, w=None, cov=False):
    if full or cov:
        raise ValueError("numpy.polyfit: arguments 'full' and 'cov' are not supported by this server")
    left, right = torch.vander(_f(x).to(torch.float64), deg + 1), _f(y).to(torch.float64)
    if w is not None:
        weights = _f(w)
        left, right = left * weights[:, None], right * (weights if right.dim() == 1 else weights[:, None])
    scale = torch.sqrt((left * left).sum(0))
    right = right[:, None] if right.dim() == 1 else right
    found = torch.linalg.lstsq(left / scale, right, driver="gelsd", rcond=len(left) * 2.220446049250313e-16)[0]
    found = (found.T / scale).T
    return _a(found[:, 0] if _t(y).dim() == 1 else found)


def poly(seq_of_zeros):
    found = torch.ones(1, dtype=torch.float64, device="cpu")
    for zero in _f(seq_of_zeros).tolist():
        found = torch.cat([found, found.new_zeros(1)]) - torch.cat([found.new_zeros(1), found * zero])
    return _a(found)


def roots(p):
    t = _f(p).to(torch.float64)
    kept = torch.nonzero(t).reshape(-1)
    if not kept.numel():
        return _a(t.new_zeros(0))
    trailing = t.numel() - 1 - int(kept[-1])
    t = t[int(kept[0]):int(kept[-1]) + 1]
    if t.numel() > 1:
        companion = torch.diag(torch.ones(t.numel() - 2, dtype=torch.float64, device="cpu"), -1)
        companion[0] = -t[1:] / t[0]
        found = torch.linalg.eigvals(companion)
        if bool((torch.imag(found) == 0).all()):
            found = torch.real(found)
    else:
        found = t.new_zeros(0)
    return _a(torch.cat([found, found.new_zeros(trailing)]))


def _aligned(a1, a2):
    a, b = _common(a1, a2)
    a, b = torch.atleast_1d(a), torch.atleast_1d(b)
    size = max_of(a.numel(), b.numel())
    return torch.cat([a.new_zeros(size - a.numel()), a]), torch.cat([b.new_zeros(size - b.numel()), b])


def polyadd(a1, a2):
    a, b = _aligned(a1, a2)
    return _a(a + b)


def polysub(a1, a2):
    a, b = _aligned(a1, a2)
    return _a(a - b)


def polymul(a1, a2):
    return convolve(a1, a2)


def polyder(p, m=1):
    t = _t(p)
    for _ in range(m):
        t = t[:-1] * torch.arange(t.numel() - 1, 0, -1, device="cpu")
    return _a(t)


def polyint(p, m=1, k=None):
    t = _f(p)
    for _ in range(m):
        t = torch.cat([t / torch.arange(t.numel(), 0, -1, device="cpu"), t.new_zeros(1) if k is None else t.new_full((1,), float(k))])
    return _a(t)


# Others.

def append(arr, values, axis=None):
    if axis is None:
        return concatenate([ravel(arr), ravel(values)])
    return concatenate([arr, values], axis)


def _places(obj, length):
    if isinstance(obj, slice):
        return torch.arange(length, device="cpu")[obj]
    index = torch.atleast_1d(_t(obj))
    if index.dtype == torch.bool:
        return torch.nonzero(index).reshape(-1)
    if index.numel() and (int(index.max()) >= length or int(index.min()) < -length):
        raise IndexError(f"index {int(index.max())} is out of bounds for axis 0 with size {length}")
    return torch.where(index < 0, index + length, index).to(torch.int64)


def delete(arr, obj, axis=None):
    t, axis = _axis(_t(arr), axis)
    keep = torch.ones(t.shape[axis], dtype=torch.bool, device="cpu")
    keep[_places(obj, t.shape[axis])] = False
    return _wrapped(_a(t.index_select(axis, torch.nonzero(keep).reshape(-1))), [arr])


def insert(arr, obj, values, axis=None):
    t, axis = _axis(_t(arr), axis)
    axis = axis % t.dim()
    length = t.shape[axis]
    given = _places(obj, length) if isinstance(obj, slice) else _t(obj)
    index = torch.nonzero(given).reshape(-1) if given.dtype == torch.bool else given.reshape(-1).to(torch.int64)
    for place in index.tolist():
        if not -length <= place <= length:
            raise IndexError(f"index {place} is out of bounds for axis {axis} with size {length}")
    index = torch.where(index < 0, index + length, index)
    value = _t(values).to(t.dtype)
    value = value.reshape([1] * (t.dim() - value.dim()) + [*value.shape])
    if index.numel() == 1:
        # A lone number has its values along the first dimension of them, a list of one along the axis.
        value = value if given.dim() else value.movedim(0, axis)
        index = index.expand(value.shape[axis])
    added = torch.broadcast_to(value, [*t.shape[:axis], index.numel(), *t.shape[axis + 1:]])
    order = torch.sort(torch.cat([index * 2, torch.arange(length, device="cpu") * 2 + 1]), stable=True)[1]
    return _wrapped(_a(torch.cat([added, t], axis).index_select(axis, order)), [arr])


def trim_zeros(filt, trim="fb", axis=None):
    t = _t(filt)
    kept, box = torch.nonzero(t), []
    dims = [dim % t.dim() for dim in _dims(t, axis)]
    for dim, size in enumerate(t.shape):
        places = kept[:, dim]
        if dim not in dims:
            box.append(slice(0, size))
        elif not kept.numel():
            box.append(slice(0, 0))
        else:
            first = int(places.min()) if "f" in trim.lower() else 0
            box.append(slice(first, int(places.max()) + 1 if "b" in trim.lower() else size))
    return filt[tuple(box)] if t.dim() > 1 else filt[box[0]]


def ix_(*args):
    made = []
    for at, part in enumerate(args):
        t = _t(part)
        if t.dtype == torch.bool:
            t = torch.nonzero(t).reshape(-1)
        made.append(_a(t.reshape([-1 if dim == at else 1 for dim in range(len(args))])))
    return tuple(made)


def unravel_index(indices, shape, order="C"):
    _only("unravel_index", order=(order, "C", "F"))
    shape = _shape(shape)
    found = torch.unravel_index(_t(indices), tuple(shape[::-1] if order == "F" else shape))
    return tuple([_r(t) for t in (found[::-1] if order == "F" else found)])


def ravel_multi_index(multi_index, dims, mode="raise", order="C"):
    _only("ravel_multi_index", order=(order, "C", "F"), mode=(mode, "raise", "wrap", "clip"))
    found, places = 0, [*zip(multi_index, dims)]
    for part, size in places[::-1] if order == "F" else places:
        t = _t(part)
        t = t % size if mode == "wrap" else t.clamp(0, size - 1) if mode == "clip" else t
        if bool((t < 0).any()) or bool((t >= size).any()):
            raise ValueError("invalid entry in coordinates array")
        found = found * size + t
    return _r(found)


def apply_along_axis(func1d, axis, arr, *args, **kwargs):
    moved = _t(arr).movedim(axis, -1)
    rows = moved.reshape(-1, moved.shape[-1]).unbind(0)
    found = torch.stack([_t(func1d(_a(row), *args, **kwargs)) for row in rows])
    shaped = found.reshape([*moved.shape[:-1], *found.shape[1:]])
    if found.dim() == 1:
        return _a(shaped)
    return _a(shaped.movedim(-1, axis))


def apply_over_axes(func, a, axes):
    found = a
    for axis in _shape(axes):
        found = func(found, axis)
        if _t(found).dim() != _t(a).dim():
            found = expand_dims(found, axis)
    return found


class vectorize:
    def __init__(self, pyfunc, otypes=None, doc=None, excluded=None, cache=False, signature=None):
        if excluded or signature:
            raise ValueError("numpy.vectorize: arguments 'excluded' and 'signature' are not supported by this server")
        self.pyfunc, self.otypes = pyfunc, otypes

    def __call__(self, *args):
        parts = torch.broadcast_tensors(*[_t(arg) for arg in args])
        rows = zip(*[part.reshape(-1).tolist() for part in parts])
        found = _t([self.pyfunc(*row) for row in rows]).reshape(parts[0].shape)
        return _r(found if not self.otypes else found.to(_dtype(self.otypes[0])))


def bartlett(M):
    return _a(torch.bartlett_window(M, False, dtype=torch.float64, device="cpu"))


def blackman(M):
    return _a(torch.blackman_window(M, False, dtype=torch.float64, device="cpu"))


def hamming(M):
    return _a(torch.hamming_window(M, False, dtype=torch.float64, device="cpu"))


def hanning(M):
    return _a(torch.hann_window(M, False, dtype=torch.float64, device="cpu"))


def kaiser(M, beta):
    return _a(torch.kaiser_window(M, False, beta, dtype=torch.float64, device="cpu"))


def promote_types(type1, type2):
    return _shown(_promoted(_dtype(type1), _dtype(type2)))


def result_type(*arrays_and_dtypes):
    made = [x if hasattr(x, "dtype") or _weak(x) or isinstance(x, (list, tuple)) else _a(torch.zeros(1, dtype=_dtype(x), device="cpu"))
            for x in arrays_and_dtypes]
    return _shown(_common(*made)[0].dtype)


def can_cast(from_, to, casting="safe"):
    source, target = _dtype(from_), _dtype(to)
    if casting == "unsafe":
        return True
    if casting in ("no", "equiv"):
        return source == target
    return _promoted(source, target) == target if casting == "safe" else torch.can_cast(source, target)


def issubdtype(arg1, arg2):
    return _is_of(arg1, arg2)


def binary_repr(num, width=None):
    num = int(num)
    if num >= 0:
        return f"{num:b}".zfill(width or 1)
    if width is None:
        return f"-{-num:b}"
    return f"{num + (1 << width):b}".zfill(width)


def base_repr(number, base=2, padding=0):
    digits, rest, found = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", number if number >= 0 else -number, ""
    while rest:
        found, rest = digits[rest % base] + found, rest // base
    found = "0" * padding + found if found else "0" * max_of(padding, 1)
    return "-" + found if number < 0 else found


def array_repr(arr, max_line_width=None, precision=None, suppress_small=None):
    _only("array_repr", max_line_width=(max_line_width, None), precision=(precision, None),
          suppress_small=(suppress_small, None, False))
    return repr(arr)


def array_str(a, max_line_width=None, precision=None, suppress_small=None):
    _only("array_str", max_line_width=(max_line_width, None), precision=(precision, None),
          suppress_small=(suppress_small, None, False))
    return str(a)


def set_printoptions(**kwargs):
    raise NotImplementedError("numpy.set_printoptions is not supported by this server: round before printing")


class errstate:
    """Numbers that are none warn nobody here."""

    def __init__(self, **kwargs):
        pass

    def __enter__(self):
        return None

    def __exit__(self, *raised):
        return None


def angle(z, deg=False):
    found = torch.angle(_f(z))
    return _r(torch.rad2deg(found) if deg else found)


def array2string(a, *args, **kwargs):
    if args or kwargs:
        raise TypeError("numpy.array2string: arguments are not supported by this server: round before printing")
    return str(a)


def asarray_chkfinite(a, dtype=None, order=None):
    found = asanyarray(a, dtype)
    if not bool_of(torch.isfinite(_t(found)).all()):
        raise ValueError("array must not contain infs or NaNs")
    return found


def put(a, ind, v, mode="raise"):
    a.put(ind, v, mode)


def putmask(a, mask, values):
    t, chosen = _t(a), _t(mask).to(torch.bool)
    t[chosen] = _t(resize(values, t.shape))[chosen].to(t.dtype)


def sort_complex(a):
    t = _t(a).to(torch.complex128).reshape(-1)
    t = t[torch.sort(torch.imag(t), stable=True)[1]]
    return _a(t[torch.sort(torch.real(t), stable=True)[1]])


def real_if_close(a, tol=100):
    t = _t(a)
    if not t.is_complex():
        return a
    return _r(torch.real(t)) if bool_of((torch.abs(torch.imag(t)) < tol * torch.finfo(t.dtype).eps).all()) else a


def unique_all(x, /):
    from collections import namedtuple
    found = unique(x, return_index=True, return_inverse=True, return_counts=True)
    return namedtuple("UniqueAllResult", "values indices inverse_indices counts")(*found)


def typename(char):
    return {"?": "bool", "b": "signed char", "B": "unsigned char", "h": "short", "H": "unsigned short", "i": "integer",
            "I": "unsigned integer", "l": "long integer", "L": "unsigned long integer", "q": "long long integer",
            "f": "single precision", "d": "double precision", "F": "complex single precision",
            "D": "complex double precision"}[char]


def isdtype(dtype, kind):
    kinds = kind if isinstance(kind, tuple) else (kind,)
    t = _dtype(dtype)
    flags = {"bool": t == torch.bool, "real floating": t.is_floating_point, "complex floating": t.is_complex,
             "integral": not (t == torch.bool or t.is_floating_point or t.is_complex)}
    flags["signed integer"] = flags["integral"] and t.is_signed
    flags["unsigned integer"] = flags["integral"] and not t.is_signed
    flags["numeric"] = t != torch.bool
    return any_of([flags[one] if isinstance(one, str) else _dtype(one) == t for one in kinds])


def common_type(*arrays):
    found = torch.float16
    for array in arrays:
        found = _promoted(found, _f(array).dtype)
    return _shown(found).type


def min_scalar_type(a):
    value = _t(a)
    if value.dim() or value.dtype not in (torch.int64,):
        return _shown(value.dtype)
    value = value.item()
    kinds = ([torch.uint8, torch.uint16, torch.uint32, torch.uint64] if value >= 0 else
             [torch.int8, torch.int16, torch.int32, torch.int64])
    for kind in kinds:
        bounds = torch.iinfo(kind)
        if bounds.min <= value <= bounds.max:
            return _shown(kind)


def polydiv(u, v):
    dividend, divisor = _f(u).reshape(-1).clone(), _f(v).reshape(-1)
    count = dividend.numel() - divisor.numel() + 1
    quotient = dividend.new_zeros(max_of(count, 1))
    for at in range(max_of(count, 0)):
        quotient[at] = dividend[at] / divisor[0]
        dividend[at:at + divisor.numel()] -= quotient[at] * divisor
    rest = dividend
    while rest.numel() > 1 and abs_close(rest[0].item()):
        rest = rest[1:]
    return _a(quotient), _a(rest)


def abs_close(number):
    return -1e-8 <= number <= 1e-8


def bitwise_count(x, /):
    t = _t(x).to(torch.int64)
    t = torch.where(t < 0, -t, t)
    found = torch.zeros_like(t)
    for bit in range(63):
        found = found + ((t >> bit) & 1)
    return _r(found.to(torch.uint8))
