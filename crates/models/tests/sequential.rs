//! Sessions whose traces may wait for each other do what their statements do one after another.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use engine::conformance::{Outcome, Subject};
use program::{Datum, Ref, Saved};

#[path = "shared/engine.rs"]
mod shared;
use shared::engine;

const GPT2: Subject<'_> = Subject { engine: &|| engine("tiny-gpt2"), ..models::testing::GPT2 };

/// Runs a session as it stands.
fn run(source: &str) -> Outcome {
    GPT2.outcomes(vec![GPT2.session_job(&format!("import torch\n{source}"))]).remove(0)
}

/// Runs a session whose traces each have happened when the next statement begins: what a `try` guards has happened
/// when it ends.
fn in_turn(source: &str) -> Outcome {
    let guarded: String = source.lines().map(|line| format!("    {line}\n")).collect();
    run(&format!("try:\n{guarded}finally:\n    pass"))
}

fn same(source: &str) {
    let (late, turn) = (run(source), in_turn(source));
    assert_eq!(late.printed, turn.printed, "{source}");
    let expected = turn.end.unwrap_or_else(|failure| panic!("{source}\n{}", failure.message));
    let found = late.end.unwrap_or_else(|failure| panic!("{source}\n{}", failure.message));
    assert_eq!(written(&found), written(&expected), "{source}");
}

/// Writes a result down, floats to four digits.
fn written(saved: &Saved) -> Vec<String> {
    let mut lines: Vec<String> =
        saved.names.iter().map(|(name, at)| format!("{name} = {}", text(saved, *at))).collect();
    lines.sort();
    lines
}

