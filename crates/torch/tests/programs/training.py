#### every optimizer, with its options and groups
import torch
def run(name, **options):
    torch.manual_seed(0)
    a, b = torch.nn.Parameter(torch.randn(5, 3)), torch.nn.Parameter(torch.randn(7))
    optimizer = getattr(torch.optim, name)([{"params": [a]}, {"params": [b], "lr": 0.05}], **options)
    x = torch.randn(11, 5)
    for i in range(6):
        loss = (x @ a).pow(2).mean() + (b * b).sum() * (i + 1) / 3
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    state = optimizer.state_dict()
    print(name, options, a.tolist(), b.tolist())
    print({n: {k: v.tolist() if isinstance(v, torch.Tensor) else v for k, v in s.items()} for n, s in state["state"].items()})
    print(state["param_groups"], repr(optimizer))
run("SGD"); run("SGD", momentum=0.9); run("SGD", momentum=0.9, nesterov=True, weight_decay=0.1)
run("SGD", momentum=0.9, dampening=0.3, maximize=True)
run("Adam"); run("Adam", amsgrad=True, weight_decay=0.1); run("Adam", betas=(0.8, 0.9), eps=1e-4)
run("AdamW"); run("AdamW", amsgrad=True, maximize=True)
run("RMSprop"); run("RMSprop", momentum=0.5, centered=True)
run("Adagrad", lr_decay=0.1, initial_accumulator_value=0.2); run("Adadelta"); run("Adamax", weight_decay=0.1)
run("NAdam"); run("NAdam", weight_decay=0.1, decoupled_weight_decay=True); run("RAdam"); run("RAdam", weight_decay=0.1)
run("ASGD"); run("ASGD", t0=2); run("Rprop")
#### what optimizers refuse
import torch
from torch.optim import SGD, Adam, AdamW
p = torch.nn.Parameter(torch.ones(2))
for make in (lambda: SGD([p], lr=-1.0), lambda: Adam([p], betas=(1.0, 0.9)), lambda: SGD([]), lambda: SGD(p),
             lambda: SGD([p], nesterov=True), lambda: AdamW([p * 2]), lambda: SGD([3]), lambda: SGD({p}),
             lambda: SGD([{"params": [p]}, {"params": [p]}]), lambda: Adam([p], eps=-1.0)):
    try:
        make()
    except Exception as error:
        print(type(error).__name__, error)
#### a state that is kept and loaded
import torch
def fresh():
    torch.manual_seed(1)
    net = torch.nn.Linear(3, 2)
    return net, torch.optim.Adam(net.parameters(), lr=0.1)
def step(net, optimizer):
    optimizer.zero_grad()
    net(torch.ones(4, 3)).pow(2).sum().backward()
    optimizer.step()
net, optimizer = fresh()
for _ in range(3):
    step(net, optimizer)
state = optimizer.state_dict()
weights = {k: v.clone() for k, v in net.state_dict().items()}
for _ in range(2):
    step(net, optimizer)
print(net.weight.tolist())
again, other = fresh()
with torch.no_grad():
    for name, parameter in again.named_parameters():
        parameter.copy_(weights[name])
other.load_state_dict({"state": {k: {n: t.clone() for n, t in s.items()} for k, s in state["state"].items()}, "param_groups": state["param_groups"]})
print(len(other.state), [g["lr"] for g in other.param_groups])
#### closures, hooks and named parameters
import torch
p = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
optimizer = torch.optim.SGD([("p", p)], lr=0.1)
def closure():
    optimizer.zero_grad()
    loss = (p ** 2).sum()
    loss.backward()
    return loss
handle = optimizer.register_step_post_hook(lambda o, args, kwargs: print("stepped", len(args)))
print(optimizer.step(closure).item(), p.tolist(), optimizer.param_groups[0]["param_names"])
handle.remove()
print(optimizer.step(closure).item(), p.tolist())
optimizer.zero_grad(set_to_none=False)
print(p.grad.tolist())
optimizer.add_param_group({"params": [("q", torch.nn.Parameter(torch.ones(1)))], "lr": 3})
print(len(optimizer.param_groups), isinstance(optimizer, torch.optim.Optimizer))
#### every schedule
import torch
from torch.optim import lr_scheduler as m
def run(name, make, kind, plateau=False):
    p, q = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = kind([{"params": [p]}, {"params": [q], "lr": 0.3}])
    schedule = make(optimizer)
    out = [list(schedule.get_last_lr())]
    for i in range(14):
        optimizer.step()
        schedule.step(*([[3, 2, 2, 2, 2, 1, 1][i % 7]] if plateau else []))
        out.append((list(schedule.get_last_lr()), [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]))
    print(name, out)
