import torch
from collections import OrderedDict, defaultdict
from copy import deepcopy

__all__ = (
    "ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "SGD",
)

# What steers how PyTorch computes a step, which is done one parameter after another here.
_WAYS = ("capturable", "differentiable", "foreach", "fused")


class _Handle:
    def __init__(self, hooks):
        self._hooks, self.id = hooks, max(hooks, default=-1) + 1

    def remove(self):
        self._hooks.pop(self.id, None)


class Optimizer:
    """What all have in common. `_update` of a class makes one step for one parameter."""

    def __init__(self, params, defaults):
        for way in _WAYS:
            if defaults.get(way):
                raise RuntimeError(
                    f"{type(self).__name__}(): argument '{way}' is not supported by this server: leave it out"
                )
        self.defaults = defaults
        self._before, self._after = OrderedDict(), OrderedDict()
        if isinstance(params, torch.Tensor):
            raise TypeError(
                f"params argument given to the optimizer should be an iterable of Tensors or dicts, but got {_kind(params)}"
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        groups = list(params)
        if len(groups) == 0:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group):
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        params = [params] if isinstance(params, torch.Tensor) else list(params)
        names = [pair[0] for pair in params if isinstance(pair, tuple)]
        params = [pair[1] if isinstance(pair, tuple) else pair for pair in params]
        param_group["params"] = params
        if names:
            if len(names) != len(params):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            param_group["param_names"] = names
        for param in params:
            if not isinstance(param, torch.Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {_kind(param)}")
            if not param.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
            if torch.is_complex(param):
                raise RuntimeError("optimizing complex parameters is not supported by this server")
        for name, default in self.defaults.items():
            param_group.setdefault(name, default)
        known = {id(param) for group in self.param_groups for param in group["params"]}
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                how = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param group "
                    f"{how} to the optimizer"
                )
        if any([id(param) in known for param in params]):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def step(self, closure=None):
        args = (self,) if closure is None else (self, closure)
        for hook in list(self._before.values()):
            changed = hook(self, args, {})
            if changed is not None:
                args = changed[0]
                closure = args[1] if len(args) > 1 else None
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    grad = param.grad
                    if grad is not None:
                        self._update(group, param, -grad if group.get("maximize") else grad)
        for hook in list(self._after.values()):
            hook(self, args, {})
        return loss

    def _update(self, group, param, grad):
        raise NotImplementedError

    def zero_grad(self, set_to_none=True):
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    param.grad = None if set_to_none else torch.zeros_like(param.grad)

    def state_dict(self):
        numbers, groups = {}, []
        for group in self.param_groups:
            for param in group["params"]:
                numbers.setdefault(id(param), len(numbers))
            packed = {name: value for name, value in group.items() if name != "params"}
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            groups.append(packed)
        state = {
            numbers[id(param)] if isinstance(param, torch.Tensor) else param: kept for param, kept in self.state.items()
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict):
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any([len(own["params"]) != len(new["params"]) for own, new in zip(groups, saved)]):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        params = {}
        for own, new in zip(groups, saved):
            params.update(zip(new["params"], own["params"]))
            new["params"] = own["params"]
            if "param_names" in own:
                new.setdefault("param_names", own["param_names"])
        state = defaultdict(dict)
        for number, kept in state_dict["state"].items():
            param = params.get(number)
            state[number if param is None else param] = kept if param is None else _fitting(param, kept, None)
        self.state, self.param_groups = state, saved

    def register_step_pre_hook(self, hook):
        return self._hook("_before", hook)

    def register_step_post_hook(self, hook):
        return self._hook("_after", hook)

    def _hook(self, which, hook):
        hooks = getattr(self, which)
        handle = _Handle(hooks)
        hooks[handle.id] = hook
        return handle

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._before, self._after = OrderedDict(), OrderedDict()

    def __repr__(self):
        text = f"{self.__class__.__name__} ("
        for index, group in enumerate(self.param_groups):
            text += f"\nParameter Group {index}\n"
            for name in sorted(group):
                if name != "params":
                    text += f"    {name}: {group[name]}\n"
        return text + ")"


def _kind(value):
    return "torch.FloatTensor" if isinstance(value, torch.Tensor) else type(value).__name__


