#### recurrent layers
import torch, torch.nn as nn
def show(*values):
    for v in values:
        if isinstance(v, (tuple, list)):
            show(*v)
        else:
            print(v.dtype, tuple(v.shape), v.requires_grad, v.tolist())
for make in (lambda: nn.GRU(3, 4), lambda: nn.GRU(3, 4, 2, batch_first=True, bidirectional=True), lambda: nn.LSTM(3, 4), lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), lambda: nn.RNN(3, 4, nonlinearity="relu"), lambda: nn.RNN(3, 4, bias=False), lambda: nn.LSTM(3, 4, 2, dropout=0.5)):
    torch.manual_seed(0)
    layer = make()
    x = torch.randn(2, 5, 3)
    print(type(layer).__name__, [(n, tuple(p.shape)) for n, p in layer.named_parameters()])
    torch.manual_seed(1)
    show(layer(x))
    show(layer(x[0]))
    layer.eval()
    with torch.no_grad():
        show(layer(x))
torch.manual_seed(0)
for cell in (nn.GRUCell(3, 4), nn.LSTMCell(3, 4), nn.RNNCell(3, 4), nn.RNNCell(3, 4, nonlinearity="relu")):
    show(cell(torch.ones(2, 3)), cell(torch.ones(3)))
for wrong in (lambda: nn.GRU(3, 4)(torch.ones(2, 2)), lambda: nn.GRU(3, 0), lambda: nn.LSTM(3, 4, proj_size=4), lambda: nn.RNN(3, 4, nonlinearity="x"), lambda: nn.GRU(3, 4)(torch.ones(2, 5, 3), torch.ones(1, 2, 4)), lambda: nn.GRUCell(3, 4)(torch.ones(1, 1, 1))):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__, e)
x = torch.ones(2, 5, 3)
torch.manual_seed(0)
g = nn.GRU(3, 4)
g(x)[0].sum().backward()
print([tuple(p.grad.shape) for p in g.parameters()], g.weight_hh_l0.grad.tolist())
#### attention and transformers
import torch, torch.nn as nn
def show(*values):
    for v in values:
        if isinstance(v, (tuple, list)):
            show(*v)
        elif v is None:
            print(None)
        else:
            print(v.dtype, tuple(v.shape), v.requires_grad, [round(n, 5) for n in v.flatten().tolist()])
torch.manual_seed(0)
x, y = torch.randn(3, 2, 8), torch.randn(4, 2, 8)
for kw in ({}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"batch_first": True}, {"kdim": 5, "vdim": 6}):
    torch.manual_seed(1)
    m = nn.MultiheadAttention(8, 2, **kw)
    print([(n, tuple(p.shape)) for n, p in m.named_parameters()], m.training)
    if "kdim" in kw:
        show(m(x, torch.ones(4, 2, 5), torch.ones(4, 2, 6)))
        continue
    show(m(x, x, x), m(x, x, x, need_weights=False), m(x, x, x, average_attn_weights=False))
    if not kw:
        show(m(x, y, y), m(x[:, 0], x[:, 0], x[:, 0]))
        mask = torch.triu(torch.ones(3, 3), 1).bool()
        pad = torch.tensor([[False, False, True], [False, False, False]])
        show(m(x, x, x, attn_mask=mask), m(x, x, x, key_padding_mask=pad), m(x, x, x, attn_mask=mask, is_causal=True, need_weights=False))