def sgd(groups): return torch.optim.SGD(groups, lr=0.1, momentum=0.9)
def adam(groups): return torch.optim.Adam(groups, lr=0.1)
for kind in (sgd, adam):
    run("lambda", lambda o: m.LambdaLR(o, lambda e: 0.9 ** e), kind)
    run("multiplied", lambda o: m.MultiplicativeLR(o, [lambda e: 0.9, lambda e: 0.8]), kind)
    run("step", lambda o: m.StepLR(o, 4), kind)
    run("steps", lambda o: m.MultiStepLR(o, [3, 3, 9], gamma=0.5), kind)
    run("constant", lambda o: m.ConstantLR(o), kind)
    run("linear", lambda o: m.LinearLR(o, total_iters=7), kind)
    run("exponential", lambda o: m.ExponentialLR(o, 0.9), kind)
    run("polynomial", lambda o: m.PolynomialLR(o, 9, 2.0), kind)
    run("cosine", lambda o: m.CosineAnnealingLR(o, 6, 0.01), kind)
    run("restarts", lambda o: m.CosineAnnealingWarmRestarts(o, 4, 2), kind)
    run("sequence", lambda o: m.SequentialLR(o, [m.LinearLR(o, total_iters=4), m.CosineAnnealingLR(o, 10)], [4]), kind)
    run("chain", lambda o: m.ChainedScheduler([m.ConstantLR(o), m.ExponentialLR(o, 0.9)]), kind)
    run("plateau", lambda o: m.ReduceLROnPlateau(o, patience=2, cooldown=1), kind, True)
    run("cycle", lambda o: m.CyclicLR(o, 0.01, 0.2, 3, 5, mode="exp_range", gamma=0.9), kind)
    run("one cycle", lambda o: m.OneCycleLR(o, 0.5, total_steps=24), kind)
    run("three phases", lambda o: m.OneCycleLR(o, [0.5, 0.2], epochs=3, steps_per_epoch=8, three_phase=True, anneal_strategy="linear"), kind)
#### every way to begin
import torch
from torch import nn
def shown(name, *args, shape=(4, 6), **kwargs):
    torch.manual_seed(3)
    t = nn.Parameter(torch.zeros(shape))
    print(name, getattr(nn.init, name)(t, *args, **kwargs).tolist(), t.requires_grad, t.is_leaf)
shown("uniform_", -1, 2); shown("normal_", 1.0, 0.5); shown("trunc_normal_", std=0.02); shown("constant_", 3); shown("ones_")
shown("zeros_"); shown("eye_"); shown("dirac_", shape=(4, 3, 3)); shown("xavier_uniform_", gain=2.0); shown("xavier_normal_")
shown("kaiming_uniform_", a=5 ** 0.5); shown("kaiming_normal_", mode="fan_out", nonlinearity="relu")
shown("orthogonal_"); shown("orthogonal_", gain=2.0, shape=(6, 4)); shown("sparse_", 0.5)
print([nn.init.calculate_gain(n) for n in ("linear", "tanh", "relu", "leaky_relu", "selu")])
for bad in (lambda: nn.init.eye_(torch.zeros(3)), lambda: nn.init.xavier_uniform_(torch.zeros(3)), lambda: nn.init.calculate_gain("gelu")):
    try:
        bad()
    except ValueError as error:
        print(error)
#### loaders of every kind
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, RandomSampler, Subset, TensorDataset, WeightedRandomSampler, random_split
torch.manual_seed(5)
data = TensorDataset(torch.arange(10.0).view(10, 1), torch.arange(10))
for options in ({}, {"batch_size": 4}, {"batch_size": 4, "drop_last": True}, {"batch_size": 3, "shuffle": True}, {"batch_size": None}):
    loader = DataLoader(data, **options)
    print(len(loader), [[part.tolist() for part in batch] for batch in loader])
print([b for b in DataLoader(["one", "two words", "three"], batch_size=2)], torch.rand(2).tolist())
print([b for b in DataLoader([{"a": 1, "b": [2.0, 3.0]}, {"a": 4, "b": [5.0, 6.0]}], batch_size=2)])
class Squares(Dataset):
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def __getitem__(self, i): return i * i, str(i)
print(list(DataLoader(Squares(5), batch_size=2)), list(DataLoader(Squares(4) + Squares(2), batch_size=3)))
class Stream(IterableDataset):
    def __iter__(self): return iter(range(5))