def _fitting(param, value, name):
    """Gives what was kept of a parameter its type and device, but for the count of steps."""
    if isinstance(value, torch.Tensor):
        if name == "step":
            return value
        if param.is_floating_point():
            return value.to(dtype=param.dtype, device=param.device)
        return value.to(device=param.device)
    if isinstance(value, dict):
        return {key: _fitting(param, inner, key) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_fitting(param, inner, None) for inner in value])
    return value


def _number(value):
    return value.squeeze() if isinstance(value, torch.Tensor) and value.dim() != 0 else value


def _check(lr, eps=0.0, betas=None, weight_decay=0.0):
    if isinstance(lr, torch.Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not 0.0 <= lr:
        raise ValueError(f"Invalid learning rate: {lr}")
    if not 0.0 <= eps:
        raise ValueError(f"Invalid epsilon value: {eps}")
    for index, beta in enumerate(betas or ()):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
    if not 0.0 <= weight_decay:
        raise ValueError(f"Invalid weight_decay value: {weight_decay}")


def _count():
    return torch.tensor(0.0, dtype=torch.float32, device="cpu")


def _decayed(group, param, grad):
    return grad.add(param, alpha=group["weight_decay"]) if group["weight_decay"] != 0 else grad


class SGD(Optimizer):
    def __init__(self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *, maximize=False,
                 foreach=None, differentiable=False, fused=None):
        _check(lr, weight_decay=weight_decay)
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        })

    def _update(self, group, param, grad):
        momentum, lr = group["momentum"], _number(group["lr"])
        grad = _decayed(group, param, grad)
        if momentum != 0:
            state = self.state[param]
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = grad.detach().clone()
            else:
                buffer.mul_(momentum).add_(grad, alpha=1 - group["dampening"])
            grad = grad.add(buffer, alpha=momentum) if group["nesterov"] else buffer
        param.add_(grad, alpha=-lr)


class Adam(Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *, foreach=None,
                 maximize=False, capturable=False, differentiable=False, fused=None, decoupled_weight_decay=False):
        _check(lr, eps, betas, weight_decay)
        if not (isinstance(betas[0], float) and isinstance(betas[1], float)):
            if not (isinstance(betas[0], torch.Tensor) and isinstance(betas[1], torch.Tensor)):
                raise ValueError("betas must be either both floats or both Tensors")
            raise RuntimeError(f"{type(self).__name__}(): betas that are tensors are not supported by this server")
        super().__init__(params, {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
        })

    def _update(self, group, param, grad):
        state = self.state[param]
        if len(state) == 0:
            state["step"] = _count()
            state["exp_avg"] = torch.zeros_like(param)
            state["exp_avg_sq"] = torch.zeros_like(param)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = torch.zeros_like(param)
        (beta1, beta2), lr = group["betas"], _number(group["lr"])
        average, square = state["exp_avg"], state["exp_avg_sq"]
        state["step"] += 1
        if group["decoupled_weight_decay"]:
            if group["weight_decay"] != 0:
                param.mul_(1 - lr * group["weight_decay"])
        else:
            grad = _decayed(group, param, grad)
        average.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        step = state["step"].item()
        correction1, correction2 = 1 - beta1**step, 1 - beta2**step
        if group["amsgrad"]:
            largest = state["max_exp_avg_sq"]
            largest.copy_(torch.maximum(largest, square))
            square = largest
        below = (square.sqrt() / correction2**0.5).add_(group["eps"])
        param.addcdiv_(average, below, value=-(lr / correction1))


class AdamW(Adam):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *,
                 maximize=False, foreach=None, capturable=False, differentiable=False, fused=None):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
                         capturable=capturable, differentiable=differentiable, fused=fused, decoupled_weight_decay=True)


class RMSprop(Optimizer):
    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False,
                 capturable=False, foreach=None, maximize=False, differentiable=False):
        _check(lr, eps, weight_decay=weight_decay)
        if not 0.0 <= momentum:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if not 0.0 <= alpha:
            raise ValueError(f"Invalid alpha value: {alpha}")
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        })

    def _update(self, group, param, grad):
        state, alpha, lr = self.state[param], group["alpha"], _number(group["lr"])
        if len(state) == 0:
            state["step"] = _count()
            state["square_avg"] = torch.zeros_like(param)
            if group["momentum"] > 0:
                state["momentum_buffer"] = torch.zeros_like(param)
            if group["centered"]:
                state["grad_avg"] = torch.zeros_like(param)
        state["step"] += 1
        grad = _decayed(group, param, grad)
        square = state["square_avg"]
        square.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
        if group["centered"]:
            mean = state["grad_avg"].lerp_(grad, 1 - alpha)
            average = square.addcmul(mean, mean, value=-1).sqrt_()
        else:
            average = square.sqrt()
        average = average.add_(group["eps"])
        if group["momentum"] > 0:
            buffer = state["momentum_buffer"]
            buffer.mul_(group["momentum"]).addcdiv_(grad, average)
            param.add_(buffer, alpha=-lr)
        else:
            param.addcdiv_(grad, average, value=-lr)


