from collections import namedtuple
from collections.abc import Mapping
from copy import deepcopy

import torch

__all__ = ("__deepcopy__", "__repr__", "load_state_dict")


def _part(value, memo, *made):
    """Copies a part, or notes what a module is copied to."""
    if made:
        memo[id(value)] = made[0]
        return None
    return deepcopy(value, memo)


def __deepcopy__(self, memo):
    return _copied(self, memo, _part)


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


def _put(module, name, before, value, assign):
    """Puts a value where a module has a tensor, or into that tensor's memory."""
    with torch.no_grad():
        if not assign:
            before.copy_(value)
            return
        if isinstance(before, torch.nn.Parameter) and not isinstance(value, torch.nn.Parameter):
            value = torch.nn.Parameter(value, requires_grad=before.requires_grad)
        _swap(module, name, value)


def load_state_dict(self, state_dict, strict=True, assign=False):
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    missing, unexpected, errors = [], [], []
    wanted = self.state_dict(keep_vars=True)
    for path, module in self.named_modules():
        prefix = path + "." if path else ""
        own = {key[len(prefix):]: value for key, value in wanted.items()
               if key.startswith(prefix) and "." not in key[len(prefix):]}
        inside = {name for name, _ in module.named_children()}
        for name, before in own.items():
            key = prefix + name
            if key not in state_dict:
                missing.append(key)
                continue
            value = state_dict[key]
            if not isinstance(value, torch.Tensor):
                errors.append(
                    f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                    f"checkpoint but received {type(value)}"
                )
                continue
            if before.dim() == 0 and tuple(value.shape) == (1,):
                value = value[0]
            if value.shape != before.shape:
                errors.append(
                    f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, the shape in "
                    f"current model is {before.shape}."
                )
                continue
            try:
                _put(module, name, before, value, assign)
            except Exception as error:
                errors.append(
                    f'While copying the parameter named "{key}", whose dimensions in the model are {before.size()} and '
                    f"whose dimensions in the checkpoint are {value.size()}, an exception occurred : {error.args}."
                )
        for key in state_dict:
            if key.startswith(prefix):
                first, dot, _ = key[len(prefix):].partition(".")
                if first not in (inside if dot else own):
                    unexpected.append(key)
    if strict:
        for what, keys in (("Unexpected", unexpected), ("Missing", missing)):
            if keys:
                listed = ", ".join(f'"{key}"' for key in keys)
                errors.insert(0, f"{what} key(s) in state_dict: {listed}. ")
    if errors:
        told = "\n\t".join(errors)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{told}")
    return _IncompatibleKeys(missing, unexpected)


def __repr__(self):
    name, extra = type(self).__name__, self.extra_repr()
    extra = extra.split("\n") if extra else []
    inside = []
    for child, module in self.named_children():
        text = repr(module).replace("\n", "\n  ")
        inside.append(f"({child}): {text}")
    if not extra and not inside:
        return name + "()"
    if len(extra) == 1 and not inside:
        return f"{name}({extra[0]})"
    return name + "(\n  " + "\n  ".join([*extra, *inside]) + "\n)"
