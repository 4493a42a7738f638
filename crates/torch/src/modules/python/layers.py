import math
import torch
from torch import nn
from torch.nn import functional as F

__all__ = (
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveLogSoftmaxWithLoss", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "BatchNorm3d", "Buffer", "CTCLoss",
    "ChannelShuffle", "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "EmbeddingBag", "FeatureAlphaDropout", "Fold",
    "FractionalMaxPool2d", "FractionalMaxPool3d", "GaussianNLLLoss", "HingeEmbeddingLoss", "InstanceNorm1d",
    "InstanceNorm2d", "InstanceNorm3d", "LPPool1d", "LPPool2d", "LPPool3d", "LocalResponseNorm", "MarginRankingLoss",
    "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss2d", "PixelShuffle", "PixelUnshuffle", "PoissonNLLLoss",
    "RReLU", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "SoftMarginLoss", "Softmax2d", "TripletMarginLoss", "TripletMarginWithDistanceLoss", "Unfold",
    "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
)


def _many(value, count):
    return (value,) * count if isinstance(value, int) else tuple(value)


def _reduction(size_average, reduce, reduction):
    if size_average is None and reduce is None:
        return reduction
    if reduce is None or reduce:
        return "mean" if size_average is None or size_average else "sum"
    return "none"


def _uniform(parameter, bound):
    with torch.no_grad():
        parameter.uniform_(-bound, bound)


def _dense(weight, bias):
    """What `reset_parameters` of dense and convolving layers does."""
    fan = weight.size(1)
    for size in weight.shape[2:]:
        fan *= size
    gain = math.sqrt(2.0 / (1 + math.sqrt(5) ** 2))
    if fan > 0:
        _uniform(weight, math.sqrt(3.0) * (gain / math.sqrt(fan)))
    if bias is not None and fan > 0:
        _uniform(bias, 1 / math.sqrt(fan))


# Pooling.

class _MaxPool(nn.Module):
    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def _pool(self, function, input):
        return function(input, self.kernel_size, self.stride, self.padding, self.dilation, ceil_mode=self.ceil_mode,
                        return_indices=self.return_indices)


class MaxPool1d(_MaxPool):
    def forward(self, input):
        return self._pool(F.max_pool1d, input)


class MaxPool2d(_MaxPool):
    def forward(self, input):
        return self._pool(F.max_pool2d, input)


class MaxPool3d(_MaxPool):
    def forward(self, input):
        return self._pool(F.max_pool3d, input)


class _MaxUnpool(nn.Module):
    _count = 1

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        self.kernel_size = _many(kernel_size, self._count)
        self.stride = _many(stride if stride is not None else kernel_size, self._count)
        self.padding = _many(padding, self._count)


class MaxUnpool1d(_MaxUnpool):
    def forward(self, input, indices, output_size=None):
        return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(_MaxUnpool):
    _count = 2

    def forward(self, input, indices, output_size=None):
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool3d(_MaxUnpool):
    _count = 3

    def forward(self, input, indices, output_size=None):
        return F.max_unpool3d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class AvgPool1d(nn.Module):
    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        super().__init__()
        self.kernel_size = _many(kernel_size, 1)
        self.stride = _many(stride if stride is not None else kernel_size, 1)
        self.padding, self.ceil_mode, self.count_include_pad = _many(padding, 1), ceil_mode, count_include_pad

    def forward(self, input):
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(nn.Module):
    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride if stride is not None else kernel_size
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input):
        return F.avg_pool2d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                            self.divisor_override)


class AvgPool3d(AvgPool2d):
    def forward(self, input):
        return F.avg_pool3d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                            self.divisor_override)


class _Fractional(nn.Module):
    _count = 2

    def __init__(self, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None):
        super().__init__()
        self.kernel_size, self.return_indices = _many(kernel_size, self._count), return_indices
        self._random_samples = _random_samples
        self.output_size = _many(output_size, self._count) if output_size is not None else None
        if isinstance(output_ratio, (int, float)):
            output_ratio = (output_ratio,) * self._count
        self.output_ratio = output_ratio
        name = type(self).__name__
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")