class Adagrad(Optimizer):
    def __init__(self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10,
                 foreach=None, *, maximize=False, differentiable=False, fused=None):
        _check(lr, weight_decay=weight_decay)
        if not 0.0 <= lr_decay:
            raise ValueError(f"Invalid lr_decay value: {lr_decay}")
        if not 0.0 <= initial_accumulator_value:
            raise ValueError(f"Invalid initial_accumulator_value value: {initial_accumulator_value}")
        _check(lr, eps)
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        })
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state[param]
                state["step"] = _count()
                with torch.no_grad():
                    state["sum"] = torch.full_like(param, initial_accumulator_value)

    def _update(self, group, param, grad):
        state, lr = self.state[param], _number(group["lr"])
        state["step"] += 1
        step = state["step"].item()
        grad = _decayed(group, param, grad)
        rate = lr / (1 + (step - 1) * group["lr_decay"])
        state["sum"].addcmul_(grad, grad, value=1)
        param.addcdiv_(grad, state["sum"].sqrt().add_(group["eps"]), value=-rate)


class Adadelta(Optimizer):
    def __init__(self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, foreach=None, *, capturable=False,
                 maximize=False, differentiable=False):
        _check(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        _check(lr, eps, weight_decay=weight_decay)
        super().__init__(params, {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        })

    def _update(self, group, param, grad):
        state, rho, eps = self.state[param], group["rho"], group["eps"]
        if len(state) == 0:
            state["step"] = _count()
            state["square_avg"] = torch.zeros_like(param)
            state["acc_delta"] = torch.zeros_like(param)
        state["step"] += 1
        grad = _decayed(group, param, grad)
        square, changes = state["square_avg"], state["acc_delta"]
        square.mul_(rho).addcmul_(grad, grad, value=1 - rho)
        deviation = square.add(eps).sqrt_()
        change = changes.add(eps).sqrt_()
        change.div_(deviation).mul_(grad)
        changes.mul_(rho).addcmul_(change, change, value=1 - rho)
        param.add_(change, alpha=-_number(group["lr"]))


class Adamax(Optimizer):
    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=None, *, maximize=False,
                 differentiable=False, capturable=False):
        _check(lr, eps, betas, weight_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        })

    def _update(self, group, param, grad):
        state = self.state[param]
        if len(state) == 0:
            state["step"] = _count()
            state["exp_avg"] = torch.zeros_like(param)
            state["exp_inf"] = torch.zeros_like(param)
        (beta1, beta2), largest = group["betas"], state["exp_inf"]
        state["step"] += 1
        grad = _decayed(group, param, grad)
        state["exp_avg"].lerp_(grad, 1 - beta1)
        largest.copy_(torch.maximum(largest.mul_(beta2), grad.abs().add_(group["eps"])))
        rate = _number(group["lr"]) / (1 - beta1 ** state["step"].item())
        param.addcdiv_(state["exp_avg"], largest, value=-rate)