print(list(DataLoader(Stream(), batch_size=2)))
a, b = random_split(Squares(10), [0.7, 0.3], generator=torch.Generator().manual_seed(1))
print(list(a), b.indices, list(Subset(Squares(9), [1, 3])))
print(list(RandomSampler(range(5))), list(RandomSampler(range(3), replacement=True, num_samples=5)), list(WeightedRandomSampler([0.1, 0.9], 6)))
print(list(DataLoader(range(6), batch_size=3, collate_fn=lambda xs: sum(xs))))
print(list(DataLoader(range(6), batch_size=2, sampler=[5, 3, 1])), list(DataLoader(range(4), batch_sampler=[[0, 3], [1]])))
for bad in (lambda: DataLoader([1], shuffle=True, sampler=[0]), lambda: DataLoader([1], batch_size=0), lambda: next(iter(DataLoader([object()])))):
    try:
        bad()
    except Exception as error:
        print(type(error).__name__, str(error)[:60])
#### a low-rank adapter, a probe and a direction, trained
import torch
from torch import nn
torch.manual_seed(7)
class LoRA(nn.Module):
    def __init__(self, base, rank, alpha=1.0):
        super().__init__()
        self.base, self.alpha = base, alpha
        self.A = nn.Parameter(torch.empty(rank, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.A, a=5 ** 0.5)
    def forward(self, x):
        return self.base(x) + self.alpha * (x @ self.A.T @ self.B.T)
layer = LoRA(nn.Linear(6, 4).requires_grad_(False), 2)
optimizer = torch.optim.AdamW([p for p in layer.parameters() if p.requires_grad], lr=0.05)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
x, y = torch.randn(16, 6), torch.randint(0, 4, (16,))
for _ in range(5):
    loss = nn.functional.cross_entropy(layer(x), y)
    optimizer.zero_grad(); loss.backward(); nn.utils.clip_grad_norm_(layer.parameters(), 1.0); optimizer.step(); schedule.step()
print(loss.item(), layer.A.tolist(), layer.B.tolist(), schedule.get_last_lr(), sorted(n for n, _ in layer.named_parameters()))
probe = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 1))
optimizer = torch.optim.Adam(probe.parameters(), lr=0.01)
for _ in range(3):
    optimizer.zero_grad(set_to_none=True)
    loss = nn.BCEWithLogitsLoss()(probe(x).squeeze(-1), (y > 1).float())
    loss.backward()
    optimizer.step()
print(loss.item(), [p.tolist() for p in probe.parameters()])
v = torch.zeros(6, requires_grad=True)
optimizer = torch.optim.SGD([v], lr=0.1, momentum=0.9)
for _ in range(3):
    loss = -(x @ v).sigmoid().mean() + 0.01 * v.norm()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print(v.tolist())
#### hooks of gradients
import torch
torch.manual_seed(0)
x = torch.randn(3, 4, requires_grad=True)
w = torch.randn(4, 2, requires_grad=True)
h = x @ w
seen = []
first = h.register_hook(lambda g: seen.append(("h", g.tolist())))
second = h.register_hook(lambda g: g * 2)
third = x.register_hook(lambda g: seen.append(("x", g.sum().item())))
h.pow(2).sum().backward(retain_graph=True)
print(seen, w.grad.tolist(), x.grad.tolist())
seen.clear()
first.remove()
first.remove()
with third as same:
    print(same is third, type(third).__name__)
x.grad = w.grad = None
h.sum().backward(retain_graph=True)
print(seen, w.grad.tolist())
second.remove()
print([g.tolist() for g in torch.autograd.grad(h.sum(), [x, w], retain_graph=True)])
handle = h.register_hook(lambda g: seen.append(torch.is_grad_enabled()))
h.sum().backward(retain_graph=True, create_graph=True)
handle.remove()
print(seen)
for bad in (lambda g: 3, lambda g: g[0], lambda g: g.double(), lambda g: 1 // 0):
    y = x * 2
    later = []
    x.register_hook(lambda g: later.append(g))
    y.register_hook(bad)
    try:
        y.sum().backward()
    except Exception as error:
        print(type(error).__name__, error, len(later))
try:
    torch.ones(2).register_hook(print)
except RuntimeError as error:
    print(error)