fn text(saved: &Saved, at: Ref) -> String {
    match saved.heap.get(at).unwrap() {
        Datum::Tensor(data) if data.dtype == program::DType::Float32 => {
            let numbers =
                data.bytes.as_chunks::<4>().0.iter().map(|bytes| format!("{:.3}", f32::from_le_bytes(*bytes)));
            format!("{:?} {:?}", data.shape, numbers.collect::<Vec<_>>())
        }
        Datum::List(items) | Datum::Tuple(items) => {
            items.iter().map(|item| text(saved, *item)).collect::<Vec<_>>().join(", ")
        }
        Datum::Dict(pairs) => {
            let pair = |(key, value): &(Ref, Ref)| format!("{}: {}", text(saved, *key), text(saved, *value));
            pairs.iter().map(pair).collect::<Vec<_>>().join(", ")
        }
        Datum::Float(number) => format!("{number:.3}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn functions_see_the_names_of_their_turn() {
    same(
        "outs = nnsight.save([])\nscale = 1\ndef steer(h):\n    return h * scale\nfor scale in range(3):\n    with model.trace('Hello'):\n        outs.append(steer(LAYERS[0].output[0, -1, :4]))",
    );
    same(
        "outs = nnsight.save([])\nscale = [1]\ndef steer(h):\n    return h * scale[-1]\nfor turn in range(3):\n    with model.trace('Hello'):\n        outs.append(steer(LAYERS[0].output[0, -1, :4]))\n    scale.append(turn)",
    );
}

#[test]
fn what_is_stored_is_what_it_was_when_it_was_stored() {
    same(
        "grid = nnsight.save(torch.zeros(3, 4))\nfor layer in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[layer].output\n        grid[layer] = h[0, -1, :4]\n        LAYERS[layer].output[:] = 0\n        x = LAYERS[3].output",
    );
    same(
        "import numpy as np\ngrid = nnsight.save(np.zeros((3, 4)))\nfor layer in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[layer].output\n        grid[layer] = h[0, -1, :4].numpy()\n        LAYERS[layer].output[:] = 0\n        x = LAYERS[3].output",
    );
}

#[test]
fn one_list_by_two_names_is_one_list() {
    same(
        "a = nnsight.save([])\nb = a\nfor turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        a.append(len(b))",
    );
    same(
        "a = nnsight.save([])\nboth = {'a': a}\nfor turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        a.append(len(both['a']))",
    );
    same(
        "inner = [1]\nouter = [inner]\nfound = nnsight.save([])\nfor turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        found.append(len(outer[0]))\n    inner.append(turn)",
    );
    same(
        "a = [1]\nb = a\nfound = nnsight.save([])\nfor turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        found.append(len(a))\n    b.append(turn)",
    );
    same(
        "inner = []\nouter = [inner]\nfound = nnsight.save([])\nfor turn in range(3):\n    with model.trace('Hello'):\n        inner.append(LAYERS[0].output.shape[1])\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        found.append(len(outer[0]))",
    );
}

#[test]
fn prompts_are_those_of_the_moment_the_trace_stands_at() {
    same(
        "prompts = ['Hello']\nfound = nnsight.save([])\nfor turn in range(2):\n    with model.trace(prompts):\n        found.append(LAYERS[0].output.shape[0])\n    prompts.append('Helix')",
    );
    same(
        "prompts = ['Hello']\nfound = nnsight.save([])\nfor turn in range(2):\n    with model.trace(prompts):\n        found.append(LAYERS[0].output.shape[0])\n        prompts.append('Helix')",
    );
    same(
        "prompts = []\nfound = nnsight.save([])\nwith model.trace('Hello'):\n    h = LAYERS[0].output\n    prompts.append('Helix')\nwith model.trace(prompts):\n    found.append(LAYERS[0].output.shape[0])",
    );
    same(
        "ids = torch.tensor([[1, 2, 3]])\nfound = nnsight.save([])\nwith model.trace('Hello'):\n    ids[0, 1] = LAYERS[0].output.shape[0] + 6\nwith model.trace(ids):\n    found.append(LAYERS[0].output[0, :, :3])",
    );
}

#[test]
fn a_loop_over_what_traces_append_to_sees_it() {
    same(
        "queue = ['Hello', 'Helix']\nfound = nnsight.save([])\nturn = 0\nfor text in queue:\n    turn += 1\n    with model.trace(text):\n        found.append(LAYERS[0].output.shape[1])\n        if turn < 4:\n            queue.append('Hello')",
    );
    same(
        "queue = ['Hello', 'Helix']\nfound = nnsight.save([])\nturn = 0\nfor place, text in enumerate(queue):\n    turn += 1\n    with model.trace(text):\n        found.append(place)\n        h = LAYERS[0].output\n        if turn < 4:\n            queue.append('Hello')",
    );
}

#[test]
fn the_name_of_a_loop_is_the_loops_again_at_each_turn() {
    same(
        "found = nnsight.save([])\nfor layer in range(3):\n    with model.trace('Hello'):\n        found.append(LAYERS[layer].output[0, -1, :3])\n        layer = 3",
    );
    same(
        "found = nnsight.save([])\nfor turn, (layer, at) in enumerate([(0, 1), (1, 0)]):\n    with model.trace('Hello'):\n        found.append(LAYERS[layer].output[0, at, :3])\n        at = layer + at + turn\nlast = nnsight.save([turn, layer, at])",
    );
    same(
        "found = nnsight.save([])\nfor turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        turn = 7\nfor turn in range(2):\n    pass\nlast = nnsight.save(turn)",
    );
}

#[test]
fn random_numbers_come_in_their_order() {
    for draw in [
        "torch.zeros(2).normal_()",
        "torch.zeros(2).uniform_()",
        "torch.zeros(2).exponential_()",
        "torch.rand(2)",
        "torch.ones(2).geometric_(0.5)",
        "torch.ones(2).cauchy_()",
        "torch.poisson(torch.ones(2))",
        "torch.ones(2).bernoulli_(0.5)",
        "torch.ones(2).random_(0, 10)",
        "torch.ones(2).log_normal_()",
        "torch.nn.init.normal_(torch.zeros(2))",
        "torch.nn.functional.gumbel_softmax(torch.zeros(2))",
        "torch.nn.functional.dropout(torch.ones(4))",
        "torch.nn.functional.alpha_dropout(torch.ones(4), training=True)",
        "torch.nn.functional.rrelu(-torch.ones(4), training=True)",
        "torch.binomial(torch.ones(4) * 9, torch.ones(4) / 2)",
        "torch.bernoulli(torch.ones(4) / 2)",
        "torch.multinomial(torch.ones(4), 2)",
        "torch.normal(torch.zeros(3), torch.ones(3))",
        "torch.randn_like(h[0, 0, :3])",
        "torch.nn.functional.scaled_dot_product_attention(torch.ones(1, 4, 4), torch.ones(1, 4, 4), torch.ones(1, 4, 4), dropout_p=0.5)",
        "torch.nn.functional.scaled_dot_product_attention(torch.ones(1, 4, 4), torch.ones(1, 4, 4), torch.ones(1, 4, 4), None, 0.5)",
        "list(map(torch.bernoulli, [torch.ones(4) / 2]))",
        "max([torch.ones(4) / 2], key=torch.bernoulli)",
        "drawn(2)",
        "torch.nn.Linear(2, 2).weight.detach()",
    ] {
        let source = format!(
            "torch.manual_seed(3)\ndraw = torch.rand\ndef drawn(count):\n    return draw(count)\nfound = nnsight.save([])\nfor turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        found.append({draw})\n        h = LAYERS[1].output\n        found.append({draw})"
        );
        // Not every way of drawing is supported; those that are not say so wherever they run.
        if let Err(failure) = in_turn(&source).end {
            assert!(failure.message.contains("not supported by this server"), "{draw}: {}", failure.message);
            continue;
        }
        same(&source);
    }
}

#[test]
fn memory_is_enough_for_late_traces_where_it_is_for_traces_in_turn() {
    let source = "found = nnsight.save([])\nfor turn in range(60):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        big = torch.ones(100000) * turn\n        found.append(big.sum().item())";
    let limited = |source: &str| {
        let mut job = GPT2.session_job(&format!("import torch\n{source}"));
        job.limits.tensor_bytes = 4 << 20;
        GPT2.outcomes(vec![job]).remove(0).end
    };
    let guarded: String = source.lines().map(|line| format!("    {line}\n")).collect();
    let expected = limited(&format!("try:\n{guarded}finally:\n    pass")).unwrap();
    let found = limited(source).unwrap_or_else(|failure| panic!("{}", failure.message));
    assert_eq!(written(&found), written(&expected));
}

#[test]
fn views_of_what_traces_store_in_see_it() {
    same(
        "grid = torch.zeros(2, 4)\nrow = grid[0]\nfound = nnsight.save([])\nwith model.trace('Hello'):\n    grid[0] = LAYERS[0].output[0, -1, :4]\nwith model.trace('Hello'):\n    h = LAYERS[0].output\n    found.append(row.sum())",
    );
}

#[test]
fn what_users_methods_do_is_done_in_turn() {
    same(
        "class Counter:\n    def __init__(self):\n        self.count = 0\n    def tick(self):\n        self.count += 1\n        return self.count\ncounter = Counter()\nfound = nnsight.save([])\nfor turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        found.append(counter.tick())\n        h = LAYERS[1].output\n        found.append(counter.tick())",
    );
    same(
        "numbers = iter(range(10))\nfound = nnsight.save([])\nfor turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        found.append([a for a, b in zip(numbers, [1])])\n        h = LAYERS[1].output\n        found.append([a for a, b in zip(numbers, [1])])",
    );
    same(
        "found = nnsight.save([])\nseen = []\ndef key(x):\n    seen.append(x)\n    return len(seen)\nfor turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        found.append(max([3, 1, 2], key=key))\n        h = LAYERS[1].output\n        found.append(max([3, 1, 2], key=key))",
    );
}

#[test]
fn other_collections_are_appended_to_as_well() {
    same(
        "from collections import deque\nlast = deque(maxlen=2)\nfor turn in range(3):\n    with model.trace('Hello'):\n        last.append(LAYERS[0].output.shape[1] + turn)\nfound = nnsight.save(list(last))",
    );
}

#[test]
fn what_changes_an_argument_happens_in_turn() {
    let blocks = [
        "torch.relu_(buffer)",
        "torch.nn.functional.relu(buffer, inplace=True)",
        "torch.nn.functional.relu(buffer, True)",
        "torch.nn.functional.batch_norm(torch.ones(2, 4) * turn, buffer, torch.ones(4), training=True)",
        "buffer.add_(1)",
        "buffer.data.add_(1)",
        "view = buffer[:2]\n        view += 1",
        "torch.as_tensor(buffer).mul_(2)",
        "torch.stack([buffer, buffer]).unbind()[0].mul_(2)",
        "list(buffer)[0].add_(1)",
        "buffer.numpy()[0] = turn",
        "torch.manual_seed(turn)",
        "torch.set_grad_enabled(False)",
    ];
    for block in blocks {
        same(&format!(
            "buffer = torch.tensor([-2.0, 1.0, -3.0, 4.0])\nfound = nnsight.save([])\nfor turn in range(3):\n    with model.trace('Hello'):\n        h = LAYERS[0].output\n        {block}\n        found.append(buffer.sum().item())\n    with model.trace('Hello'):\n        found.append((buffer * 1, LAYERS[0].output[0, 0, 0] * 1))"
        ));
    }
}

/// Runs a session, which must end well. Returns how many steps the engine took.
fn steps_of(source: &str) -> usize {
    let job = GPT2.session_job(source);
    let (id, mut engine, mut events, mut steps) = (job.id, (GPT2.engine)(), Vec::new(), 0);
    engine.submit(job);
    while !engine.idle() {
        events.extend(engine.step());
        steps += 1;
    }
    let outcome = engine::conformance::outcome_of(id, &events);
    assert!(outcome.end.is_ok(), "{source}\n{:?}", outcome.end);
    steps
}

/// The loops that researchers write have their traces wait: they take one pass of the engine, or a few, for all.
#[test]
fn plain_sweeps_wait() {
    let steps = |source: &str| {
        steps_of(&format!(
            "import torch\nimport torch.nn.functional as F\nimport numpy as np\nimport math\nimport einops\n{source}"
        ))
    };
    let before = "with model.trace('Hello'):\n    clean = [layer.output.clone() for layer in LAYERS]\n    probabilities = HEAD.output[0, -1].softmax(-1)\nrows, table = nnsight.save([]), nnsight.save({})\ntoken = 5\ndef difference(logits, a, b):\n    return (logits[a] - logits[b]).item()\ndef steered(h, scale):\n    return h + scale * torch.nn.functional.normalize(h, dim=-1)\n";
    let blocks = [
        "LAYERS[turn % 2].output[:, -1] = clean[turn % 2][:, -1]\n        rows.append(HEAD.output[0, -1, token].item())",
        "LAYERS[0].output = clean[0]\n        logits = HEAD.output[0, -1]\n        table[turn] = (logits[3] - logits[4]).item()",
        "out = LAYERS[1].output\n        out[:, -1, :] += 0.5 * clean[1][:, -1, :]\n        rows.append((turn, HEAD.output[0, -1].argmax(dim=-1).item()))",
        "LAYERS[0].output[:] = 0\n        logits = HEAD.output[0, -1]\n        rows.append(F.kl_div(logits.log_softmax(-1), probabilities, reduction='sum').item())",
        "LAYERS[1].mlp.output = torch.zeros_like(LAYERS[1].mlp.output)\n        rows.append(difference(HEAD.output[0, -1], 3, 4))",
        "LAYERS[0].output = steered(LAYERS[0].output, turn)\n        values, indices = HEAD.output[0, -1].topk(3)\n        rows.append((values.tolist(), [model.tokenizer.decode(i) for i in indices]))",
        "norms = []\n        for layer in LAYERS:\n            norms.append(layer.output[0, -1].norm().item())\n        rows.append(norms)",
        "h = einops.rearrange(LAYERS[0].output, 'b s (h d) -> b s h d', h=2).clone()\n        h[:, :, 0] = 0\n        LAYERS[0].output = einops.rearrange(h, 'b s h d -> b s (h d)')\n        rows.append(round(math.exp(HEAD.output[0, -1].log_softmax(-1)[token].item()), 4))",
        "rows.append(model.transformer.h[1].attn.output[0][:, -1].detach().cpu().float().numpy().mean())",
        "logits = model.output.logits[:, -1]\n        rows.append(torch.cat([logits, logits]).std(dim=0).max().item())",
        "LAYERS[0].output[:, torch.arange(2)] = clean[0][:, torch.arange(2)]\n        x = HEAD.output[0, -1].save()\n        rows.append(f'{x[token].item():.3f}')",
        "LAYERS[1].skip(LAYERS[0].output)\n        rows.append(HEAD.output[0, -1, token].item())",
        "rows.append((LAYERS[0].output @ model.lm_head.weight.T)[0, -1].sort(descending=True).values[:3])",
        "rows.append(model.lm_head(model.transformer.ln_f(LAYERS[turn % 2].output))[0, -1].argmax().item())",
    ];
    let waiting: Vec<(usize, &str)> = blocks
        .iter()
        .map(|block| {
            let source = format!("{before}for turn in range(6):\n    with model.trace('Hello'):\n        {block}");
            (steps(&source), *block)
        })
        .filter(|(steps, _)| *steps > 4)
        .collect();
    assert!(waiting.is_empty(), "these run in turn: {waiting:#?}");
}

/// What sessions with layers begin with.
const LAYERS: &str = "import torch.nn as nn
torch.manual_seed(7)
rows = nnsight.save([])
seen = []
probe = nn.Linear(4, 3)
drop = nn.Dropout(0.5)
norm = nn.BatchNorm1d(4)
stack = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.3), nn.Identity(), nn.Linear(4, 2))
relu = nn.ReLU(inplace=True)
words = nn.Embedding(5, 4, max_norm=1.0)
hooked = nn.Linear(4, 3)
hooked.register_forward_hook(lambda module, args, output: seen.append(len(seen)))
replaced = nn.Linear(4, 3)
replaced.forward = lambda x: x * len(seen)
itself = nn.Sequential(nn.Tanh())
itself.append(nn.Sequential(itself[0]))
kept = torch.ones(2, 4)
weight = probe.weight
which = probe
calm = nn.Dropout(0.5).eval()
still = nn.BatchNorm1d(4).eval()
row = None
";

