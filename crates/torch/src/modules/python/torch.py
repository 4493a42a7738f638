import torch

__all__ = (
    "are_deterministic_algorithms_enabled", "can_cast", "empty_permuted", "get_deterministic_debug_mode",
    "get_float32_matmul_precision", "is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled",
    "native_channel_shuffle", "pca_lowrank", "svd_lowrank", "typename", "vmap",
)


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    from torch import func as transforms
    return transforms.vmap(func, in_dims, out_dims, randomness, chunk_size=chunk_size)


def native_channel_shuffle(input, groups):
    return torch.channel_shuffle(input, groups)


def can_cast(from_, to):
    return _aten("can_cast")(from_, to)


def empty_permuted(size, physical_layout, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    order = list(physical_layout)
    if sorted(order) != list(range(len(size))):
        raise RuntimeError(f"Number of dimensions in size does not match the length of the physical_layout")
    made = torch.zeros([size[dim] for dim in order], dtype=dtype, device=device)
    back = [order.index(dim) for dim in range(len(order))]
    return made.permute(back).requires_grad_(requires_grad)


def typename(obj):
    if isinstance(obj, torch.Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) else type(obj)
    module = kind.__module__
    return kind.__qualname__ if module in (None, "", "builtins") else f"{module}.{kind.__qualname__}"


def are_deterministic_algorithms_enabled():
    return False


def is_deterministic_algorithms_warn_only_enabled():
    return False


def is_warn_always_enabled():
    return False


def get_deterministic_debug_mode():
    return 0


def get_float32_matmul_precision():
    return "highest"


def _range(A, q, niter, M):
    if not A.is_complex() and not A.is_floating_point():
        dtype = torch.float32
    else:
        dtype = A.dtype
    R = torch.randn(A.shape[-1], q, dtype=dtype, device=A.device)
    X = torch.matmul(A, R)
    if M is not None:
        X = X - torch.matmul(M, R)
    Q = torch.linalg.qr(X).Q
    for _ in range(niter):
        X = torch.matmul(A.mH, Q)
        if M is not None:
            X = X - torch.matmul(M.mH, Q)
        Q = torch.linalg.qr(X).Q
        X = torch.matmul(A, Q)
        if M is not None:
            X = X - torch.matmul(M, Q)
        Q = torch.linalg.qr(X).Q
    return Q


def svd_lowrank(A, q=6, niter=2, M=None):
    q = 6 if q is None else q
    m, n = A.shape[-2:]
    if M is not None:
        M = M.broadcast_to(A.size())
    turned = m < n
    if turned:
        A = A.mH
        if M is not None:
            M = M.mH
    Q = _range(A, q, niter, M)
    B = torch.matmul(Q.mH, A)
    if M is not None:
        B = B - torch.matmul(Q.mH, M)
    U, S, Vh = torch.linalg.svd(B, full_matrices=False)
    V = Vh.mH
    U = Q.matmul(U)
    return (V, S, U) if turned else (U, S, V)


def pca_lowrank(A, q=None, center=True, niter=2):
    m, n = A.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not (q >= 0 and q <= min(m, n)):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if not niter >= 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if not center:
        return svd_lowrank(A, q, niter=niter, M=None)
    C = A.mean(dim=(-2,), keepdim=True)
    return svd_lowrank(A - C, q, niter=niter, M=None)
