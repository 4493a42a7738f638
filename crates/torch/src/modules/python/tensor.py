import torch

__all__ = (
    "__copy__", "__deepcopy__", "__radd__", "__rand__", "__rdiv__", "__reversed__", "__rfloordiv__", "__rmatmul__", "__rmod__", "__rmul__",
    "__ror__", "__rpow__", "__rsub__", "__rtruediv__", "__rxor__", "lu", "new", "new_empty_strided", "stft",
)


def __copy__(self):
    """Another leaf of the same memory."""
    if isinstance(self, torch.nn.Parameter):
        return torch.nn.Parameter(self.detach(), self.requires_grad)
    return self.detach().requires_grad_(self.requires_grad)


def __radd__(self, other):
    return torch.add(self, other)


def __rand__(self, other):
    return torch.bitwise_and(self, other)


def __rfloordiv__(self, other):
    return torch.floor_divide(other, self)


def __rmatmul__(self, other):
    return torch.matmul(other, self)


def __rmod__(self, other):
    return torch.remainder(other, self)


def __rmul__(self, other):
    return torch.mul(self, other)


def __ror__(self, other):
    return torch.bitwise_or(self, other)


def __rpow__(self, other):
    return torch.pow(other, self)


def __rsub__(self, other):
    return torch.rsub(self, other)


def __rxor__(self, other):
    return torch.bitwise_xor(self, other)


def __rtruediv__(self, other):
    return self.reciprocal() * other


__rdiv__ = __rtruediv__


def __reversed__(self):
    return self if self.dim() == 0 else self.flip(0)


def stft(self, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect", normalized=False,
         onesided=None, return_complex=None, align_to_window=None):
    return torch.stft(self, n_fft, hop_length, win_length, window, center, pad_mode, normalized, onesided,
                      return_complex=return_complex, align_to_window=align_to_window)


def lu(self, pivot=True, get_infos=False):
    found = torch.linalg.lu_factor_ex(self, pivot=pivot, check_errors=not get_infos)
    return (found[0], found[1], found[2]) if get_infos else (found[0], found[1])


def new(self, *args, device=None):
    if len(args) == 1 and isinstance(args[0], (list, tuple)) and not isinstance(args[0], torch.Size):
        return torch.tensor(args[0], dtype=self.dtype, device=self.device)
    if len(args) == 1 and isinstance(args[0], torch.Tensor):
        return args[0].to(self.dtype)
    return self.new_empty(args[0] if len(args) == 1 and isinstance(args[0], torch.Size) else args)


def new_empty_strided(self, size, stride, dtype=None, device=None, requires_grad=False, **others):
    return torch.empty_strided(
        size, stride, dtype=self.dtype if dtype is None else dtype, device=self.device if device is None else device,
        requires_grad=requires_grad)


def __deepcopy__(self, memo):
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  If you "
            "were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, see "
            "https://github.com/pytorch/pytorch/pull/103001"
        )
    made = self.detach().clone()
    if isinstance(self, torch.nn.Parameter):
        return torch.nn.Parameter(made, self.requires_grad)
    return made.requires_grad_() if self.requires_grad else made
