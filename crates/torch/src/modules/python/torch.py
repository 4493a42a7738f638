import torch

__all__ = (
    "are_deterministic_algorithms_enabled", "can_cast", "empty_permuted", "get_deterministic_debug_mode",
    "get_float32_matmul_precision", "gradient", "is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled",
    "native_channel_shuffle", "pca_lowrank", "stft", "svd_lowrank", "typename", "vmap",
)


def stft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect", normalized=False,
         onesided=None, return_complex=None, align_to_window=None):
    if align_to_window is not None and center:
        raise RuntimeError(
            "stft align_to_window should only be set when center = false"
        )
    if center:
        dimensions, pad = input.dim(), int(n_fft // 2)
        extended = [1] * (3 - dimensions) + list(input.size())
        input = torch.nn.functional.pad(input.view(extended), [pad, pad], pad_mode)
        input = input.view(input.shape[-dimensions:])
    return _aten("stft")(input, n_fft, hop_length, win_length, window, normalized, onesided, return_complex, align_to_window)


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    from torch import func as transforms
    return transforms.vmap(func, in_dims, out_dims, randomness, chunk_size=chunk_size)


def gradient(input, *, spacing=1, dim=None, edge_order=1):
    call = _aten("gradient")
    listed = isinstance(spacing, (list, tuple))
    if not listed or any([isinstance(one, torch.Tensor) for one in spacing]):
        return call(input, spacing=spacing, dim=[dim] if isinstance(dim, int) else dim, edge_order=edge_order)
    dims = [dim] if isinstance(dim, int) else list(range(input.dim()) if dim is None else dim)
    if len(dims) != len(spacing):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim arguments to have the same "
            f"length, but got a spacing argument of length {len(spacing)} and a dim argument of length {len(dims)}."
        )
    return tuple(call(input, spacing=one, dim=at, edge_order=edge_order)[0] for one, at in zip(spacing, dims))


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
    kind = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(kind, "__module__", None)
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
