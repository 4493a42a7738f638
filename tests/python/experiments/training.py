"""Training in a session: steering vectors, probes, low-rank adapters and rotations, as researchers write them."""
import nnsight
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from experiments import FRANCE, ITALY, experiment, layers


@experiment()
def a_steering_vector(model, remote):
    with model.session(remote=remote):
        vector = torch.zeros(64, requires_grad=True)
        optimizer = torch.optim.Adam([vector], lr=0.1)
        losses = list().save()
        for _ in range(3):
            optimizer.zero_grad()
            with model.trace(FRANCE):
                layers(model)[1].output[:, -1] += vector
                loss = -model.lm_head.output[0, -1].log_softmax(-1)[7]
                loss.backward()
            optimizer.step()
            losses.append(loss.item())
        vector = vector.detach().save()
    return losses, vector


@experiment()
def a_probe_of_the_clients_own(model, remote):
    torch.manual_seed(0)
    probe = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(probe.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    with model.session(remote=remote):
        rates = list().save()
        for prompt, label in [(FRANCE, 0), (ITALY, 1), (FRANCE, 0)]:
            with model.trace(prompt):
                state = layers(model)[1].output[:, -1].detach()
            loss = nn.functional.cross_entropy(probe(state), torch.tensor([label]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            rates.append(schedule.get_last_lr()[0])
        weights = {name: tensor.clone() for name, tensor in probe.state_dict().items()}
        nnsight.save(weights)
    return rates, weights


class LoRA(nn.Module):
    def __init__(self, width, rank):
        super().__init__()
        self.A = nn.Parameter(torch.randn(width, rank))
        self.B = nn.Parameter(torch.zeros(rank, width))

    def forward(self, x):
        return x @ self.A @ self.B


@experiment()
def a_low_rank_adapter(model, remote):
    torch.manual_seed(1)
    adapter = LoRA(64, 4)
    data = [(FRANCE, 9), (ITALY, 11)]
    with model.session(remote=remote):
        optimizer = torch.optim.AdamW(adapter.parameters(), lr=0.05)
        for prompts, targets in DataLoader(data, batch_size=2):
            for _ in range(2):
                with model.trace(list(prompts)):
                    module = layers(model)[0].mlp
                    entered = module.input
                    module.output = module.output + adapter(entered)
                    loss = nn.functional.cross_entropy(model.lm_head.output[:, -1], targets)
                    loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        trained = nnsight.save((adapter.A.detach().clone(), adapter.B.detach().clone()))
    return trained


@experiment()
def a_rotation_between_prompts(model, remote):
    with model.session(remote=remote):
        torch.manual_seed(4)
        rotation = nn.Parameter(torch.empty(64, 8))
        nn.init.orthogonal_(rotation)
        optimizer = torch.optim.SGD([{"params": [rotation], "lr": 0.01}])
        with model.trace(ITALY):
            source = layers(model)[1].output[:, -1].detach()
        for _ in range(2):
            with model.trace(FRANCE):
                base = layers(model)[1].output[:, -1]
                layers(model)[1].output[:, -1] = base + (source - base) @ rotation @ rotation.T
                loss = -model.lm_head.output[0, -1, 5]
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        trained = rotation.detach().save()
    return trained


@experiment("gpt2")
def data_that_was_sent(model, remote):
    torch.manual_seed(6)
    data = TensorDataset(torch.randint(0, 100, (5, 3)), torch.arange(5))
    loader = DataLoader(data, batch_size=2)
    with model.session(remote=remote):
        states, labels = list().save(), list().save()
        for ids, label in loader:
            with model.trace(ids):
                states.append(layers(model)[0].output[:, -1])
            labels.append(label)
    return states, labels
