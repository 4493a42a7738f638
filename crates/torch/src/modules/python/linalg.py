import math
import torch

__all__ = (
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq",
    "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr",
    "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
)


class LinAlgError(ValueError):
    pass


def _solved(function, *given, says="Singular matrix", **named):
    """What a function of PyTorch's gives, or numpy's error for a matrix that it cannot do."""
    try:
        return function(*given, **named)
    except RuntimeError as error:
        text = str(error)
        if "square" in text:
            raise LinAlgError("Last 2 dimensions of the array must be square") from None
        if type(error).__name__ == "_LinAlgError":
            raise LinAlgError(says) from None
        raise ValueError(text) from None


def _f(x):
    t = _t(x)
    return t if t.dtype.is_floating_point or t.dtype.is_complex else t.to(torch.float64)


def _named(name, fields, values):
    from collections import namedtuple
    return namedtuple(name, fields)(*[_r(value) for value in values])


def _numpy(name):
    import numpy
    return getattr(numpy, name)


def cholesky(a, /, *, upper=False):
    return _a(_solved(torch.linalg.cholesky, _f(a), upper=upper, says="Matrix is not positive definite"))


def cond(x, p=None):
    return _r(torch.linalg.cond(_f(x), p))


def det(a):
    return _r(_solved(torch.linalg.det, _f(a)))


def slogdet(a):
    return _named("SlogdetResult", "sign logabsdet", torch.linalg.slogdet(_f(a)))


def eig(a):
    values, vectors = torch.linalg.eig(_f(a))
    if not _f(a).is_complex() and bool((torch.imag(values) == 0).all()):
        values, vectors = torch.real(values), torch.real(vectors)
    return _named("EigResult", "eigenvalues eigenvectors", (values, vectors))


def eigvals(a):
    values = torch.linalg.eigvals(_f(a))
    return _a(torch.real(values) if not _f(a).is_complex() and bool((torch.imag(values) == 0).all()) else values)


def eigh(a, UPLO="L"):
    return _named("EighResult", "eigenvalues eigenvectors", torch.linalg.eigh(_f(a), UPLO=UPLO))


def eigvalsh(a, UPLO="L"):
    return _a(torch.linalg.eigvalsh(_f(a), UPLO=UPLO))


def inv(a):
    return _a(_solved(torch.linalg.inv, _f(a)))


def pinv(a, rcond=None, hermitian=False, *, rtol=None):
    t = _f(a)
    limit = rtol if rcond is None else rcond
    if limit is None:
        limit = 1e-15 if rtol is None else rtol
    return _a(torch.linalg.pinv(t, rtol=limit, hermitian=hermitian))


def matrix_rank(A, tol=None, hermitian=False, *, rtol=None):
    return _r(torch.linalg.matrix_rank(_f(A), atol=tol, rtol=rtol, hermitian=hermitian))


def matrix_power(a, n):
    return _a(_solved(torch.linalg.matrix_power, _t(a), n))


def solve(a, b):
    return _a(_solved(torch.linalg.solve, _f(a), _f(b)))


def lstsq(a, b, rcond=None):
    left, right = _f(a), _f(b)
    single = right.dim() == 1
    columns = right[:, None] if single else right
    limit = torch.finfo(left.dtype).eps * max(left.shape[-2:]) if rcond is None else rcond
    found = torch.linalg.lstsq(left, columns, rcond=limit, driver="gelsd")
    x, rank, values = found.solution, int(found.rank), found.singular_values
    if rank == left.shape[1] and left.shape[0] > left.shape[1]:
        rest = ((columns - left @ x) ** 2).sum(0)
    else:
        rest = left.new_zeros(0)
    return _a(x[:, 0] if single else x), _a(rest), _r(found.rank.to(torch.int32)), _a(values)


def qr(a, mode="reduced"):
    t = _f(a)
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"Unrecognized mode '{mode}'")
    q, r = torch.linalg.qr(t, mode=mode)
    return _a(r) if mode == "r" else _named("QRResult", "Q R", (q, r))


def svd(a, full_matrices=True, compute_uv=True, hermitian=False):
    t = _f(a)
    if not compute_uv:
        return _a(torch.linalg.svdvals(t))
    return _named("SVDResult", "U S Vh", torch.linalg.svd(t, full_matrices=full_matrices))


def svdvals(x, /):
    return _a(torch.linalg.svdvals(_f(x)))


def norm(x, ord=None, axis=None, keepdims=False):
    t = _f(x)
    if axis is None and ord is None:
        found = torch.linalg.vector_norm(t)
        return _r(found.reshape([1] * t.dim()) if keepdims else found)
    dims = list(range(t.dim())) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    if len(dims) == 1:
        if isinstance(ord, str):
            raise ValueError(f"Invalid norm order '{ord}' for vectors")
        return _r(torch.linalg.vector_norm(t, 2 if ord is None else ord, dim=dims, keepdim=keepdims))
    if len(dims) != 2:
        raise ValueError("Improper number of dimensions to norm.")
    if ord in (None, "fro"):
        return _r(torch.linalg.vector_norm(t, dim=dims, keepdim=keepdims))
    return _r(torch.linalg.matrix_norm(t, ord, dim=tuple(dims), keepdim=keepdims))


def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):
    t = _f(x)
    return _r(torch.linalg.vector_norm(t, ord, dim=None if axis is None else axis, keepdim=keepdims))


def matrix_norm(x, /, *, keepdims=False, ord="fro"):
    return _r(torch.linalg.matrix_norm(_f(x), ord, keepdim=keepdims))


def multi_dot(arrays, *, out=None):
    if out is not None:
        raise TypeError("argument 'out' of numpy.linalg.multi_dot is not supported by this server: bind what is returned")
    return _r(torch.linalg.multi_dot([_f(a) for a in arrays]))


def tensorinv(a, ind=2):
    return _a(torch.linalg.tensorinv(_f(a), ind))


def tensorsolve(a, b, axes=None):
    return _a(torch.linalg.tensorsolve(_f(a), _f(b), axes))


def cross(x1, x2, /, *, axis=-1):
    return _numpy("cross")(x1, x2, axis=axis)


def diagonal(x, /, *, offset=0):
    return _a(torch.diagonal(_t(x), offset, -2, -1))


def trace(x, /, *, offset=0, dtype=None):
    return _numpy("trace")(x, offset, -2, -1, dtype)


def matmul(x1, x2, /):
    return _numpy("matmul")(x1, x2)


def matrix_transpose(x, /):
    return _a(_t(x).mT)


def outer(x1, x2, /):
    return _numpy("outer")(x1, x2)


def tensordot(x1, x2, /, *, axes=2):
    return _numpy("tensordot")(x1, x2, axes)


def vecdot(x1, x2, /, *, axis=-1):
    return _numpy("vecdot")(x1, x2, axis=axis)
