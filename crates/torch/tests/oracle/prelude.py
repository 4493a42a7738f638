import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

x = torch.tensor([[1.0, -2.0, 3.5], [0.25, 5.0, -6.0]])
y = torch.tensor([[0.5, 1.5, -1.0], [2.0, -3.0, 4.0]])
v = torch.tensor([1.0, 2.0, 3.0])
i = torch.tensor([[1, 2, 3], [4, 5, 6]])
j = torch.tensor([2, 0, 1])
b = torch.tensor([[True, False, True], [False, True, False]])
h = torch.tensor([1.0, 2.5, -3.25]).half()
g = torch.tensor([1.0, 2.5, -3.25]).bfloat16()
d = torch.tensor([1.0, 2.5, -3.25]).double()
c = torch.tensor([1 + 2j, 3 - 1j])
s = torch.tensor(2.5)
n = torch.tensor(3)
cube = torch.arange(24).reshape(2, 3, 4).float()
e = torch.zeros(0, 3)
sq = torch.tensor([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]])


def describe(value):
    if isinstance(value, torch.Tensor):
        kind = "Parameter" if isinstance(value, nn.Parameter) else "Tensor"
        return [kind, str(value.dtype), list(value.shape), value.requires_grad, value.tolist()]
    if isinstance(value, np.ndarray):
        return ["ndarray", str(value.dtype), list(value.shape), value.tolist()]
    if isinstance(value, torch.Size):
        return ["Size", list(value)]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, [describe(item) for item in value]]
    if isinstance(value, dict):
        return ["dict", [[key, describe(item)] for key, item in value.items()]]
    return [type(value).__name__, repr(value)]
