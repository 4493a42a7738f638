"""Reading: every kind of place in a model, and what goes into it."""
import nnsight
import torch

from experiments import FRANCE, ITALY, LONG, attention, embeddings, experiment, layers, norm


@experiment()
def hidden_states_and_logits(model, remote):
    with model.trace(FRANCE, remote=remote):
        states = [layer.output for layer in layers(model)].save()
        logits = model.lm_head.output.save()
        token = model.lm_head.output[0, -1].argmax(dim=-1).save()
    return states, logits, token


@experiment()
def logit_lens(model, remote):
    last = norm(model)
    with model.trace(FRANCE, remote=remote):
        tokens = list().save()
        for layer in layers(model):
            state = layer.output[0] if isinstance(layer.output, tuple) else layer.output
            tokens.append(model.lm_head(last(state))[0, -1].argmax().item())
    return tokens


@experiment("gpt2")
def every_module_of_a_gpt2_layer(model, remote):
    with model.trace(FRANCE, remote=remote):
        layer = model.transformer.h[1]
        seen = {"layer.input": layer.input}
        seen["ln_1"] = layer.ln_1.output
        seen["c_attn"] = layer.attn.c_attn.output
        seen["heads"] = layer.attn.c_proj.input
        seen["c_proj"] = layer.attn.c_proj.output
        seen["attn"] = layer.attn.output[0]
        seen["ln_2.input"] = layer.ln_2.input
        seen["ln_2"] = layer.ln_2.output
        seen["c_fc"] = layer.mlp.c_fc.output
        seen["neurons"] = layer.mlp.act.output
        seen["mlp.c_proj"] = layer.mlp.c_proj.output
        seen["mlp"] = layer.mlp.output
        seen["layer"] = layer.output
        seen["ln_f"] = model.transformer.ln_f.output
        seen = nnsight.save({name: value.clone() for name, value in seen.items()})
    return seen


@experiment("llama")
def every_module_of_a_llama_layer(model, remote):
    with model.trace(FRANCE, remote=remote):
        layer = model.model.layers[1]
        seen = {"layer.input": layer.input}
        seen["input_layernorm"] = layer.input_layernorm.output
        seen["q_proj"] = layer.self_attn.q_proj.output
        seen["k_proj"] = layer.self_attn.k_proj.output
        seen["v_proj"] = layer.self_attn.v_proj.output
        seen["heads"] = layer.self_attn.o_proj.input
        seen["o_proj"] = layer.self_attn.o_proj.output
        seen["self_attn"] = layer.self_attn.output[0]
        seen["post_attention_layernorm"] = layer.post_attention_layernorm.output
        seen["gate"] = layer.mlp.gate_proj.output
        seen["act_fn"] = layer.mlp.act_fn.output
        seen["up"] = layer.mlp.up_proj.output
        seen["neurons"] = layer.mlp.down_proj.input
        seen["mlp"] = layer.mlp.output
        seen["layer"] = layer.output
        seen["norm"] = model.model.norm.output
        seen = nnsight.save({name: value.clone() for name, value in seen.items()})
    return seen


@experiment()
def what_comes_before_the_layers(model, remote):
    with model.trace([FRANCE, LONG], remote=remote):
        ids = embeddings(model).input.save()
        tokens = embeddings(model).output.save()
        if hasattr(model, "transformer"):
            positions = model.transformer.wpe.output.save()
        else:
            positions = list(model.model.rotary_emb.output).save()
        first = layers(model)[0].input.save()
    return ids, tokens, positions, first


@experiment()
def keyword_inputs(model, remote):
    with model.trace(FRANCE, remote=remote):
        args, kwargs = layers(model)[1].inputs
        names = sorted(kwargs).save()
        count = nnsight.save(len(args))
        first = layers(model)[2].input.save()
    return names, count, first


@experiment("llama")
def what_attention_is_called_with(model, remote):
    with model.trace(FRANCE, remote=remote):
        args, kwargs = model.model.layers[2].self_attn.inputs
        cos, sin = [part.save() for part in kwargs["position_embeddings"]]
        names = nnsight.save((len(args), sorted(kwargs)))
        state = kwargs["hidden_states"].save()
    return cos, sin, names, state


