"""Writes the public names of the installed libraries, as their documentation has them: what docs/coverage.md counts.

    .venv/bin/python tools/torch_names.py > crates/torch/tests/coverage/names.txt

A function or method of PyTorch's is public if it has documentation of its own and no underscore before its name; a class or a
function written in Python, if its module says so.
"""
import inspect
import types
import warnings

import numpy
import torch
import torch.distributions
import torch.func
import torch.nn.functional

warnings.simplefilter("ignore")
# Names that modules have for themselves.
OWN = {"torch.nn.functional": {"has_torch_function", "has_torch_function_unary", "has_torch_function_variadic",
                               "handle_torch_function", "boolean_dispatch", "assert_int_or_pair"},
       "torch.nn": {"factory_kwargs", "Container", "DataParallel"}}
# What no list of names has, though it is documented.
BESIDES = {"torch": {"pca_lowrank", "svd_lowrank", "lobpcg", "finfo", "iinfo", "Generator", "Size", "Tensor", "device", "dtype",
                     "layout", "memory_format", "FloatTensor", "DoubleTensor", "HalfTensor", "LongTensor", "IntTensor",
                     "ShortTensor", "CharTensor", "ByteTensor", "BoolTensor"},
           "torch.Tensor": {"H", "T", "mH", "mT", "data", "device", "dtype", "grad", "imag", "is_leaf", "itemsize", "layout",
                            "names", "nbytes", "ndim", "real", "requires_grad", "shape", "is_cuda", "is_sparse", "is_meta",
                            "is_quantized", "grad_fn"}}


def documented(module, name):
    value = getattr(module, name)
    if isinstance(value, types.ModuleType | torch.dtype) or not callable(value):
        return False
    if inspect.isclass(value):
        return not value.__module__.startswith("torch._C")
    return bool(value.__doc__) or not isinstance(value, types.BuiltinFunctionType | types.MethodDescriptorType)


def of_torch():
    found = {name for name in torch.__all__ if hasattr(torch, name)} | {name for name in dir(torch)}
    functions = {name for name in found if callable(getattr(torch, name))}
    known = set(torch.__all__) | set(dir(torch._C._VariableFunctions))
    classes = {name for name in functions if inspect.isclass(getattr(torch, name))}
    return {name for name in (functions & known) - classes if documented(torch, name)}


def of_module(module, names=None):
    names = names or [name for name in dir(module)]
    return {name for name in names if documented(module, name)
            and not (getattr(getattr(module, name), "__module__", None) or "").startswith(("typing", "collections"))
            and name not in ("Tensor", "DType", "ScalingType", "SwizzleType")}


def of_numpy(module):
    names = getattr(module, "__all__", dir(module))
    return {name for name in names if callable(getattr(module, name, None))
            and not inspect.isclass(getattr(module, name)) and not isinstance(getattr(module, name), types.ModuleType)}


areas = {
    "torch": of_torch(),
    "torch.Tensor": {name for name in dir(torch.Tensor) if documented(torch.Tensor, name)},
    "torch.nn.functional": of_module(torch.nn.functional),
    "torch.linalg": of_module(torch.linalg),
    "torch.fft": of_module(torch.fft, torch.fft.__all__),
    "torch.special": of_module(torch.special, torch.special.__all__),
    "torch.func": of_module(torch.func),
    "torch.distributions": of_module(torch.distributions, torch.distributions.__all__),
    "torch.nn": {name for name in dir(torch.nn) if inspect.isclass(getattr(torch.nn, name))},
    # The tests have no einops: its functions by name.
    "einops": {"asnumpy", "einsum", "pack", "parse_shape", "rearrange", "reduce", "repeat", "unpack", "EinopsError"},
    "numpy": of_numpy(numpy),
    "numpy.ndarray": {name for name in dir(numpy.ndarray)},
    "numpy.linalg": of_numpy(numpy.linalg),
    "numpy.random": of_numpy(numpy.random) | {"Generator", "RandomState"},
}
print("# Made by tools/torch_names.py: torch", torch.__version__.split("+")[0] + ", numpy", numpy.__version__)
for area, names in areas.items():
    names = (names | BESIDES.get(area, set())) - OWN.get(area, set())
    print(f"\n[{area}]")
    for name in sorted(name for name in names if name[0] != "_"):
        print(name)
