import torch

__all__ = ("Function",)


class _Context:
    """What `forward` keeps for `backward`."""

    materialize_grads = True

    def __init__(self, needed):
        self.needs_input_grad = needed
        self._saved = ()
        self._made = ()
        self._constant = ()

    def save_for_backward(self, *tensors):
        for tensor in tensors:
            if not (tensor is None or isinstance(tensor, torch.Tensor)):
                raise TypeError(f"save_for_backward can only save variables, but argument is of type {type(tensor).__name__}")
        self._saved = tensors

    @property
    def saved_tensors(self):
        # What was returned is kept as it was before it had a gradient.
        if torch.is_grad_enabled() and any(one is made for one in self._saved for made in self._made):
            raise NotImplementedError(
                "a gradient of a gradient, through a torch.autograd.Function that saved what it returned, is not supported by "
                "this server: save what it is computed from"
            )
        return self._saved

    def mark_non_differentiable(self, *tensors):
        self._constant = tensors

    def set_materialize_grads(self, value):
        self.materialize_grads = value

    def mark_dirty(self, *tensors):
        raise NotImplementedError("mark_dirty() is not supported by this server: return a new tensor")

    def save_for_forward(self, *tensors):
        raise NotImplementedError("gradients in forward mode are not supported by this server")


class Function:
    @staticmethod
    def forward(*args, **kwargs):
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward "
            "mode AD."
        )

    vjp = backward

    @classmethod
    def apply(cls, *args):
        needed = tuple([isinstance(one, torch.Tensor) and one.requires_grad for one in args])
        ctx = _Context(needed)
        recorded = torch.is_grad_enabled() and any(needed)
        with torch.no_grad():
            if cls.setup_context is Function.setup_context:
                output = cls.forward(ctx, *args)
            else:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
        if not recorded:
            return output
        made = list(output) if isinstance(output, tuple) else [output]
        ctx._made = tuple(made)
        follows = [at for at, one in enumerate(made) if _is_differentiable(one) and not any(one is other for other in ctx._constant)]
        outputs = _record(
            cls.__name__ + "Backward", [one for one, wanted in zip(args, needed) if wanted], [made[at] for at in follows],
            _backward(cls, ctx, len(args), made, follows), ctx.materialize_grads, len(ctx._saved) > 0,
        )
        for at, one in zip(follows, outputs):
            made[at] = one
        return tuple(made) if isinstance(output, tuple) else made[0]


def _is_differentiable(value):
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())


def _backward(cls, ctx, count, made, follows):
    """What computes the gradients of those arguments that need one."""
    constant = {
        at: torch.zeros_like(one) if ctx.materialize_grads and isinstance(one, torch.Tensor) else None
        for at, one in enumerate(made) if at not in follows
    }
    function = cls.vjp if cls.backward is Function.backward else cls.backward

    def backward(*gradients):
        coming = iter(gradients)
        found = function(ctx, *[constant[at] if at in constant else next(coming) for at in range(len(made))])
        found = found if isinstance(found, tuple) else (found,)
        if len(found) > count and all([one is None for one in found[count:]]):
            found = found[:count]
        name = cls.__name__ + "Backward"
        if len(found) != count:
            raise RuntimeError(
                f"function {name} returned an incorrect number of gradients (expected {count}, got {len(found)})"
            )
        for one in found:
            if not (one is None or isinstance(one, torch.Tensor)):
                raise TypeError(f"expected Variable or None (got {type(one).__name__})")
        return [one for one, wanted in zip(found, ctx.needs_input_grad) if wanted]

    return backward
