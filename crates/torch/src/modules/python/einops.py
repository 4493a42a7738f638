__all__ = ("EinopsError", "pack", "unpack")


class EinopsError(RuntimeError):
    pass


def _pattern(pattern, function):
    axes = pattern.split()
    if len(set(axes)) != len(axes):
        raise EinopsError(f'Duplicates in axes names in {function}(..., "{pattern}")')
    if "*" not in axes:
        raise EinopsError(f'No *-axis in {function}(..., "{pattern}")')
    for axis in axes:
        if axis != "*" and not axis.isidentifier():
            raise EinopsError(f'Invalid axis name {axis} in {function}(..., "{pattern}")')
        if axis != "*" and (axis.startswith("_") or axis.endswith("_")):
            raise EinopsError(f'Invalid axis name {axis} in {function}(..., "{pattern}")')
    before = axes.index("*")
    return before, len(axes) - before - 1


def pack(tensors, pattern):
    """Joins tensors along one new axis, which is what each has between the named ones."""
    before, after = _pattern(pattern, "pack")
    least = before + after
    packed, shapes = [], []
    for at, tensor in enumerate(tensors):
        shape = tuple([int(size) for size in tensor.shape])
        if len(shape) < least:
            raise EinopsError(
                f"packed tensor #{at} (enumeration starts with 0) has shape {tensor.shape}, while pattern {pattern} assumes "
                f"at least {least} axes"
            )
        end = len(shape) - after
        shapes.append(shape[before:end])
        packed.append(tensor.reshape((*shape[:before], -1, *shape[end:])))
    import torch
    if not packed:
        raise EinopsError("pack() got an empty list of tensors")
    if isinstance(packed[0], torch.Tensor):
        return torch.cat(packed, before), shapes
    import numpy
    return numpy.concatenate(packed, before), shapes


def _product(sizes):
    found = 1
    for size in sizes:
        found *= size
    return found


def unpack(tensor, packed_shapes, pattern):
    """Takes apart what `pack` joined. One shape may have one size of -1, which is what is left."""
    before, after = _pattern(pattern, "unpack")
    if len(tensor.shape) != before + 1 + after:
        raise EinopsError(f'unpack(..., {pattern}) received input of wrong dim with shape {tensor.shape}')
    length = int(tensor.shape[before])
    counts = [_product(shape) if -1 not in shape else -1 for shape in packed_shapes]
    unknown = [at for at, count in enumerate(counts) if count == -1]
    if len(unknown) > 1:
        raise EinopsError(
            f"unpack(..., {pattern}) received more than one -1 in {packed_shapes} and can't infer dimensions"
        )
    if unknown:
        counts[unknown[0]] = length - (sum(counts) + 1)
    shape, found, begin = tuple([int(size) for size in tensor.shape]), [], 0
    try:
        for count, part in zip(counts, packed_shapes):
            piece = tensor[(*[slice(None)] * before, slice(begin, begin + count))]
            found.append(piece.reshape((*shape[:before], *part, *shape[before + 1:])))
            begin += count
    except Exception as error:
        raise EinopsError(
            f'Error during unpack(..., "{pattern}"): could not split axis of size {length} into requested {packed_shapes}'
        ) from error
    if begin != length:
        raise EinopsError(
            f'Error during unpack(..., "{pattern}"): could not split axis of size {length} into requested {packed_shapes}'
        )
    return found