class FractionalMaxPool2d(_Fractional):
    def forward(self, input):
        return F.fractional_max_pool2d(input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
                                       _random_samples=self._random_samples)


class FractionalMaxPool3d(_Fractional):
    _count = 3

    def forward(self, input):
        return F.fractional_max_pool3d(input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
                                       _random_samples=self._random_samples)


class _LPPool(nn.Module):
    def __init__(self, norm_type, kernel_size, stride=None, ceil_mode=False):
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode


class LPPool1d(_LPPool):
    def forward(self, input):
        return F.lp_pool1d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(_LPPool):
    def forward(self, input):
        return F.lp_pool2d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(_LPPool):
    def forward(self, input):
        return F.lp_pool3d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class _AdaptiveMax(nn.Module):
    def __init__(self, output_size, return_indices=False):
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices


class AdaptiveMaxPool1d(_AdaptiveMax):
    def forward(self, input):
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMax):
    def forward(self, input):
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMax):
    def forward(self, input):
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class _AdaptiveAvg(nn.Module):
    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def _sizes(self, input, count):
        if isinstance(self.output_size, int):
            return [self.output_size] * count
        own = input.shape[-count:]
        return [int(own[at]) if size is None else size for at, size in enumerate(self.output_size)]


class AdaptiveAvgPool1d(_AdaptiveAvg):
    def forward(self, input):
        return F.adaptive_avg_pool1d(input, self._sizes(input, 1))


class AdaptiveAvgPool2d(_AdaptiveAvg):
    def forward(self, input):
        return F.adaptive_avg_pool2d(input, self._sizes(input, 2))


class AdaptiveAvgPool3d(_AdaptiveAvg):
    def forward(self, input):
        return F.adaptive_avg_pool3d(input, self._sizes(input, 3))


# Padding.

class _Pad(nn.Module):
    _count, _mode = 1, "constant"

    def __init__(self, padding):
        super().__init__()
        self.padding = _many(padding, 2 * self._count)

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)


class CircularPad1d(_Pad):
    _mode = "circular"


class CircularPad2d(_Pad):
    _count, _mode = 2, "circular"


class CircularPad3d(_Pad):
    _count, _mode = 3, "circular"


class ReflectionPad1d(_Pad):
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    _count, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    _count, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    _count, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    _count, _mode = 3, "replicate"


class _ConstantPad(nn.Module):
    _count = 1

    def __init__(self, padding, value):
        super().__init__()
        self.padding, self.value = _many(padding, 2 * self._count), value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)


class ConstantPad1d(_ConstantPad):
    pass


class ConstantPad2d(_ConstantPad):
    _count = 2


class ConstantPad3d(_ConstantPad):
    _count = 3


class ZeroPad1d(ConstantPad1d):
    def __init__(self, padding):
        super().__init__(padding, 0.0)


class ZeroPad2d(ConstantPad2d):
    def __init__(self, padding):
        super().__init__(padding, 0.0)


class ZeroPad3d(ConstantPad3d):
    def __init__(self, padding):
        super().__init__(padding, 0.0)


# Convolutions.