@experiment()
def the_models_own_output(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        base = (model.transformer if hasattr(model, "transformer") else model.model).output.last_hidden_state.save()
        output = model.output
        logits = output.logits.save()
        same = nnsight.save([output[0] is output.logits, output["logits"] is output.logits, sorted(output.keys())])
        keys = [layer.keys for layer in output.past_key_values.layers].save()
        values = [layer.values for layer in output.past_key_values.layers].save()
        length = nnsight.save(output.past_key_values.get_seq_length())
        loss = nnsight.save(tracer.result.loss)
    return base, logits, same, keys, values, length, loss


@experiment(shared=False)
def forward_keywords(model, remote):
    with model.trace(FRANCE, output_hidden_states=True, use_cache=False, remote=remote) as tracer:
        result = tracer.result
        states = [state for state in result.hidden_states].save()
        cache = nnsight.save(result.past_key_values)
    return states, cache


@experiment()
def inputs_of_every_kind(model, remote):
    encoded = model.tokenizer([FRANCE, ITALY], return_tensors="pt")
    padded = model.tokenizer([LONG, ITALY], return_tensors="pt", padding=True)
    ids = model.tokenizer(FRANCE).input_ids
    found = []
    for given in (ids, [ids, ids[::-1]], torch.tensor(ids), torch.tensor([ids]), encoded, padded, [FRANCE, LONG, "a"]):
        with model.trace(given, remote=remote):
            rows = layers(model)[0].output.shape.save()
            logits = model.lm_head.output[:, -1].save()
        found.append((tuple(rows), logits))
    with model.trace(**encoded, remote=remote):
        logits = model.lm_head.output[:, -1].save()
    return found, logits


@experiment()
def a_single_token_and_a_long_row(model, remote):
    ids = [(7 * place) % 500 + 2 for place in range(200)]
    found = []
    for prompt in ([[5]], [ids]):
        with model.trace(prompt, remote=remote):
            state = layers(model)[-1].output[:, -3:].save()
            top = model.lm_head.output[0, -1].topk(4).indices.save()
        found.append((state, top))
    return found


@experiment()
def rows_of_unequal_length(model, remote):
    with model.trace([FRANCE, LONG], remote=remote):
        logits = model.lm_head.output.save()
    return logits


@experiment()
def parts_of_the_logits(model, remote):
    with model.trace([FRANCE, ITALY], remote=remote):
        logits = model.lm_head.output
        parts = [logits[:, -1], logits[0, 1:3], logits[1, -1, [3, 5]], logits[..., -1, 7], logits[:, :, ::100]].save()
        gap = (logits[0, -1] - logits[1, -1]).abs().max().item().save()
        order = logits[:, -1].argsort(descending=True)[:, :3].save()
    return parts, gap, order


@experiment()
def eager_attention(model, remote):
    model = model.eager
    with model.trace([FRANCE, LONG], remote=remote):
        weights = attention(layers(model)[1]).output[1].save()
        sums = weights.sum(-1).save()
    return weights, sums


@experiment(shared=False)
def attention_of_every_layer(model, remote):
    model = model.eager
    with model.trace(FRANCE, output_attentions=True, remote=remote) as tracer:
        patterns = [weights[0, :, -1] for weights in tracer.result.attentions].save()
    return patterns


@experiment()
def attention_is_not_there_with_sdpa(model, remote):
    with model.trace(FRANCE, remote=remote):
        none = nnsight.save(attention(layers(model)[1]).output[1])
    return none


@experiment()
def weights_and_settings(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[-1].output
        unembedding = model.lm_head.weight
        direct = (norm(model)(state) @ unembedding.T)[0, -1].save()
        rows = unembedding[3:6, :4].clone().save()
        scale = norm(model).weight.save()
        heads = nnsight.save((model.config.num_attention_heads, model.config.vocab_size, len(layers(model))))
        similar = torch.nn.functional.cosine_similarity(unembedding[5], unembedding[6], dim=0).item().save()
        bias = nnsight.save(model.lm_head.bias is None)
    return direct, rows, scale, heads, similar, bias


@experiment()
def the_tokenizer(model, remote):
    with model.trace(FRANCE, remote=remote):
        best = model.lm_head.output[0].argmax(-1)
        words = [model.tokenizer.decode(token) for token in best].save()
        text = model.tokenizer.decode(best).save()
        ids = model.tokenizer("Hello there").input_ids.save()
        many = model.tokenizer.batch_decode(best[:, None]).save()
    return words, text, ids, many


@experiment()
def modules_by_their_paths(model, remote):
    path = "transformer.h.2.mlp" if hasattr(model, "transformer") else "model.layers.2.mlp"
    with model.trace(FRANCE, remote=remote):
        state = model.get(path).output.save()
        names = [child.path for child in layers(model)[1]].save()
        count = nnsight.save(len(layers(model)))
        last = layers(model)[-1].path.save()
    return state, names, count, last


@experiment()
def layers_by_slices(model, remote):
    with model.trace(FRANCE, remote=remote):
        picked = [layers(model)[place].output[0, -1, :8] for place in range(0, 4, 2)]
        picked += [layer.output[0, 0, :8] for layer in layers(model)[3:]]
        stacked = torch.stack(picked).save()
    return stacked


@experiment()
def what_is_read_without_gradients_comes_back_without(model, remote):
    with model.trace(FRANCE, remote=remote):
        with torch.no_grad():
            state = layers(model)[1].output.save()
            inputs = layers(model)[2].mlp.inputs.save()
            double = (state * 2).save()
        late = layers(model)[2].output.save()
        output = model.output.save()
    with model.trace(FRANCE, remote=remote):
        with torch.inference_mode():
            probabilities = model.lm_head.output.softmax(-1).save()
    kept = [state, *inputs[0], double, late, output.logits, probabilities]
    return kept, [tensor.requires_grad for tensor in kept]
