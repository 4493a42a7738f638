import torch

__all__ = (
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w",
    "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p",
    "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
)


def _polynomial(name):
    operator = _aten("special_" + name)

    def polynomial(input, n):
        # The kernels leave what they return unwritten where x is no number: they are given another there.
        if not isinstance(input, torch.Tensor):
            if input == input:
                return operator(input, n)
            return torch.where(n >= 1, float("nan"), operator(0.0, n))
        unknown = torch.isnan(input) & (n >= 1) if input.is_floating_point() else None
        if unknown is None or not unknown.any():
            return operator(input, n)
        found = operator(torch.where(torch.isnan(input), 0.0, input), n)
        return torch.where(unknown, float("nan"), found)

    polynomial.__name__ = name
    return polynomial


chebyshev_polynomial_t = _polynomial("chebyshev_polynomial_t")
chebyshev_polynomial_u = _polynomial("chebyshev_polynomial_u")
chebyshev_polynomial_v = _polynomial("chebyshev_polynomial_v")
chebyshev_polynomial_w = _polynomial("chebyshev_polynomial_w")
hermite_polynomial_h = _polynomial("hermite_polynomial_h")
hermite_polynomial_he = _polynomial("hermite_polynomial_he")
laguerre_polynomial_l = _polynomial("laguerre_polynomial_l")
legendre_polynomial_p = _polynomial("legendre_polynomial_p")
shifted_chebyshev_polynomial_t = _polynomial("shifted_chebyshev_polynomial_t")
shifted_chebyshev_polynomial_u = _polynomial("shifted_chebyshev_polynomial_u")
shifted_chebyshev_polynomial_v = _polynomial("shifted_chebyshev_polynomial_v")
shifted_chebyshev_polynomial_w = _polynomial("shifted_chebyshev_polynomial_w")