class Conv3d(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 padding_mode="zeros", device=None, dtype=None):
        super().__init__()
        if padding_mode != "zeros":
            raise RuntimeError("Conv3d(): argument 'padding_mode' is not supported by this server: pad the input before")
        for channels, name in ((in_channels, "in_channels"), (out_channels, "out_channels")):
            if channels % groups != 0:
                raise ValueError(f"{name} must be divisible by groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = _many(kernel_size, 3), _many(stride, 3), _many(dilation, 3)
        self.padding = padding if isinstance(padding, str) else _many(padding, 3)
        self.padding_mode = padding_mode
        self.weight = nn.Parameter(
            torch.empty((out_channels, in_channels // groups, *self.kernel_size), device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self):
        _dense(self.weight, self.bias)

    def forward(self, input):
        return F.conv3d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class _ConvTranspose(nn.Module):
    _count = 1

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True,
                 dilation=1, padding_mode="zeros", device=None, dtype=None):
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        for channels, name in ((in_channels, "in_channels"), (out_channels, "out_channels")):
            if channels % groups != 0:
                raise ValueError(f"{name} must be divisible by groups")
        count = self._count
        self.in_channels, self.out_channels, self.groups, self.padding_mode = in_channels, out_channels, groups, padding_mode
        self.kernel_size, self.stride, self.padding = _many(kernel_size, count), _many(stride, count), _many(padding, count)
        self.dilation, self.output_padding = _many(dilation, count), _many(output_padding, count)
        self.weight = nn.Parameter(
            torch.empty((in_channels, out_channels // groups, *self.kernel_size), device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self):
        _dense(self.weight, self.bias)

    def _output_padding(self, input, output_size):
        count = self._count
        if output_size is None:
            return self.output_padding
        apart = input.dim() - count
        if len(output_size) == apart + count:
            output_size = output_size[apart:]
        if len(output_size) != count:
            raise ValueError(
                f"ConvTranspose{count}D: for {input.dim()}D input, output_size must have {count} or {apart + count} elements "
                f"(got {len(output_size)})"
            )
        found, least, most = [], [], []
        for at in range(count):
            size = ((input.size(at + apart) - 1) * self.stride[at] - 2 * self.padding[at]
                    + self.dilation[at] * (self.kernel_size[at] - 1) + 1)
            least.append(size)
            most.append(size + self.stride[at] - 1)
            if output_size[at] < size or output_size[at] > most[at]:
                sizes = (size if len(least) == count else None)
                raise ValueError(
                    f"requested an output size of {output_size}, but valid sizes range from {least} to {most} "
                    f"(for an input of {input.size()[2:]})"
                )
            found.append(output_size[at] - size)
        return found

    def forward(self, input, output_size=None):
        function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self._count - 1]
        return function(input, self.weight, self.bias, self.stride, self.padding,
                        self._output_padding(input, output_size), self.groups, self.dilation)


class ConvTranspose1d(_ConvTranspose):
    pass


class ConvTranspose2d(_ConvTranspose):
    _count = 2


class ConvTranspose3d(_ConvTranspose):
    _count = 3


# Normalisation.

class _Norm(nn.Module):
    _dims = ()

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype)) if affine else None
        if track_running_stats:
            self.register_buffer("running_mean", torch.zeros(num_features, device=device, dtype=dtype))
            self.register_buffer("running_var", torch.ones(num_features, device=device, dtype=dtype))
            self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))
        else:
            self.running_mean = self.running_var = self.num_batches_tracked = None

    def _check_dims(self, input):
        if input.dim() not in self._dims:
            wanted = " or ".join(f"{dim}D" for dim in self._dims)
            raise ValueError(f"expected {wanted} input (got {input.dim()}D input)")


class BatchNorm3d(_Norm):
    _dims = (5,)

    def forward(self, input):
        self._check_dims(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1.0 / float(self.num_batches_tracked)
        by_batch = self.training or self.running_mean is None and self.running_var is None
        runs = not self.training or self.track_running_stats
        return F.batch_norm(input, self.running_mean if runs else None, self.running_var if runs else None, self.weight,
                            self.bias, by_batch, factor, self.eps)


class _InstanceNorm(_Norm):
    _alone = 2

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=False, track_running_stats=False, device=None,
                 dtype=None):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def _apply_norm(self, input):
        return F.instance_norm(input, self.running_mean, self.running_var, self.weight, self.bias,
                               self.training or not self.track_running_stats,
                               self.momentum if self.momentum is not None else 0.0, self.eps)

    def forward(self, input):
        self._check_dims(input)
        at = input.dim() - self._alone
        if input.size(at) != self.num_features and self.affine:
            raise ValueError(f"expected input's size at dim={at} to match num_features ({self.num_features}), but got: "
                             f"{input.size(at)}.")
        if input.dim() == self._alone:
            return self._apply_norm(input.unsqueeze(0)).squeeze(0)
        return self._apply_norm(input)


class InstanceNorm1d(_InstanceNorm):
    _dims, _alone = (2, 3), 2


class InstanceNorm2d(_InstanceNorm):
    _dims, _alone = (3, 4), 3


class InstanceNorm3d(_InstanceNorm):
    _dims, _alone = (4, 5), 4


class LocalResponseNorm(nn.Module):
    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input):
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)