torch.manual_seed(2)
layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)
show(layer(x), layer(x, src_mask=torch.triu(torch.full((3, 3), float("-inf")), 1)))
enc = nn.TransformerEncoder(layer, 2)
show(enc(x))
enc.eval()
show(enc(x))
dec = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, norm_first=True), 2, nn.LayerNorm(8))
show(dec(x, y))
torch.manual_seed(3)
t = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True, activation="gelu")
show(t(torch.randn(2, 3, 8), torch.randn(2, 4, 8), tgt_mask=nn.Transformer.generate_square_subsequent_mask(4)))
torch.manual_seed(4)
show(nn.TransformerEncoderLayer(8, 2, 16)(x))
for wrong in (lambda: nn.MultiheadAttention(8, 3), lambda: nn.MultiheadAttention(0, 3), lambda: nn.TransformerEncoderLayer(8, 2, activation="x")):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__, e)
#### other layers
import torch, torch.nn as nn
torch.manual_seed(0)
a, b, c = torch.randn(2, 4, 12), torch.randn(2, 4, 8, 8), torch.randn(2, 4, 6, 6, 6)
def show(v):
    if isinstance(v, tuple):
        for one in v:
            show(one)
    else:
        print(v.dtype, tuple(v.shape), v.requires_grad, v.flatten()[:40].tolist())
layers = [(nn.MaxPool1d(2), a), (nn.MaxPool2d(3, 2, 1), b), (nn.MaxPool3d(2), c), (nn.MaxPool2d(2, return_indices=True), b), (nn.AvgPool1d(3), a), (nn.AvgPool2d(2), b), (nn.AvgPool3d(2), c), (nn.LPPool1d(2, 3), a), (nn.LPPool2d(2, 3, 2), b), (nn.LPPool3d(2, 2), c), (nn.AdaptiveAvgPool1d(5), a), (nn.AdaptiveAvgPool2d((3, None)), b), (nn.AdaptiveAvgPool3d(2), c), (nn.AdaptiveMaxPool1d(5), a), (nn.AdaptiveMaxPool2d(3), b), (nn.AdaptiveMaxPool3d(2, return_indices=True), c), (nn.FractionalMaxPool2d(2, output_size=3), b), (nn.FractionalMaxPool3d(2, output_ratio=0.5), c),
    (nn.ReflectionPad1d(2), a), (nn.ReflectionPad2d((1, 2, 0, 1)), b), (nn.ReplicationPad3d(1), c), (nn.ZeroPad2d(1), b), (nn.ConstantPad1d(2, 3.5), a), (nn.CircularPad2d(1), b),
    (nn.Conv3d(4, 2, 3), c), (nn.ConvTranspose1d(4, 2, 3, stride=2), a), (nn.ConvTranspose2d(4, 6, 3, groups=2, output_padding=0), b), (nn.ConvTranspose3d(4, 2, 2, bias=False), c), (nn.BatchNorm3d(4), c), (nn.InstanceNorm1d(4), a), (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), b), (nn.InstanceNorm3d(4), c), (nn.LocalResponseNorm(2), b),
    (nn.RReLU(), a), (nn.Softmax2d(), b), (nn.FeatureAlphaDropout(), a), (nn.ChannelShuffle(2), b), (nn.PixelShuffle(2), b), (nn.PixelUnshuffle(2), b), (nn.Unfold(3), b), (nn.Upsample(scale_factor=2), a), (nn.Upsample(size=5, mode="linear"), a), (nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True), b), (nn.UpsamplingNearest2d(scale_factor=2), b), (nn.UpsamplingBilinear2d(scale_factor=2), b), (nn.Upsample(scale_factor=2, mode="trilinear"), c), (nn.Upsample(scale_factor=2, mode="bicubic"), b), (nn.Identity(), a)]
for layer, x in layers:
    print(type(layer).__name__, [(n, tuple(p.shape)) for n, p in layer.named_parameters()], [n for n, _ in layer.named_buffers()])
    torch.manual_seed(5)
    show(layer(x))
