#### functions of functions
import torch
from torch.func import grad, grad_and_value, vmap, jacrev, jacfwd, hessian, vjp, jvp, functional_call, stack_module_state
def show(v):
    if isinstance(v, (tuple, list)):
        for one in v:
            show(one)
    elif isinstance(v, dict):
        for key, one in v.items():
            print(key)
            show(one)
    else:
        print(v.dtype, tuple(v.shape), v.requires_grad, [round(n, 4) + 0.0 for n in v.flatten().tolist()])
x, y = torch.tensor([0.5, 1.5, -2.0]), torch.tensor([1.0, 2.0, 3.0])
f = lambda x: (x.sin() * x).sum()
show(grad(f)(x)); show(grad_and_value(f)(x)); show(grad(grad(lambda s: s**3))(torch.tensor(2.0)))
show(grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(x, y))
show(grad(lambda a: ((a**2).sum(), a * 2), has_aux=True)(x))
show(grad(lambda p: (p["w"] * 2 + p["b"]).sum())({"w": x, "b": y}))
show(vmap(torch.dot)(torch.ones(4, 3), torch.ones(4, 3))); show(vmap(torch.mul, in_dims=(0, None))(torch.ones(2, 3), x))
show(vmap(lambda v: (v, v.sum()), in_dims=1, out_dims=(1, 0))(torch.arange(6.0).reshape(2, 3))); show(vmap(grad(f))(torch.ones(2, 3)))
show(torch.vmap(lambda v: v * 2)(x))
show(jacrev(lambda v: v**2)(x)); show(jacfwd(lambda v: v.sin())(x)); show(hessian(f)(x)); show(jacrev(lambda a, b: a * b, argnums=1)(x, y))
out, pull = vjp(lambda v: v * v, x); show(out); show(pull(torch.ones(3)))
show(jvp(lambda v: v.sin(), (x,), (y,)))
m = torch.nn.Linear(3, 2)
show(functional_call(m, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, (x,)))
print(type(m.weight).__name__)
show(grad(lambda p: functional_call(m, p, (x,)).sum())({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}))
seq = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Tanh())
show(functional_call(seq, {"0.weight": torch.ones(1, 3), "0.bias": torch.zeros(1)}, x))
params, buffers = stack_module_state([torch.nn.Linear(2, 2) for _ in range(3)])
print({k: tuple(v.shape) for k, v in params.items()}, buffers)
for wrong in (lambda: vmap(torch.dot)(torch.ones(2, 3), torch.ones(3, 3)), lambda: grad(lambda v: v)(x), lambda: vmap(lambda v: v, in_dims=3)(x), lambda: grad(f, argnums=1)(x)):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__)
#### functions of torch
import torch, torch.nn.functional as F
torch.manual_seed(0)
def show(v):
    if isinstance(v, (tuple, list)):
        for one in v:
            show(one)
    elif isinstance(v, torch.Tensor):
        print(v.dtype, tuple(v.shape), v.stride(), v.requires_grad, v.tolist())
    else:
        print(v)
a, sq = torch.randn(4, 3), torch.randn(3, 3)
sq = sq @ sq.T + torch.eye(3)
LU, piv = torch.linalg.lu_factor(sq)
for made in (torch.linalg.lu_solve(LU, piv, a.T), torch.lu_solve(a.T, LU, piv), torch.lu_unpack(LU, piv), torch.linalg.inv_ex(sq), torch.linalg.cholesky_ex(sq), torch.linalg.solve_ex(sq, a.T), torch.linalg.lu_factor_ex(sq), sq.lu(), torch.permute_copy(a, (1, 0)), torch.unbind_copy(a), torch.split_copy(a, 2), torch.t_copy(a), torch.unsafe_chunk(a, 2), torch.nonzero_static(a > 0, size=3), torch.norm_except_dim(a), torch.nuclear_norm(a), torch.hash_tensor(a).dtype, torch.can_cast(torch.float, torch.int), torch.special.chebyshev_polynomial_t(a, 3), torch.special.hermite_polynomial_h(a, torch.tensor([1.0, 2.0, 3.0])), torch.special.legendre_polynomial_p(torch.tensor([0.5, 2.0]), 4), torch.histogramdd(a[:, :2], bins=[2, 2]), torch.empty_permuted((2, 3), (1, 0)).stride(), a.new(2).shape, F.grid_sample(torch.ones(1, 1, 3, 3), torch.zeros(1, 2, 2, 2), align_corners=False), F.affine_grid(torch.ones(1, 2, 3), (1, 1, 2, 2), align_corners=True), F.interpolate(torch.arange(4.0).reshape(1, 1, 4), scale_factor=1.5, mode="linear"), F.interpolate(torch.arange(16.0).reshape(1, 1, 4, 4), size=3, mode="area"), F.interpolate(torch.arange(16.0).reshape(1, 1, 4, 4), size=3, mode="bilinear", antialias=True), F.embedding_bag(torch.tensor([0, 1, 2]), a, torch.tensor([0, 2])), torch.typename(a), torch.conv_tbc(torch.ones(4, 1, 2), torch.ones(2, 2, 1), torch.zeros(1)), torch.CharTensor([1, 2]), torch.is_conj(a), a.new_empty_strided((2, 2), (1, 2)).stride()):
    show(made)