/// What blocks do with layers; `h` is two rows of four.
const CALLS: [&str; 30] = [
    "rows.append(probe(h).sum().item())",
    "rows.append(which(h).sum().item())",
    "rows.append(drop(h).sum().item())",
    "rows.append(norm(h).sum().item())",
    "rows.append(stack(h).sum().item())",
    "rows.append(calm(h).sum().item())",
    "rows.append(still(h).sum().item())",
    "rows.append(relu(kept - 2).sum().item())",
    "relu(kept)",
    "y = calm(kept)\n        y += 1",
    "rows.append(words(torch.tensor([1, 2])).norm().item())",
    "rows.append(hooked(h).sum().item())",
    "rows.append(replaced(h).sum().item())",
    "rows.append(itself(h).sum().item())",
    "rows.append(len(seen))",
    "rows.append(weight.sum().item())",
    "rows.append(kept.sum().item())",
    "probe.weight.data.mul_(2)",
    "probe.bias = nn.Parameter(torch.ones(3))",
    "which = drop",
    "which = stack",
    "which = stack[0]",
    "drop.eval()",
    "drop.train()",
    "norm.eval()",
    "stack.eval()",
    "stack.append(nn.Tanh())",
    "probe.register_forward_hook(lambda module, args, output: output + 1)",
    "row = h[0]",
    "y = [probe, stack]\n        rows.append(y[0](h).sum().item())\n        y[1].double().float()",
];

