import torch

__all__ = ("hessian", "hvp", "jacobian", "jvp", "vhp", "vjp")


def _tensors(value, what, function):
    """The tensors of a tensor or of a tuple of some, and whether it is a tuple."""
    many = isinstance(value, tuple)
    tensors = value if many else (value,)
    for at, one in enumerate(tensors):
        if not isinstance(one, torch.Tensor):
            which = f"value at index {at}" if many else f"given {what}"
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but the {which} has type {type(one)}."
            )
    return tensors, many


def _opened(tensors, create_graph, needed=True):
    """Tensors of their own, to differentiate by: others that the function has captured stay what they are."""
    return tuple(
        one.view_as(one) if create_graph and one.requires_grad else one.detach().requires_grad_(needed) for one in tensors
    )


def _closed(value, create_graph):
    if create_graph:
        return value
    return value.detach() if isinstance(value, torch.Tensor) else tuple(_closed(one, create_graph) for one in value)


def _called(func, inputs, function, strict):
    outputs, many = _tensors(func(*inputs), "outputs of the user-provided function", function)
    if strict:
        for at, output in enumerate(outputs):
            if not output.requires_grad:
                raise RuntimeError(
                    f"Output {at} of the user-provided function does not require gradients. The outputs must be computed in a "
                    "differentiable manner from the input when running in strict mode."
                )
    return outputs, many


def _one_element(outputs, many, function):
    if many:
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if outputs[0].nelement() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {function} should contain a single element")


def _vector(v, like, many, function, create_graph, missing):
    """The vector that is multiplied by, of the sizes of `like`. A single number needs none."""
    if v is None:
        if len(like) != 1 or like[0].nelement() != 1:
            raise RuntimeError(f"The vector v can only be None if {missing} a single Tensor with a single element.")
        return None
    v = _opened(_tensors(v, "v", function)[0], create_graph, False)
    if len(v) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(v)}."
            if many
            else "The given v should contain a single Tensor."
        )
    for at, (one, other) in enumerate(zip(v, like)):
        if one.size() != other.size():
            entry = f"Entry {at} in " if many else ""
            raise RuntimeError(f"{entry}v has invalid size: should be {other.size()} but got {one.size()}.")
    return v


def _gradients(outputs, inputs, v=None, create_graph=False, again=None):
    """The gradients of those outputs that have any; None by what they do not depend on."""
    pairs = zip(outputs, [None] * len(outputs) if v is None else v)
    found = [(output, vector) for output, vector in pairs if output is not None and output.requires_grad]
    if not found:
        return (None,) * len(inputs)
    outputs, v = zip(*found)
    return torch.autograd.grad(outputs, inputs, v, allow_unused=True, create_graph=create_graph, retain_graph=again)


def _filled(gradients, like, strict, create_graph, independent, constant):
    """Zeros where there is no gradient, which strict mode does not take."""
    filled = []
    for at, (gradient, one) in enumerate(zip(gradients, like)):
        if gradient is None:
            if strict:
                raise RuntimeError(independent.format(at))
            gradient = torch.zeros_like(one)
        elif strict and create_graph and not gradient.requires_grad:
            raise RuntimeError(constant.format(at))
        filled.append(gradient)
    return tuple(filled)


_INDEPENDENT = "The {} of the user-provided function is independent of input {{}}. This is not allowed in strict mode{}."
_OUTPUT = _INDEPENDENT.format("output", "")
_JACOBIAN = _INDEPENDENT.format("jacobian", "")
_CONSTANT = _INDEPENDENT.format("jacobian", " when create_graph=True")
_CONSTANT_HESSIAN = _INDEPENDENT.format("hessian", " when create_graph=True")


def _differentiable(gradients, strict, constant):
    for at, gradient in enumerate(gradients if strict else ()):
        if gradient is None:
            raise RuntimeError(_OUTPUT.format(at))
        if not gradient.requires_grad:
            raise RuntimeError(constant.format(at))


_CONSTANT_JACOBIAN = (
    "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} is independent "
    "of the input. This is not allowed in strict mode. You should ensure that your function is twice differentiable and that "
    "the jacobian depends on the inputs (this would be violated by a linear function for example)."
)