class NAdam(Optimizer):
    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
                 decoupled_weight_decay=False, *, foreach=None, maximize=False, capturable=False, differentiable=False):
        _check(lr, eps, betas, weight_decay)
        if not 0.0 <= momentum_decay:
            raise ValueError(f"Invalid momentum_decay value: {momentum_decay}")
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        })

    def _update(self, group, param, grad):
        state = self.state[param]
        if len(state) == 0:
            state["step"] = _count()
            state["mu_product"] = _count() + 1.0
            state["exp_avg"] = torch.zeros_like(param)
            state["exp_avg_sq"] = torch.zeros_like(param)
        (beta1, beta2), lr = group["betas"], _number(group["lr"])
        average, square, product = state["exp_avg"], state["exp_avg_sq"], state["mu_product"]
        state["step"] += 1
        step = state["step"].item()
        if group["decoupled_weight_decay"]:
            if group["weight_decay"] != 0:
                param.mul_(1 - lr * group["weight_decay"])
        else:
            grad = _decayed(group, param, grad)
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * group["momentum_decay"]))
        after = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * group["momentum_decay"]))
        product *= mu
        average.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        below = square.div(1 - beta2**step).sqrt()
        below.add_(group["eps"])
        param.addcdiv_(grad, below, value=-lr * (1.0 - mu) / (1.0 - product.item()))
        param.addcdiv_(average, below, value=-lr * after / (1.0 - product.item() * after))


class RAdam(Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled_weight_decay=False, *,
                 foreach=None, maximize=False, capturable=False, differentiable=False):
        _check(lr, eps, betas, weight_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        })

    def _update(self, group, param, grad):
        state = self.state[param]
        if len(state) == 0:
            state["step"] = _count()
            state["exp_avg"] = torch.zeros_like(param)
            state["exp_avg_sq"] = torch.zeros_like(param)
        (beta1, beta2), lr = group["betas"], _number(group["lr"])
        average, square = state["exp_avg"], state["exp_avg_sq"]
        state["step"] += 1
        step = state["step"].item()
        if group["decoupled_weight_decay"]:
            if group["weight_decay"] != 0:
                param.mul_(1 - lr * group["weight_decay"])
        else:
            grad = _decayed(group, param, grad)
        average.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        correction1, correction2 = 1 - beta1**step, 1 - beta2**step
        corrected = average / correction1
        end = 2 / (1 - beta2) - 1
        rho = end - 2 * step * (beta2**step) / correction2
        if rho > 5.0:
            rectified = ((rho - 4) * (rho - 2) * end / ((end - 4) * (end - 2) * rho)) ** 0.5
            adaptive = (correction2**0.5) / square.sqrt().add_(group["eps"])
            param.add_(corrected * lr * adaptive * rectified, alpha=-1.0)
        else:
            param.add_(corrected * lr, alpha=-1.0)


class ASGD(Optimizer):
    def __init__(self, params, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0, foreach=None, maximize=False,
                 differentiable=False, capturable=False):
        _check(lr, weight_decay=weight_decay)
        super().__init__(params, {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        })

    def _update(self, group, param, grad):
        state, lr, lambd = self.state[param], _number(group["lr"]), group["lambd"]
        if len(state) == 0:
            state["step"] = torch.zeros((), device=param.device)
            state["eta"] = torch.as_tensor(lr, device=param.device, dtype=torch.float32).clone().detach()
            state["mu"] = torch.ones((), device=param.device)
            state["ax"] = torch.zeros_like(param)
        average, mu, eta = state["ax"], state["mu"], state["eta"]
        state["step"] += 1
        grad = _decayed(group, param, grad)
        rate = eta.item()
        param.mul_(1 - lambd * rate)
        param.add_(grad, alpha=-rate)
        if mu.item() != 1:
            average.add_(param.sub(average).mul_(mu))
        else:
            average.copy_(param)
        step = state["step"].item()
        eta.copy_(torch.as_tensor(lr / ((1 + lambd * lr * step) ** group["alpha"])))
        mu.copy_(torch.as_tensor(1 / max(1, step - group["t0"])))


class Rprop(Optimizer):
    def __init__(self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), *, capturable=False, foreach=None,
                 maximize=False, differentiable=False):
        _check(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        })

    def _update(self, group, param, grad):
        state, (less, more) = self.state[param], group["etas"]
        if len(state) == 0:
            state["step"] = _count()
            state["prev"] = torch.zeros_like(param)
            state["step_size"] = torch.full_like(grad, _number(group["lr"]))
        state["step"] += 1
        sign = grad.mul(state["prev"]).sign()
        sign[sign.gt(0)] = more
        sign[sign.lt(0)] = less
        sign[sign.eq(0)] = 1
        smallest, largest = group["step_sizes"]
        state["step_size"].mul_(sign).clamp_(smallest, largest)
        grad = grad.clone()
        grad[sign.eq(less)] = 0
        param.addcmul_(grad.sign(), state["step_size"], value=-1)
        state["prev"].copy_(grad)
