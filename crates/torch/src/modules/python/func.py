import torch

__all__ = (
    "debug_unwrap", "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp",
    "linearize", "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap",
)

# Transforms are computed by ordinary backward passes, and `vmap` one element after another: what they give is what PyTorch
# gives up to the last bits.


def _leaves(value):
    """The tensors of nested tuples, lists and dicts, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _leaves(part)]
    return []


def _mapped(function, value):
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return type(value)((key, _mapped(function, part)) for key, part in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[_mapped(function, part) for part in value])
    if isinstance(value, (list, tuple)):
        return type(value)([_mapped(function, part) for part in value])
    return value


def _filled(value, leaves):
    """The same structure with other tensors."""
    leaves = iter(leaves)
    return _mapped(lambda _: next(leaves), value)


def _alone(tensor):
    """A tensor to differentiate by: a leaf, or a node of its own where an outer transform looks at it, too."""
    if tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_()


def _picked(args, argnums):
    many = isinstance(argnums, tuple)
    numbers = [at + len(args) if at < 0 else at for at in (argnums if many else (argnums,))]
    for at in numbers:
        if not 0 <= at < len(args):
            raise RuntimeError(
                f"Got argnum={argnums}, but only {len(args)} positional inputs"
            )
    return many, numbers


def _opened(args, numbers):
    """Arguments with those at `numbers` to be differentiated by, the tensors of these, and whether an outer one watches."""
    opened, inputs = list(args), []
    outer = any(leaf.requires_grad for at in numbers for leaf in _leaves(args[at]))
    for at in numbers:
        opened[at] = _mapped(_alone, args[at])
        inputs += _leaves(opened[at])
    return opened, inputs, outer


def _closed(value, outer):
    return value if outer else _mapped(lambda tensor: tensor.detach(), value)


def _gradients(output, inputs, seed=None, again=True):
    if not output.requires_grad:
        return [torch.zeros_like(input) for input in inputs]
    found = torch.autograd.grad(
        output, inputs, seed, create_graph=again, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(input) if one is None else one for one, input in zip(found, inputs)]


def grad_and_value(func, argnums=0, has_aux=False):
    def wrapper(*args, **kwargs):
        with torch.enable_grad():
            many, numbers = _picked(args, argnums)
            opened, inputs, outer = _opened(args, numbers)
            output = func(*opened, **kwargs)
            if has_aux:
                if not (isinstance(output, tuple) and len(output) == 2):
                    raise RuntimeError(
                        "grad_and_value(f)(*args): output of function f should be a tuple: (output, aux) if has_aux is True"
                    )
                output, aux = output
            if not isinstance(output, torch.Tensor):
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}"
                )
            if output.dim() != 0:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with "
                    f"{output.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            # A graph of the gradients is needed where an outer transform goes on with them.
            found = _gradients(output, inputs, again=outer)
            sizes, result = [len(_leaves(opened[at])) for at in numbers], []
            for at, size in zip(numbers, sizes):
                result.append(_filled(opened[at], found[:size]))
                found = found[size:]
            result = tuple(result) if many else result[0]
        result, output = _closed(result, outer), _closed(output, outer)
        return (result, (output, _closed(aux, outer))) if has_aux else (result, output)

    return wrapper


def grad(func, argnums=0, has_aux=False):
    both = grad_and_value(func, argnums, has_aux)

    def wrapper(*args, **kwargs):
        result, value = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return wrapper


def vjp(func, *primals, has_aux=False):
    with torch.enable_grad():
        opened, inputs, outer = _opened(primals, range(len(primals)))
        output = func(*opened)
        if has_aux:
            output, aux = output
    outputs = _leaves(output)

    def pull(*cotangents, retain_graph=True, create_graph=None):
        given = _leaves(cotangents[0] if len(cotangents) == 1 and isinstance(output, torch.Tensor) else list(cotangents))
        if len(cotangents) == 1 and not isinstance(output, torch.Tensor):
            given = _leaves(cotangents[0])
        if len(given) != len(outputs):
            raise RuntimeError(
                f"Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function"
            )
        again = outer or any(one.requires_grad for one in given)
        used = [(one, seed) for one, seed in zip(outputs, given) if one.requires_grad]
        with torch.enable_grad():
            if used:
                found = torch.autograd.grad(
                    [one for one, _ in used], inputs, [seed for _, seed in used], create_graph=again, retain_graph=True,
                    allow_unused=True)
            else:
                found = [None] * len(inputs)
            found = [torch.zeros_like(input) if one is None else one for one, input in zip(found, inputs)]
        result = []
        for primal in opened:
            size = len(_leaves(primal))
            result.append(_closed(_filled(primal, found[:size]), again))
            found = found[size:]
        return tuple(result)

    shown = _closed(output, outer)
    return (shown, pull, _closed(aux, outer)) if has_aux else (shown, pull)


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    with torch.enable_grad():
        opened, inputs, outer = _opened(primals, range(len(primals)))
        outer = outer or any(leaf.requires_grad for leaf in _leaves(list(tangents)))
        output = func(*opened)
        if has_aux:
            output, aux = output
        pushed = []
        for one in _leaves(output):
            seed = torch.zeros_like(one, requires_grad=True)
            if not one.requires_grad:
                pushed.append(torch.zeros_like(one))
                continue
            back = torch.autograd.grad(one, inputs, seed, create_graph=True, allow_unused=True)
            pairs = [(g, t) for g, t in zip(back, _leaves(list(tangents))) if g is not None and g.requires_grad]
            if not pairs:
                pushed.append(torch.zeros_like(one))
                continue
            found = torch.autograd.grad(
                [g for g, _ in pairs], seed, [t for _, t in pairs], create_graph=outer, retain_graph=True,
                allow_unused=True)[0]
            pushed.append(torch.zeros_like(one) if found is None else found)
        tangent = _filled(output, pushed)
    result = (_closed(output, outer), _closed(tangent, outer))
    return (*result, _closed(aux, outer)) if has_aux else result


def linearize(func, *primals):
    output = _mapped(lambda tensor: tensor.detach(), func(*primals))

    def push(*tangents):
        return jvp(func, primals, tangents)[1]

    return output, push


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None, _preallocate_and_copy=False):
    def wrapper(*args, **kwargs):
        with torch.enable_grad():
            many, numbers = _picked(args, argnums)
            opened, inputs, outer = _opened(args, numbers)
            output = func(*opened, **kwargs)
            if has_aux:
                output, aux = output

            def of(one):
                rows = [[] for _ in inputs]
                flat = one.reshape(-1)
                for at in range(flat.numel()):
                    for row, found in zip(rows, _gradients(flat[at], inputs, again=outer)):
                        row.append(found)
                found = [
                    (torch.stack(row) if row else input.new_zeros((0, *input.shape))).reshape((*one.shape, *input.shape))
                    for row, input in zip(rows, inputs)
                ]
                result = []
                for at in numbers:
                    size = len(_leaves(opened[at]))
                    result.append(_filled(opened[at], found[:size]))
                    found = found[size:]
                return tuple(result) if many else result[0]

            result = _mapped(of, output)
        result = _closed(result, outer)
        return (result, _closed(aux, outer)) if has_aux else result

    return wrapper


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func, argnums=0):
    return jacfwd(jacrev(func, argnums), argnums)


# Batches.

def _dims(in_dims, args):
    if isinstance(in_dims, int):
        return [_mapped(lambda _: in_dims, arg) if _leaves(arg) else None for arg in args]
    if not isinstance(in_dims, (tuple, list)):
        raise ValueError(
            "vmap(func, in_dims={}, ...)(<inputs>): expected `in_dims` to be int or a (potentially nested) tuple matching the "
            "structure of inputs, got: {}.".format(in_dims, type(in_dims))
        )
    if len(in_dims) != len(args):
        raise ValueError(
            "vmap(func, in_dims={}, ...)(<inputs>): in_dims is not compatible with the structure of inputs. ".format(in_dims)
        )
    return list(in_dims)


def _pairs(arg, dim):
    """Each tensor of an argument with the dimension along which it is taken apart; None where it is not."""
    if isinstance(arg, torch.Tensor):
        return [(arg, dim)]
    if isinstance(arg, dict):
        parts = [(part, dim[key] if isinstance(dim, dict) else dim) for key, part in arg.items()]
    elif isinstance(arg, (list, tuple)):
        parts = [(part, dim[at] if isinstance(dim, (list, tuple)) else dim) for at, part in enumerate(arg)]
    else:
        return []
    return [pair for part, inner in parts for pair in _pairs(part, inner)]


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if randomness == "same":
        raise RuntimeError("vmap(): randomness='same' is not supported by this server: draw before, and pass what was drawn")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    def wrapped(*args, **kwargs):
        dims = _dims(in_dims, args)
        pairs = [pair for arg, dim in zip(args, dims) for pair in _pairs(arg, dim)]
        shared = [_pairs(value, 0) for value in kwargs.values()]
        pairs += [pair for part in shared for pair in part]
        sizes = []
        for tensor, dim in pairs:
            if dim is None:
                continue
            if not -tensor.dim() <= dim < tensor.dim():
                raise ValueError(
                    f"vmap({getattr(func, '__name__', func)}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={dim} for some "
                    f"input, but that input is a Tensor of dimensionality {tensor.dim()} so expected in_dim to satisfy "
                    f"-{tensor.dim()} <= in_dim < {tensor.dim()}."
                )
            sizes.append(tensor.size(dim))
        if not sizes:
            raise ValueError(
                f"vmap({getattr(func, '__name__', func)}, in_dims={in_dims}, ...)(<inputs>): got no inputs. Maybe you forgot "
                "to add inputs, or you are trying to vmap over a function with no inputs. The latter is unsupported."
            )
        if any(size != sizes[0] for size in sizes):
            raise ValueError(
                "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                f"{sizes} for the mapped dimension"
            )
        parts = [tensor if dim is None else tensor.unbind(dim) for tensor, dim in pairs]
        outputs = []
        for at in range(sizes[0]):
            row = iter([part if dim is None else part[at] for part, (_, dim) in zip(parts, pairs)])
            one = [_mapped(lambda _: next(row), arg) for arg in args]
            named = {key: _mapped(lambda _: next(row), value) for key, value in kwargs.items()}
            outputs.append(func(*one, **named))
        if not outputs:
            raise RuntimeError("vmap(): a batch of no elements is not supported by this server")
        first = outputs[0]
        if not isinstance(first, (torch.Tensor, tuple, list, dict)):
            raise ValueError(
                f"vmap({getattr(func, '__name__', func)}, ...): `{getattr(func, '__name__', func)}` must only return Tensors, "
                f"got type {type(first)}. Did you mean to set out_dims= to None for output?"
            )
        count = len(_leaves(first))
        wanted = [out_dims] * count if isinstance(out_dims, int) else [dim for dim in _flat(out_dims)]
        if len(wanted) == 1 and count > 1:
            wanted *= count
        if len(wanted) != count:
            raise ValueError(
                f"vmap({getattr(func, '__name__', func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible "
                "with the structure of outputs."
            )
        rows = [_leaves(output) for output in outputs]
        stacked = []
        for at, dim in enumerate(wanted):
            stacked.append(rows[0][at] if dim is None else torch.stack([row[at] for row in rows], dim))
        return _filled(first, stacked)

    return wrapped


def _flat(dims):
    if isinstance(dims, (list, tuple)):
        return [dim for part in dims for dim in _flat(part)]
    return [dims]


# Modules.

def functional_call(module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False):
    if isinstance(parameter_and_buffer_dicts, dict):
        given = parameter_and_buffer_dicts
    else:
        given = {}
        for part in parameter_and_buffer_dicts:
            for name, value in part.items():
                if name in given:
                    raise ValueError(f"{name} appears in multiple dictionaries; behavior of functional call is ambiguous")
                given[name] = value
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    known = dict(module.named_parameters())
    known.update(module.named_buffers())
    if strict:
        extra = sorted(name for name in given if name not in known)
        missing = sorted(name for name in known if name not in given)
        if extra or missing:
            raise RuntimeError(f"Unexpected key(s): {', '.join(extra)}. Missing key(s): {', '.join(missing)}.")
    before = []
    try:
        for name, value in given.items():
            path, _, last = name.rpartition(".")
            owner = module
            for part in path.split(".") if path else ():
                owner = _member(owner, part)
            before.append((owner, last, _swap(owner, last, value)))
        return module(*args, **({} if kwargs is None else kwargs))
    finally:
        for owner, last, value in reversed(before):
            _swap(owner, last, value)


def _member(owner, name):
    return owner[int(name)] if name.isdigit() else getattr(owner, name)


def stack_module_state(models):
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not all(model.training == models[0].training for model in models):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if not all(type(model) is type(models[0]) for model in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    params, buffers = {}, {}
    for name, first in models[0].named_parameters():
        stacked = torch.stack([dict(model.named_parameters())[name].detach() for model in models])
        params[name] = stacked.requires_grad_(first.requires_grad)
    for name, _ in models[0].named_buffers():
        buffers[name] = torch.stack([dict(model.named_buffers())[name] for model in models]).detach()
    return params, buffers


def functionalize(func, *, remove="mutations"):
    return func


def debug_unwrap(tensor, *, recurse=True):
    return tensor


def replace_all_batch_norm_modules_(root):
    for module in root.modules():
        if hasattr(module, "track_running_stats") and hasattr(module, "running_mean"):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