# Activations, sampling, folding.

class RReLU(nn.Module):
    def __init__(self, lower=1.0 / 8, upper=1.0 / 3, inplace=False):
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input):
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Softmax2d(nn.Module):
    def forward(self, input):
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead")
        return F.softmax(input, -3, _stacklevel=5)


class FeatureAlphaDropout(nn.Module):
    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input):
        return F.feature_alpha_dropout(input, self.p, self.training)


class ChannelShuffle(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        return F.channel_shuffle(input, self.groups)


class PixelShuffle(nn.Module):
    def __init__(self, upscale_factor):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input):
        return F.pixel_shuffle(input, self.upscale_factor)


class PixelUnshuffle(nn.Module):
    def __init__(self, downscale_factor):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input):
        return F.pixel_unshuffle(input, self.downscale_factor)


class Fold(nn.Module):
    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input):
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)


class Unfold(nn.Module):
    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input):
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Upsample(nn.Module):
    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None):
        super().__init__()
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode, self.align_corners, self.recompute_scale_factor = mode, align_corners, recompute_scale_factor

    def forward(self, input):
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners,
                             recompute_scale_factor=self.recompute_scale_factor)


class UpsamplingNearest2d(Upsample):
    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class EmbeddingBag(nn.Module):
    def __init__(self, num_embeddings, embedding_dim, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, mode="mean",
                 sparse=False, _weight=None, include_last_offset=False, padding_idx=None, device=None, dtype=None):
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.max_norm = num_embeddings, embedding_dim, max_norm
        self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse = norm_type, scale_grad_by_freq, mode, sparse
        if padding_idx is not None and padding_idx < 0:
            padding_idx = num_embeddings + padding_idx
        self.include_last_offset, self.padding_idx = include_last_offset, padding_idx
        if _weight is None:
            self.weight = nn.Parameter(torch.empty((num_embeddings, embedding_dim), device=device, dtype=dtype))
            with torch.no_grad():
                self.weight.normal_()
                if padding_idx is not None:
                    self.weight[padding_idx].fill_(0)
        else:
            self.weight = nn.Parameter(_weight)

    def forward(self, input, offsets=None, per_sample_weights=None):
        return F.embedding_bag(input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq,
                               self.mode, self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx)


def Buffer(data=None, *, persistent=True):
    return torch.empty(0) if data is None else data


# Losses.

class _Loss(nn.Module):
    def __init__(self, size_average=None, reduce=None, reduction="mean"):
        super().__init__()
        self.reduction = _reduction(size_average, reduce, reduction)


class CTCLoss(_Loss):
    def __init__(self, blank=0, reduction="mean", zero_infinity=False):
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction,
                          self.zero_infinity)