#[test]
fn layers_that_blocks_call_give_what_they_give_in_turn() {
    let mut dice = fastrand::Rng::with_seed(20_261_130);
    println!("seed {}", dice.get_seed());
    for call in CALLS {
        let again = CALLS[dice.usize(..CALLS.len())];
        same(&session(&[call, again], &mut dice));
    }
    for _ in 0..40 {
        let some: Vec<&str> = (0..4).map(|_| CALLS[dice.usize(..CALLS.len())]).collect();
        same(&session(&some, &mut dice));
    }
}

/// Writes a loop of traces, each of which does one thing or two.
fn session(calls: &[&str], dice: &mut fastrand::Rng) -> String {
    let mut text = format!("{LAYERS}for turn in range(2):\n");
    for call in calls {
        let layer = dice.usize(..3);
        text += &format!(
            "    with model.trace('Hello'):\n        h = LAYERS[{layer}].output[0, -2:, :4]\n        {call}\n        \
             rows.append((turn, h.sum().item()))\n"
        );
    }
    text + "state = nnsight.save([value.sum().item() for value in stack.state_dict().values()])"
}

#[test]
fn traces_whose_blocks_call_layers_that_only_look_wait() {
    let steps = |call: &str| {
        steps_of(&format!(
            "import torch\n{LAYERS}for turn in range(6):\n    with model.trace('Hello'):\n        h = LAYERS[0].output[0, -2:, :4]\n        {call}"
        ))
    };
    for waits in ["probe", "calm", "still", "which"] {
        assert!(steps(&format!("rows.append({waits}(h).sum().item())")) <= 4, "{waits} runs in turn");
    }
    for turns in ["drop", "norm", "stack", "relu", "hooked", "replaced"] {
        assert!(steps(&format!("rows.append({turns}(h).sum().item())")) > 4, "{turns} waits");
    }
}