pooled, where = nn.MaxPool2d(2, return_indices=True)(b)
show(nn.MaxUnpool2d(2)(pooled, where))
pooled, where = nn.MaxPool1d(2, return_indices=True)(a)
show(nn.MaxUnpool1d(2)(pooled, where))
pooled, where = nn.MaxPool3d(2, return_indices=True)(c)
show(nn.MaxUnpool3d(2)(pooled, where, output_size=c.shape))
show(nn.Fold((4, 5), (2, 2))(torch.randn(1, 12, 12)))
bag = nn.EmbeddingBag(10, 3, mode="sum")
show(bag(torch.tensor([1, 2, 4, 5]), torch.tensor([0, 2])))
show(nn.EmbeddingBag(10, 3, mode="max", padding_idx=1)(torch.tensor([[1, 2], [3, 4]])))
#### losses
import torch, torch.nn as nn
torch.manual_seed(0)
x, y = torch.randn(4, 5), torch.randn(4, 5)
t = torch.tensor([0, 2, 1, 4])
s = torch.tensor([1.0, -1.0, 1.0, -1.0])
def show(v):
    print(v.dtype, tuple(v.shape), v.tolist())
for r in ("none", "mean", "sum"):
    show(nn.HingeEmbeddingLoss(reduction=r)(x[:, 0], s))
    show(nn.MarginRankingLoss(0.5, reduction=r)(x[:, 0], y[:, 0], s))
    show(nn.MultiLabelMarginLoss(reduction=r)(x, torch.tensor([[0, 2, -1, 1, 1]] * 4)))
    show(nn.MultiLabelSoftMarginLoss(reduction=r)(x, (y > 0).float()))
    show(nn.MultiMarginLoss(reduction=r)(x, t))
    show(nn.PoissonNLLLoss(reduction=r)(x, y.abs()))
    show(nn.SoftMarginLoss(reduction=r)(x, y.sign()))
    show(nn.TripletMarginLoss(reduction=r)(x, y, x.flip(0)))
    show(nn.TripletMarginWithDistanceLoss(reduction=r, swap=True)(x, y, x.flip(0)))
    show(nn.GaussianNLLLoss(reduction=r, full=True)(x, y, y.abs()))
    show(nn.CTCLoss(reduction=r)(x.log_softmax(1)[:, None].repeat(3, 2, 1), torch.tensor([[1, 2], [3, 4]]), torch.tensor([12, 12]), torch.tensor([2, 2])))
    show(nn.CTCLoss(reduction=r)(x.log_softmax(1)[:, None].repeat(3, 2, 1), torch.tensor([1, 2, 3]), (12, 11), (2, 1)))