class GaussianNLLLoss(_Loss):
    def __init__(self, *, full=False, eps=1e-6, reduction="mean"):
        super().__init__(None, None, reduction)
        self.full, self.eps = full, eps

    def forward(self, input, target, var):
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class HingeEmbeddingLoss(_Loss):
    def __init__(self, margin=1.0, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input, target):
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class MarginRankingLoss(_Loss):
    def __init__(self, margin=0.0, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1, input2, target):
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    def forward(self, input, target):
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_Loss):
    def __init__(self, weight=None, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.weight = weight

    def forward(self, input, target):
        return F.multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


class MultiMarginLoss(_Loss):
    def __init__(self, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.dim() != 1:
            raise ValueError(f"MultiMarginLoss: expected weight to be None or 1D tensor, got {weight.dim()}D instead")
        self.p, self.margin, self.weight = p, margin, weight

    def forward(self, input, target):
        return F.multi_margin_loss(input, target, p=self.p, margin=self.margin, weight=self.weight,
                                   reduction=self.reduction)


class NLLLoss2d(nn.NLLLoss):
    pass


class PoissonNLLLoss(_Loss):
    def __init__(self, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input, target):
        return F.poisson_nll_loss(log_input, target, log_input=self.log_input, full=self.full, eps=self.eps,
                                  reduction=self.reduction)


class SoftMarginLoss(_Loss):
    def forward(self, input, target):
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    def __init__(self, margin=1.0, p=2.0, eps=1e-6, swap=False, size_average=None, reduce=None, reduction="mean"):
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead")
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor, positive, negative):
        return F.triplet_margin_loss(anchor, positive, negative, margin=self.margin, p=self.p, eps=self.eps,
                                     swap=self.swap, reduction=self.reduction)


class TripletMarginWithDistanceLoss(_Loss):
    def __init__(self, *, distance_function=None, margin=1.0, swap=False, reduction="mean"):
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead")
        self.distance_function, self.margin, self.swap = distance_function, margin, swap

    def forward(self, anchor, positive, negative):
        return F.triplet_margin_with_distance_loss(anchor, positive, negative, distance_function=self.distance_function,
                                                   margin=self.margin, swap=self.swap, reduction=self.reduction)


class AdaptiveLogSoftmaxWithLoss(nn.Module):
    def __init__(self, in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None, dtype=None):
        super().__init__()
        cutoffs = list(cutoffs)
        if len(cutoffs) == 0:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (cutoffs != sorted(cutoffs) or min(cutoffs) <= 0 or max(cutoffs) > n_classes - 1
                or len(set(cutoffs)) != len(cutoffs) or any(int(cutoff) != cutoff for cutoff in cutoffs)):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is "
                "between 1 and n_classes-1"
            )
        self.in_features, self.n_classes, self.div_value, self.head_bias = in_features, n_classes, div_value, head_bias
        self.cutoffs = cutoffs + [n_classes]
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = nn.Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = nn.ModuleList()
        for at in range(self.n_clusters):
            width = int(in_features // (div_value ** (at + 1)))
            size = self.cutoffs[at + 1] - self.cutoffs[at]
            self.tail.append(nn.Sequential(
                nn.Linear(in_features, width, bias=False, device=device, dtype=dtype),
                nn.Linear(width, size, bias=False, device=device, dtype=dtype),
            ))

    def forward(self, input, target):
        if target.dim() not in (0, 1):
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        single = target.dim() == 0
        if single:
            input, target = input.unsqueeze(0), target.unsqueeze(0)
        used, batch = 0, target.size(0)
        output, indices = input.new_zeros(batch), target.new_zeros(batch)
        cutoffs = [0] + self.cutoffs
        for at in range(len(cutoffs) - 1):
            mask = (target >= cutoffs[at]) & (target < cutoffs[at + 1])
            rows = mask.nonzero().squeeze()
            if rows.numel() == 0:
                continue
            if at == 0:
                indices.index_copy_(0, rows, target[mask])
            else:
                relative = target[mask] - cutoffs[at]
                logprob = F.log_softmax(self.tail[at - 1](input.index_select(0, rows)), dim=1)
                indices.index_fill_(0, rows, self.shortlist_size + at - 1)
                output.index_copy_(0, rows, logprob.gather(1, relative.unsqueeze(1)).squeeze(1))
            used += rows.numel()
        if used != batch:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range [{target.min().item()}, "
                f"{target.max().item()}] were found. "
            )
        head = F.log_softmax(self.head(input), dim=1)
        output += head.gather(1, indices.unsqueeze(1)).squeeze()
        loss = (-output).mean()
        return _make_output(output.squeeze(0) if single else output, loss)

    def _full(self, input, head):
        out = input.new_empty((head.size(0), self.n_classes))
        logs = F.log_softmax(head, dim=1)
        out[:, : self.shortlist_size] = logs[:, : self.shortlist_size]
        for at, (start, stop) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            cluster = F.log_softmax(self.tail[at](input), dim=1)
            out[:, start:stop] = cluster + logs[:, self.shortlist_size + at].unsqueeze(1)
        return out

    def log_prob(self, input):
        return self._full(input, self.head(input))

    def predict(self, input):
        head = self.head(input)
        output = torch.argmax(head, dim=1)
        beyond = output >= self.shortlist_size
        if not beyond.any():
            return output
        if beyond.all():
            return torch.argmax(self.log_prob(input), dim=1)
        output[beyond] = torch.argmax(self._full(input[beyond], head[beyond]), dim=1)
        return output


def _make_output(output, loss):
    from collections import namedtuple
    return namedtuple("_ASMoutput", ["output", "loss"])(output, loss)


# What describes a layer where it is printed.

def _describe(template, *classes):
    for cls in classes:
        cls.extra_repr = lambda self: template.format(self)


_describe("kernel_size={0.kernel_size}, stride={0.stride}, padding={0.padding}, dilation={0.dilation}, ceil_mode={0.ceil_mode}", _MaxPool)
_describe("kernel_size={0.kernel_size}, stride={0.stride}, padding={0.padding}", _MaxUnpool, AvgPool1d, AvgPool2d)
_describe("norm_type={0.norm_type}, kernel_size={0.kernel_size}, stride={0.stride}, ceil_mode={0.ceil_mode}", _LPPool)
_describe("output_size={0.output_size}", _AdaptiveMax, _AdaptiveAvg)
_describe("{0.padding}", _Pad, ZeroPad1d, ZeroPad2d, ZeroPad3d)
_describe("padding={0.padding}, value={0.value}", ConstantPad1d, ConstantPad2d, ConstantPad3d)
_describe("{0.padding}", ZeroPad1d, ZeroPad2d, ZeroPad3d)
_describe("upscale_factor={0.upscale_factor}", PixelShuffle)
_describe("downscale_factor={0.downscale_factor}", PixelUnshuffle)
_describe("groups={0.groups}", ChannelShuffle)
_describe("output_size={0.output_size}, kernel_size={0.kernel_size}, dilation={0.dilation}, padding={0.padding}, stride={0.stride}", Fold)
_describe("kernel_size={0.kernel_size}, dilation={0.dilation}, padding={0.padding}, stride={0.stride}", Unfold)


def _norm(self):
    return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}, "
            f"track_running_stats={self.running_mean is not None}")


def _convolution(self):
    count = len(self.kernel_size)
    text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
    if self.padding != (0,) * count:
        text += f", padding={self.padding}"
    if self.dilation != (1,) * count:
        text += f", dilation={self.dilation}"
    if getattr(self, "output_padding", (0,) * count) != (0,) * count:
        text += f", output_padding={self.output_padding}"
    if self.groups != 1:
        text += f", groups={self.groups}"
    return text if self.bias is not None else text + ", bias=False"


def _upsample(self):
    scaled = f"scale_factor={self.scale_factor}" if self.scale_factor is not None else f"size={self.size}"
    return f"{scaled}, mode={self.mode!r}"


def _leaky(self):
    return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


_Norm.extra_repr, _ConvTranspose.extra_repr, Conv3d.extra_repr = _norm, _convolution, _convolution
Upsample.extra_repr, RReLU.extra_repr = _upsample, _leaky