def _shown(tensors, many):
    return tensors if many else tensors[0]


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    with torch.enable_grad():
        inputs, many = _tensors(inputs, "inputs", "vjp")
        inputs = _opened(inputs, create_graph)
        outputs, several = _called(func, inputs, "vjp", strict)
        v = _vector(v, outputs, several, "vjp", create_graph, "the user-provided function returns")
    with torch.set_grad_enabled(create_graph or torch.is_grad_enabled()):
        found = _gradients(outputs, inputs, v, create_graph)
        found = _filled(found, inputs, strict, create_graph, _OUTPUT, _CONSTANT)
    return _shown(_closed(outputs, create_graph), several), _shown(_closed(found, create_graph), many)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    with torch.enable_grad():
        inputs, many = _tensors(inputs, "inputs", "jvp")
        inputs = _opened(inputs, create_graph)
        v = _vector(v, inputs, many, "jvp", create_graph, "the input to the user-provided function is")
        outputs, several = _called(func, inputs, "jvp", strict)
        # A gradient is linear in what is handed backward, so that its own gradient by that is the product.
        handed = tuple(torch.zeros_like(output, requires_grad=True) for output in outputs)
        back = _gradients(outputs, inputs, handed, True)
        _differentiable(
            back, strict,
            "The gradient with respect to input {} is independent of the inputs of the user-provided function. This is not allowed "
            "in strict mode.",
        )
    with torch.set_grad_enabled(create_graph or torch.is_grad_enabled()):
        found = _gradients(back, handed, v, create_graph)
        found = _filled(
            found, outputs, strict, create_graph,
            "The gradient with respect to the input is independent of entry {} in the grad_outputs when using the double backward "
            "trick to compute forward mode gradients. This is not allowed in strict mode.",
            _CONSTANT,
        )
    return _shown(_closed(outputs, create_graph), several), _shown(_closed(found, create_graph), several)


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs than '
            'inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        raise NotImplementedError(
            'strategy="forward-mode" is not supported by this server: leave it out, or use torch.func.jacfwd'
        )
    with torch.enable_grad():
        inputs, many = _tensors(inputs, "inputs", "jacobian")
        inputs = _opened(inputs, create_graph)
        outputs, several = _called(func, inputs, "jacobian", strict)
        if vectorize and strict:
            raise RuntimeError(
                "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. Please either "
                "set `strict=False` or `vectorize=False`."
            )
        jacobian = []
        for number, output in enumerate(outputs):
            rows, flat = [[] for _ in inputs], output.reshape(-1)
            for at in range(output.nelement()):
                found = _gradients((flat[at],), inputs, None, create_graph, True)
                independent = f"Output {number} of the user-provided function is independent of input {{}}. This is not allowed in strict mode."
                for row, gradient in zip(rows, _filled(found, inputs, strict, create_graph, independent, _CONSTANT)):
                    row.append(gradient)
            jacobian.append(
                tuple(torch.stack(row, dim=0).view(output.size() + input.size()) for row, input in zip(rows, inputs))
            )
        jacobian = tuple(_shown(row, many) for row in jacobian)
        return _closed(_shown(jacobian, several), create_graph)


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"):
    inputs, many = _tensors(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def one(*inputs):
        outputs, several = _called(func, inputs, "hessian", strict)
        _one_element(outputs, several, "hessian")
        return outputs[0].squeeze()

    def gradients(*inputs):
        found = jacobian(one, inputs, create_graph=True)
        _differentiable(found, strict, _CONSTANT_JACOBIAN)
        return found

    found = jacobian(gradients, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found if many else found[0][0]


def _twice(func, inputs, v, create_graph, strict, function):
    """The value of a function of one number, and its gradients, which can be differentiated again."""
    inputs, many = _tensors(inputs, "inputs", function)
    inputs = _opened(inputs, create_graph)
    v = _vector(v, inputs, many, function, create_graph, "the input to the user-provided function is")
    outputs, several = _called(func, inputs, function, strict)
    _one_element(outputs, several, function)
    gradients = _gradients(outputs, inputs, None, True)
    _differentiable(gradients, strict, _CONSTANT_JACOBIAN)
    return inputs, many, v, outputs[0], gradients


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    with torch.enable_grad():
        inputs, many, v, output, gradients = _twice(func, inputs, v, create_graph, strict, "vhp")
    with torch.set_grad_enabled(create_graph or torch.is_grad_enabled()):
        found = _gradients(gradients, inputs, v, create_graph)
        found = _filled(found, inputs, strict, create_graph, _JACOBIAN, _CONSTANT_HESSIAN)
    return _closed(output, create_graph), _shown(_closed(found, create_graph), many)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    with torch.enable_grad():
        inputs, many, v, output, gradients = _twice(func, inputs, v, create_graph, strict, "hvp")
        handed = tuple(torch.zeros_like(input, requires_grad=True) for input in inputs)
        back = _gradients(gradients, inputs, handed, True)
    with torch.set_grad_enabled(create_graph or torch.is_grad_enabled()):
        found = _gradients(back, handed, v, create_graph)
        found = _filled(
            found, inputs, strict, create_graph,
            "The hessian of the user-provided function is independent of entry {} in the grad_jacobian. This is not allowed in strict "
            "mode as it prevents from using the double backward trick to replace forward mode AD.",
            _CONSTANT_HESSIAN,
        )
    return _closed(output, create_graph), _shown(_closed(found, create_graph), many)