m = nn.AdaptiveLogSoftmaxWithLoss(5, 10, [2, 5])
out = m(x, torch.tensor([0, 3, 7, 9]))
show(out.output); show(out.loss); show(m.log_prob(x)); show(m.predict(x))
for wrong in (lambda: nn.TripletMarginLoss(margin=0)(x, y, x), lambda: nn.GaussianNLLLoss()(x, y, -y.abs()), lambda: nn.MultiMarginLoss(p=3)):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__, e)
#### Containers are changed, joined and printed
import torch
from torch import nn
from collections import OrderedDict
s = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.ReLU())
print(s.pop(0), s, s + nn.Sequential(nn.GELU()), s * 2)
del s[0]; print(s); s += nn.Sequential(nn.SiLU()); print(s, len(s)); del s[:1]; print(s)
l = nn.ModuleList([nn.ReLU()] * 3 + [nn.Linear(1, 1)] + [nn.Sequential(nn.Tanh()) for _ in range(2)]); print(l); l += [nn.GELU()]; print(len(l), (l + [nn.Tanh()])[-1], l.pop(-1), len(l)); del l[0]; print(l)
d = nn.ModuleDict([("a", nn.ReLU()), ["b", nn.Tanh()]]); d.update([("c", nn.GELU())]); d.update(nn.ModuleDict({"d": nn.SiLU()})); d.update(OrderedDict(a=nn.Identity()))
print(d, list(d.keys()), list(d.items()), d.pop("b"), "b" in d, len(d.values())); del d["c"]; print(list(d)); d.clear(); print(d, len(d))
p = nn.ParameterDict({"a": torch.ones(2), "b": nn.Parameter(torch.zeros(1, 3).half())}); print(p, p.pop("a"), p.get("z"), p.get("z", 5), p.keys(), nn.ParameterDict([("q", torch.ones(1))]))
q = nn.ParameterList([torch.ones(2, 3), nn.Parameter(torch.tensor(1.0))]); print(q, nn.ParameterList([torch.ones(1)]), nn.ParameterList())
class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(2, 1); self.ps = nn.ParameterList([torch.ones(1)]); self.register_buffer("buf", torch.zeros(2)); self.heads = nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
m = M(); print(m, type(m.state_dict()).__name__, list(m.state_dict()), m.ps.state_dict())
print(m.load_state_dict({k: v + 1 for k, v in m.state_dict().items()}, assign=True), m.ps[0], m.buf)
for f in [lambda: setattr(m, "l", 3), lambda: setattr(m, "ps", torch.ones(1)), lambda: setattr(m.heads, "0", 1), lambda: m.register_buffer("l", torch.ones(1)), lambda: m.register_buffer("", torch.ones(1)), lambda: m.register_buffer("a.b", torch.ones(1)), lambda: m.register_parameter("y", torch.ones(1)), lambda: m.register_parameter("buf", nn.Parameter(torch.ones(1))), lambda: m.add_module("buf", nn.ReLU()), lambda: m.add_module("x", 3), lambda: m.add_module("x.y", nn.ReLU()), lambda: m.get_submodule("heads.9"), lambda: m.get_submodule("l.weight"), lambda: m.get_buffer("l.weight"), lambda: m.get_parameter("buf"), lambda: nn.Dropout(2), lambda: nn.Dropout(-0.5), lambda: nn.Sequential(nn.ReLU()) + 3, lambda: nn.Sequential(nn.ReLU()) * 0, lambda: nn.ModuleDict({1: nn.ReLU()}), lambda: d.pop("x"), lambda: l.pop(99)]:
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
m.register_buffer("buf", torch.ones(1)); m.register_parameter("none", None); m.add_module("l", nn.Tanh()); print(m.buf, m.l, m.none)
del m.buf, m.heads; m.l = None; print(list(m.state_dict()), [n for n, _ in m.named_children()], hasattr(m, "buf"))
#### Recurrent layers are printed with what was asked of them
from torch import nn
print(nn.GRU(8, 5, batch_first=True), nn.LSTM(4, 3), nn.RNN(2, 3, bias=False), nn.GRU(4, 3, 2, dropout=0.5, bidirectional=True), nn.LSTM(4, 3, proj_size=2))
#### layers that print and refuse as in PyTorch
import enum
import torch
from torch import nn
print(nn.TransformerEncoderLayer(8, 2, 16), nn.MultiheadAttention(8, 2), type(nn.MultiheadAttention(8, 2).out_proj), isinstance(nn.MultiheadAttention(8, 2).out_proj, nn.Linear))
print(nn.RNNCell(3, 4), nn.GRUCell(3, 4, bias=False), nn.LSTMCell(3, 4), nn.RNNCell(3, 4, nonlinearity="relu"))
for make in (lambda: nn.Bilinear(), lambda: nn.Bilinear(1), lambda: nn.CosineSimilarity(1, 2, 3), lambda: nn.Linear(2), lambda: nn.Linear(), lambda: nn.Embedding(3), lambda: nn.Linear(2, 3, x=1), lambda: nn.Linear(2, 3, True, None, None, 6)):
    try:
        print(make())
    except TypeError as e:
        print(e)
class Place(enum.IntEnum):
    FIRST = 0
    LAST = -1
t = torch.arange(6).view(2, 3)
print(t[Place.LAST], t[Place.FIRST, Place.LAST], t[:, Place.FIRST:], t[0, :Place.LAST])
t[Place.FIRST, Place.FIRST] = 9
print(t)
#### classes of layers
import torch
from torch import nn
layers = [nn.Linear(2, 3), nn.ReLU(), nn.LayerNorm(2), nn.Dropout(), nn.MSELoss(), nn.Embedding(2, 2), nn.Conv1d(1, 1, 1), nn.BatchNorm1d(2), nn.Flatten(), nn.CosineSimilarity(), nn.Sequential(), nn.ModuleList(), nn.ModuleDict(), nn.Identity(), nn.LSTM(2, 2), nn.GRUCell(2, 2), nn.MultiheadAttention(2, 1), nn.TransformerEncoderLayer(2, 1)]
for layer in layers:
    print(type(layer), type(layer).__module__, type(layer).__name__, type(layer) is getattr(nn, type(layer).__name__), isinstance(layer, type(layer)), issubclass(type(layer), nn.Module))
