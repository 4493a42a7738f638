"""Writing: in place, by assignment, through views, and leaving modules out."""
import nnsight
import torch

from experiments import FRANCE, ITALY, LONG, attention, embeddings, experiment, layers, norm


@experiment()
def ablation_in_place(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[1].mlp.output[:] = 0
        logits = model.lm_head.output.save()
    return logits


@experiment()
def replacing_an_output(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[2].mlp.output = torch.ones_like(layers(model)[2].mlp.output) * 0.25
        logits = model.lm_head.output.save()
    return logits


@experiment()
def replacing_a_tuple(model, remote):
    with model.trace(FRANCE, remote=remote):
        state, weights = attention(layers(model)[1]).output
        attention(layers(model)[1]).output = (state * 0.5, weights)
        after = layers(model)[1].output.save()
        logits = model.lm_head.output[:, -1].save()
    return after, logits


@experiment()
def replacing_an_input(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[1].input = layers(model)[1].input * 0.5
        layers(model)[2].mlp.input[:, -1] = 0
        args, kwargs = layers(model)[3].inputs
        layers(model)[3].inputs = ((args[0] + 1,) + tuple(args[1:]), kwargs)
        logits = model.lm_head.output.save()
    return logits


@experiment()
def steering_with_a_captured_tensor(model, remote):
    torch.manual_seed(3)
    vector = torch.randn(64)
    with model.trace(FRANCE, remote=remote):
        layers(model)[1].mlp.output[:, -1] += 4 * vector / vector.norm()
        logits = model.lm_head.output[0, -1].softmax(-1).save()
    return logits


@experiment()
def noise_in_the_embeddings(model, remote):
    with model.trace(FRANCE, remote=remote):
        torch.manual_seed(5)
        embedded = embeddings(model).output
        embeddings(model).output = embedded + 0.5 * torch.randn_like(embedded)
        logits = model.lm_head.output[0, -1].save()
    return logits


@experiment()
def ablating_heads(model, remote):
    with model.session(remote=remote):
        effects = list().save()
        for head in range(4):
            with model.trace(FRANCE):
                layer = attention(layers(model)[2])
                out = layer.c_proj if hasattr(layer, "c_proj") else layer.o_proj
                out.input[:, :, head * 16 : (head + 1) * 16] = 0
                effects.append(model.lm_head.output[0, -1])
    return effects


@experiment()
def edits_that_the_block_sees_again(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        before = state.clone().save()
        state[:, 0] = 7
        again = layers(model)[1].output.clone().save()
        layers(model)[1].output = state * 2
        third = layers(model)[1].output.save()
        entering = layers(model)[2].input.save()
        logits = model.lm_head.output[0, -1].save()
    return before, again, third, entering, logits


@experiment()
def editing_the_logits(model, remote):
    with model.trace([FRANCE, ITALY], remote=remote) as tracer:
        model.lm_head.output[:, :, 100:] = -float("inf")
        last = model.lm_head.output[:, -1]
        last[1] = last[0] * 2
        logits = tracer.result.logits.save()
    return logits


@experiment()
def values_that_are_not_finite(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[1].output[:, 2] = float("nan")
        state = layers(model)[2].output.save()
        nans = model.lm_head.output.isnan().any(-1).save()
    return state, nans


SELECTIONS = [
    lambda x: x[0],
    lambda x: x[:, 1],
    lambda x: x[..., 3:9],
    lambda x: x[:, ::2],
    lambda x: x[:, -2:, 5:],
    lambda x: x.select(1, 2),
    lambda x: x.narrow(2, 4, 8),
    lambda x: x.diagonal(0, 1, 2),
    lambda x: x.unfold(2, 16, 16)[:, :, 1],
]
# Local nnsight records gradients, and autograd refuses edits of these.
ONE_OF_SEVERAL = [
    lambda x: x.chunk(2, -1)[1],
    lambda x: x.split(20, -1)[2],
    lambda x: x.split([10, 50, 4], -1)[0],
    lambda x: x.tensor_split(3, -1)[0],
    lambda x: x.unbind(1)[-1],
    lambda x: list(x[0])[1],
    lambda x: x.flatten(0, 1).hsplit(2)[0],
]
SHAPES = [
    lambda x: x.T if x.dim() == 2 else x[0].T,
    lambda x: x.mT,
    lambda x: x.transpose(1, 2)[:, :3],
    lambda x: x.permute(2, 0, 1)[5:9],
    lambda x: x.movedim(-1, 0)[1],
    lambda x: x.swapaxes(0, 1)[2],
    lambda x: x.view(-1)[10:90],
    lambda x: x.view(x.shape[0], x.shape[1], 4, 16)[:, :, 1],
    lambda x: x.view_as(x),
    lambda x: x.reshape(-1, 64)[1],
    lambda x: x.flatten()[:70],
    lambda x: x.flatten(0, 1)[-1],
    lambda x: x.unflatten(-1, (8, 8))[..., 2],
    lambda x: x.squeeze(0)[-1],
    lambda x: x.unsqueeze(0)[0, :, 1],
    lambda x: x[None, :, 0],
    lambda x: x.ravel()[::3],
]
SAME_MEMORY = [
    lambda x: x.detach(),
    lambda x: x.data[:, 0],
    lambda x: x.real[:, 1],
    lambda x: x.contiguous()[:, 2],
    lambda x: x.expand(2, -1, -1, -1)[1, :, 1],
    lambda x: x.expand_as(x)[:, 3],
    lambda x: torch.view_as_complex(x.view(1, -1, 32, 2)).imag[:, 1],
    lambda x: torch.view_as_complex(x.view(1, -1, 32, 2)).real[:, :, 7],
    lambda x: x.to(x.dtype)[:, -1],
    lambda x: x.view(torch.int32).view(torch.float32)[:, 1],
]


def scaled_through(views, model, remote):
    """Doubles what each view shows of a layer's output; returns the logits that follow."""
    with model.session(remote=remote):
        logits = list().save()
        for view in views:
            with model.trace(FRANCE):
                view(layers(model)[1].output).mul_(2)
                logits.append(model.lm_head.output[0, -1])
    return logits


def scaled_in_rows(views, model, remote):
    """Does the same with a row of one batch for each view."""
    with model.trace(remote=remote) as tracer:
        logits = list().save()
        for view in views:
            with tracer.invoke(FRANCE):
                view(layers(model)[1].output).mul_(2)
                logits.append(model.lm_head.output[0, -1])
    return logits


@experiment()
def edits_through_selections(model, remote):
    return scaled_through(SELECTIONS, model, remote)


@experiment()
def edits_through_selections_of_rows(model, remote):
    return scaled_in_rows(SELECTIONS, model, remote)


@experiment(local=False)
def edits_through_one_of_several_views(model, remote):
    return scaled_in_rows(ONE_OF_SEVERAL, model, remote)


@experiment()
def edits_through_other_shapes(model, remote):
    return scaled_in_rows(SHAPES, model, remote)


@experiment()
def edits_through_the_same_memory(model, remote):
    return scaled_in_rows(SAME_MEMORY, model, remote)


@experiment()
def edits_of_copies_stay_in_the_block(model, remote):
    copies = [
        lambda x: x.clone(),
        lambda x: x[:, [0, 2]],
        lambda x: x[x > 0],
        lambda x: x + 0,
        lambda x: x.double(),
        lambda x: x.repeat(1, 1, 1),
        lambda x: x.transpose(0, 1).contiguous()[0],
        lambda x: x.flip(1),
        lambda x: x.gather(1, torch.zeros_like(x, dtype=torch.int64)),
    ]
    return scaled_in_rows(copies, model, remote)


@experiment()
def ways_to_write(model, remote):
    def fill(x):
        x.fill_(0.5)

    def copy(x):
        x[:, 1].copy_(x[:, 2])

    def mask(x):
        x[x > 1] = 0

    def masked(x):
        x.masked_fill_(x < -1, -1)

    def put(x):
        x.index_put_((torch.tensor([0, 0]), torch.tensor([1, 2])), torch.tensor(0.25))

    def add_at(x):
        x.index_add_(1, torch.tensor([0, 0]), x[:, 1:3].clone(), alpha=2)

    def scatter(x):
        x.scatter_(2, torch.zeros(1, 1, 1, dtype=torch.int64), 9.0)

    def places(x):
        x[0, [0, 2, 3], 5] = torch.tensor([1.0, 2.0, 3.0])

    def clamp(x):
        x.clamp_(-0.5, 0.5)

    def augmented(x):
        x[:, 1:] += x[:, :-1].clone()
        x *= 0.5
        x -= 1
        x /= 3

    def out(x):
        torch.relu_(x)
        torch.nn.functional.relu(x[:, 0], inplace=True)

    def lists(x):
        x[0, 0, :4] = torch.tensor([4.0, 3.0, 2.0, 1.0])
        x[..., 7] = 1

    def where(x):
        x.copy_(torch.where(x > 0, x, -x))

    ways = [fill, copy, mask, masked, put, add_at, scatter, places, clamp, augmented, out, lists, where]
    with model.session(remote=remote):
        logits = list().save()
        for way in ways:
            with model.trace(FRANCE):
                way(layers(model)[1].output)
                logits.append(model.lm_head.output[0, -1])
    return logits


@experiment()
def an_edit_of_every_module(model, remote):
    with model.trace([FRANCE, LONG], remote=remote):
        embeddings(model).output[:] *= 1.5
        for layer in layers(model):
            attention(layer).output[0][:, -1] *= 0.5
            layer.mlp.output[:, 0] = 0
            layer.output[..., :8] += 0.1
        norm(model).output[:] *= 0.9
        logits = model.lm_head.output[:, -1].save()
    return logits


@experiment()
def leaving_a_layer_out(model, remote):
    with model.trace([FRANCE, LONG], remote=remote):
        layers(model)[1].skip(layers(model)[1].input)
        state = layers(model)[2].output.save()
        logits = model.lm_head.output.save()
    return state, logits


@experiment()
def leaving_parts_out(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].mlp.input
        layers(model)[1].mlp.skip(state * 0.5)
        out = layers(model)[1].mlp.output.save()
        attended = attention(layers(model)[2]).inputs[1].get("hidden_states")
        logits = model.lm_head.output[0, -1].save()
        attended = nnsight.save(attended is not None)
    return out, logits, attended


@experiment()
def an_early_stop(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        state = layers(model)[0].mlp.output.save()
        tracer.stop()
    return state


@experiment()
def modules_called_by_the_block(model, remote):
    with model.trace([FRANCE, ITALY], remote=remote):
        early = layers(model)[0].output
        through = layers(model)[2].mlp(early).save()
        lens = model.lm_head(norm(model)(early))[:, -1].save()
        embedded = embeddings(model)(torch.tensor([[3, 5]])).save()
        layers(model)[1].mlp.output = layers(model)[3].mlp(layers(model)[1].mlp.input)
        logits = model.lm_head.output[:, -1].save()
    return through, lens, embedded, logits


@experiment()
def a_sparse_autoencoder(model, remote):
    class Autoencoder(torch.nn.Module):
        def __init__(self, width, features):
            super().__init__()
            torch.manual_seed(11)
            self.encoder = torch.nn.Linear(width, features)
            self.decoder = torch.nn.Linear(features, width, bias=False)
            self.threshold = torch.nn.Parameter(torch.tensor(0.1))

        def encode(self, x):
            features = torch.relu(self.encoder(x))
            return features * (features > self.threshold)

        def forward(self, x):
            return self.decoder(self.encode(x))

    autoencoder = Autoencoder(64, 256)
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        features = autoencoder.encode(state)
        active = (features > 0).sum(-1).save()
        top = features[0, -1].topk(3).values.detach().save()
        error = state - autoencoder(state)
        features[..., 17] += 2
        layers(model)[1].output = (autoencoder.decoder(features) + error).detach()
        logits = model.lm_head.output[0, -1].detach().save()
    return active, top, logits


@experiment()
def more_rows_from_the_middle_on(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[0].output
        layers(model)[0].output = state.repeat(3, 1, 1) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
        inside = layers(model)[1].mlp.output.save()
        logits = model.lm_head.output[:, -1].save()
    return inside, logits


@experiment()
def more_rows_within_a_layer(model, remote):
    with model.trace(FRANCE, remote=remote):
        inside = layers(model)[0].mlp
        inside.output = torch.cat([inside.output, inside.output * -1])
        attended = attention(layers(model)[1]).output[0].save()
        logits = model.lm_head.output.save()
    return attended, logits


@experiment("gpt2")
def more_positions_from_the_middle_on(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = model.transformer.h[0].output
        model.transformer.h[0].output = torch.cat([state, state], 1)
        inside = model.transformer.h[1].output.save()
        logits = model.lm_head.output.save()
    return inside, logits


@experiment(fails=True, local=False)
def more_rows_than_others_would_wait_for(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[0].output = layers(model)[0].output.repeat(1000, 1, 1)
        model.lm_head.output.save()


# Local nnsight names what the next module does with it.
@experiment(fails=True, local=False)
def a_tuple_where_a_layer_returns_a_tensor(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[0].output = (layers(model)[0].output * 2,)
        model.lm_head.output.save()


@experiment(fails=True)
def more_rows_than_a_generation_has(model, remote):
    with model.generate(FRANCE, max_new_tokens=2, do_sample=False, remote=remote) as tracer:
        layers(model)[-1].output = layers(model)[-1].output.repeat(3, 1, 1)
        ids = tracer.result.save()
    return ids


@experiment("llama", fails=True, local=False)
def fewer_rows_than_the_padding_is_of(model, remote):
    with model.trace([FRANCE, LONG], remote=remote):
        layers(model)[0].output = layers(model)[0].output[:1]
        model.lm_head.output.save()