torch.manual_seed(1)
u, s, v = torch.svd_lowrank(a, q=2)
print((u @ torch.diag(s) @ v.T - a).norm() < 5, torch.pca_lowrank(a, q=1)[1].shape)
for wrong in (lambda: F.interpolate(a), lambda: F.interpolate(a[None], size=2, mode="bilinear"), lambda: F.grid_sample(a, a, mode="x"), lambda: F.max_unpool2d(torch.ones(1, 1, 1, 1), torch.tensor([[[[99]]]]), 2), lambda: F.gaussian_nll_loss(a, a, -a.abs())):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__)
#### functions of torch.autograd.functional
import torch
from torch.autograd.functional import hessian, hvp, jacobian, jvp, vhp, vjp
def show(v):
    if isinstance(v, (tuple, list)):
        print(type(v).__name__, len(v))
        for one in v:
            show(one)
    else:
        print(v.dtype, tuple(v.shape), v.requires_grad, [round(n, 4) + 0.0 for n in v.flatten().tolist()])
x, y = torch.tensor([0.5, 1.5, -2.0]), torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 4.0]])
f = lambda x: (x.sin() * x).sum()
g = lambda x, y: (y @ x, x * 2)
h = lambda x, y: (x**3).sum() * y.sum() + (y**2).sum()
for at in (
    lambda: jacobian(f, x), lambda: jacobian(lambda x: x.exp(), x), lambda: jacobian(g, (x, y)), lambda: jacobian(lambda x: (x, x.sum()), x, vectorize=True),
    lambda: jacobian(lambda x: torch.ones(2), x), lambda: jacobian(lambda x, y: x * 2, (x, y)), lambda: jacobian(f, x, create_graph=True),
    lambda: hessian(f, x), lambda: hessian(h, (x, y)), lambda: hessian(lambda x: x.sum(), x), lambda: vjp(lambda x: x.exp(), x, torch.ones(3)), lambda: vjp(f, x),
    lambda: vjp(g, (x, y), (torch.ones(2), x)), lambda: jvp(lambda x: x.exp(), x, torch.ones(3)), lambda: jvp(g, (x, y), (x, y)), lambda: vhp(f, x, x), lambda: vhp(h, (x, y), (x, y)),
    lambda: hvp(f, x, x), lambda: hvp(h, (x, y), (x, y)), lambda: jacobian(f, x.clone().requires_grad_(), create_graph=True), lambda: hessian(f, x, create_graph=True),
    lambda: jacobian(f, [x]), lambda: jacobian(f, (x, 3)), lambda: jacobian(lambda x: 3, x), lambda: vjp(lambda x: x, x), lambda: vjp(lambda x: x, x, torch.ones(2)), lambda: jvp(f, x), lambda: jvp(g, (x, y), x),
    lambda: hessian(lambda x: x, x), lambda: hessian(g, (x, y)), lambda: hvp(lambda x: x, x, x), lambda: vhp(g, (x, y), (x, y)), lambda: jacobian(lambda x: torch.ones(2), x, strict=True),
    lambda: jacobian(lambda x, y: x * 2, (x, y), strict=True), lambda: hessian(lambda x: x.sum(), x, strict=True), lambda: vjp(lambda x, y: x.sum(), (x, y), strict=True), lambda: jvp(lambda x: x * 2, x, x, strict=True),
    lambda: hvp(lambda x: x.sum(), x, x, strict=True), lambda: vhp(lambda x: x.sum(), x, x, strict=True), lambda: jacobian(f, x, strict=True, vectorize=True), lambda: jacobian(f, x, strategy="sideways"), lambda: jacobian(lambda x: x * 2, x, strict=True, create_graph=True),
    lambda: torch.autograd.functional.jacobian(lambda x: x * y, x).shape.numel() and jacobian(torch.sin, x),
):
    try:
        show(at())
    except Exception as error:
        print(type(error).__name__, error)
with torch.no_grad():
    show(jacobian(f, x)); show(hvp(f, x, x)); show(jvp(g, (x, y), (x, y)))