print(nn.Linear, nn.Module, {type(layer): 1 for layer in layers[:2]}[nn.ReLU], type(layers[0]) == nn.Linear, type(layers[0]) in (nn.ReLU, nn.Linear), type(layers[0]) is nn.ReLU)
#### classes that derive from layers
import copy
import torch
from torch import nn
torch.manual_seed(3)
class LoRA(nn.Linear):
    def __init__(self, inputs, outputs, rank=2, **kwargs):
        super().__init__(inputs, outputs, **kwargs)
        self.a = nn.Parameter(torch.randn(rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))
        self.weight.requires_grad_(False)
    def forward(self, x):
        return super().forward(x) + x @ self.a.T @ self.b.T
    def extra_repr(self):
        return super().extra_repr() + f", rank={self.a.shape[0]}"
layer = LoRA(4, 3)
x = torch.randn(2, 4)
print(layer, layer(x), layer.in_features, layer.bias, isinstance(layer, nn.Linear), isinstance(layer, nn.Module), type(layer).__name__, isinstance(layer, nn.ReLU))
print([(n, tuple(p.shape), p.requires_grad) for n, p in layer.named_parameters()], list(layer.state_dict()), issubclass(LoRA, nn.Linear), issubclass(LoRA, nn.Module))
layer(x).sum().backward()
print(layer.b.grad, layer.weight.grad, layer.bias.grad)
twin = copy.deepcopy(layer)
with torch.no_grad():
    twin.b += 1
print(torch.equal(twin(x), layer(x)), torch.equal(twin.weight, layer.weight))
print(LoRA(4, 3, bias=False).bias, nn.Sequential(LoRA(2, 2, 1), nn.ReLU()))
class Plain(nn.Linear): pass
plain = Plain(2, 3)
print(plain, plain.weight.shape, plain.bias.shape, plain(torch.ones(1, 2)).shape, plain.training, plain.eval().training, plain)
try:
    Plain(2)
except TypeError as e:
    print(e)
class Norm(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x) * 2
norm = Norm(3)
print(norm, norm(torch.randn(5, 3)), norm.running_mean, norm.num_batches_tracked, [n for n, _ in norm.named_buffers()], [n for n, _ in norm.named_parameters()], list(norm.state_dict()))
norm.eval()
print(norm(torch.ones(2, 3)), norm.num_batches_tracked)
class Table(nn.Embedding):
    @classmethod
    def of(cls, rows):
        made = cls(len(rows), len(rows[0]))
        made.weight = nn.Parameter(torch.tensor(rows))
        return made
print(Table.of([[1.0, 2.0], [3.0, 4.0]])(torch.tensor([1, 0])), Table.of([[1.0]]))
class Step(nn.ReLU):
    def forward(self, x):
        return super().forward(x - 1)
print(Step()(torch.tensor([0.5, 2.0])), Step(), Step(inplace=True).inplace)
seen = []
handle = plain.register_forward_hook(lambda module, args, output: seen.append(type(module).__name__))
plain(torch.ones(1, 2)); handle.remove(); plain(torch.ones(1, 2))
print(seen, plain.weight.is_leaf)
plain.load_state_dict({"weight": torch.ones(3, 2), "bias": torch.zeros(3)})
print(plain(torch.ones(1, 2)), plain.double().weight.dtype)
class Deeper(LoRA):
    def forward(self, x):
        return super().forward(x).relu()
print(Deeper(2, 2)(torch.ones(1, 2)).shape, Deeper(2, 2))
