//! What a block writes, through whatever view and to whatever it is shown, reaches its own rows and nothing else.

use engine::Job;
use engine::conformance::{self, owned};
use fastrand::Rng;
use models::testing::LLAMA;
use program::{Function, TensorData};

use super::tags::assert_same_bits;
use super::{MODELS, assert_near, generation, job, named, saved};

/// Ways to look at a part of `x`, `[1, positions, 64]`.
const VIEWS: [&str; 52] = [
    "x",
    "x[0]",
    "x[:, 1]",
    "x[..., 3:9]",
    "x[:, ::2]",
    "x[:, -2:, 5:]",
    "x[None, :, 0]",
    "x[True]",
    "x[0, 0, 5:6]",
    "x.select(1, 0)",
    "x.narrow(2, 4, 8)",
    "x.diagonal(0, 1, 2)",
    "x.unfold(2, 16, 16)",
    "x.unfold(1, 2, 1)",
    "x.chunk(2, -1)[1]",
    "x.split(20, -1)[2]",
    "x.split([10, 54], -1)[0]",
    "x.tensor_split(3, -1)[0]",
    "x.unbind(1)[0]",
    "list(x)[0]",
    "x[0].hsplit(2)[1]",
    "x.T if x.dim() == 2 else x[0].T",
    "x.mT",
    "x.mH",
    "x.adjoint()",
    "x.transpose(1, 2)",
    "x.permute(2, 0, 1)",
    "x.movedim(-1, 0)",
    "x.swapaxes(0, 1)",
    "x.view(-1)",
    "x.view(x.shape[0], -1, 4, 16)[:, :, 1]",
    "x.view_as(x)",
    "x.view(torch.int32).view(torch.float32)",
    "x.reshape(-1, 64)[1]",
    "x.flatten()",
    "x.ravel()[::3]",
    "x.unflatten(-1, (8, 8))[..., 2]",
    "x.squeeze()",
    "x.unsqueeze(0)",
    "x.expand(2, -1, -1, -1)[1]",
    "x.expand_as(x)",
    "x.broadcast_to(3, *x.shape)[2]",
    "x.detach()",
    "x.data",
    "x.real",
    "torch.view_as_complex(x.view(*x.shape[:-1], 32, 2)).imag",
    "torch.view_as_real(torch.view_as_complex(x.view(*x.shape[:-1], 32, 2)))",
    "x.contiguous()",
    "x.to(x.dtype)",
    "x.positive()",
    "torch.from_numpy(x.detach().numpy())",
    "einops.rearrange(x, 'b p (h w) -> h b p w', h=4)[1]",
];

/// Ways to write to `v`, such a view.
const WRITES: [&str; 12] = [
    "v.fill_(TAG)",
    "v[...] = TAG",
    "v += TAG",
    "v.mul_(TAG)",
    "v.copy_(torch.full_like(v, TAG))",
    "v.zero_().add_(TAG)",
    "v.index_fill_(0, torch.tensor([0]), TAG)",
    "v[v == v] = TAG",
    "v.masked_fill_(v == v, TAG)",
    "v.normal_()",
    "torch.relu_(v).sub_(TAG)",
    "v.clamp_(TAG, TAG)",
];

/// Where a view is taken.
const SITES: [&str; 7] = [
    "EMBED.output",
    "LAYERS[0].input",
    "LAYERS[0].ATTN.output[0]",
    "LAYERS[1].mlp.input",
    "LAYERS[1].mlp.output",
    "LAYERS[2].output",
    "NORM.output",
];

const READS: &str = "first = LAYERS[0].input.clone().save()
attended = LAYERS[1].ATTN.output[0].clone().save()
middle = LAYERS[2].output.clone().save()
logits = HEAD.output.save()
keys = tracer.result.past_key_values.layers[3].keys.save()";

#[test]
fn s2_writes_through_every_kind_of_view_stay_in_their_rows() {
    let mut dice = Rng::with_seed(20_261_132);
    println!("seed {}", dice.get_seed());
    for &subject in MODELS {
        let mate = |tenant: &str, text: &str| job(subject, tenant, text, READS);
        let vandal = |place: usize, text: &str, code: &str| {
            let source = format!("import einops\n{code}\nlogits = HEAD.output.save()");
            job(subject, &format!("vandal {place}"), text, &source)
        };
        let crowd = |code: &[String; 2]| {
            vec![
                mate("a", "The old tower"),
                vandal(0, "Hello there", &code[0]),
                mate("b", "Paris is tall and old"),
                vandal(1, "Helix", &code[1]),
                mate("c", "The"),
            ]
        };
        let peace = |site: &str| format!("x = {site}\nx.mul_(1)");
        let calm = subject.outcomes(crowd(&[peace(SITES[0]), peace(SITES[4])]));
        for view in VIEWS {
            let code = [0, 1].map(|_| {
                let (site, write) = (SITES[dice.usize(..SITES.len())], WRITES[dice.usize(..WRITES.len())]);
                format!("x = {site}\nv = {view}\n{}", write.replace("TAG", "1048576.0"))
            });
            let outcomes = subject.outcomes(crowd(&code));
            for place in [0, 2, 4] {
                assert_same_bits(&outcomes[place], &calm[place], &format!("mate {place} beside {code:#?}"));
            }
            for (place, text) in [(1, "Hello there"), (3, "Helix")] {
                let alone = subject.outcomes(vec![vandal(place / 2, text, &code[place / 2])]).remove(0);
                assert_near(&outcomes[place], &alone, &format!("vandal of {}", code[place / 2]));
            }
        }
    }
}

#[test]
fn s2_what_modules_are_called_with_is_a_jobs_own() {
    let arguments = [
        "kwargs = LAYERS[0].inputs[1]",
        "kwargs = LAYERS[1].ATTN.inputs[1]",
        "kwargs = LAYERS[2].inputs[1]",
        "x = EMBED.input\nx[:, 0] = 9\nkwargs = LAYERS[1].inputs[1]",
    ];
    let harm = "
for name, value in sorted(kwargs.items()):
    for one in value if isinstance(value, tuple) else [value]:
        if isinstance(one, torch.Tensor) and one.dtype.is_floating_point:
            one.fill_(0.25)
        elif isinstance(one, torch.Tensor):
            one.fill_(1)
print(sorted(kwargs))
out = HEAD.output.save()";
    let victims = [
        "out = HEAD.output.save()",
        "LAYERS[2].output[:, -1] = 3\nout = HEAD.output.save()",
        "LAYERS[0].output[:, -1] *= 2\nmiddle = LAYERS[1].input.clone().save()\nout = HEAD.output.save()",
    ];
    let text = "The tower of Paris";
    for &subject in MODELS {
        for eager in [false, true] {
            let job = |tenant: &str, source: &str| {
                let mut job = job(subject, tenant, text, source);
                job.program.env.attn_implementation = eager.then(|| "eager".into());
                job
            };
            for arguments in arguments {
                let source = format!("{arguments}{harm}");
                let mut engine = (subject.engine)();
                // New rows, then rows that come again, of one length and of one text, and so equal in all that they share.
                for round in 0..3 {
                    for victim in victims {
                        for swapped in [false, true] {
                            let mut jobs: Vec<Job> = vec![job("vandal", &source), job("victim", victim)];
                            let mut alone: Vec<_> =
                                jobs.iter().map(|job| subject.outcomes(vec![again(job)]).remove(0)).collect();
                            if swapped {
                                jobs.reverse();
                                alone.reverse();
                            }
                            let outcomes = conformance::outcomes(engine.as_mut(), jobs);
                            for (found, alone) in outcomes.iter().zip(&alone) {
                                assert_near(
                                    found,
                                    alone,
                                    &format!("round {round}, eager {eager}: {source}\nand {victim}"),
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a job sees of how modules are called is what it sees alone: a mask where it has one, and none where it has none, whatever
/// masks others in the pass have: some pad, some reach beyond a window, and some compute the ends of rows that came before.
#[test]
fn s1_whether_there_is_a_mask_is_a_jobs_own() {
    const TELL: &str = "
def told(x):
    if isinstance(x, (tuple, list)):
        return [told(item) for item in x]
    if isinstance(x, dict):
        return {name: told(item) for name, item in x.items()}
    return list(x.shape) if isinstance(x, torch.Tensor) else str(type(x))
print(told(seen))
seen = nnsight.save(seen)
out = HEAD.output.save()";
    const LOOKS: [&str; 6] = [
        "seen = LAYERS[0].inputs",
        "seen = [LAYERS[0].inputs, LAYERS[1].ATTN.inputs, LAYERS[2].inputs]",
        "LAYERS[1].inputs[1]['attention_mask'] = None\nseen = LAYERS[1].ATTN.inputs",
        "seen = LAYERS[0].ATTN.source.attention_interface_1.inputs",
        "seen = LAYERS[3].ATTN.source.attention_interface_1.inputs",
        "seen = [LAYERS[2].inputs, LAYERS[2].ATTN.source.attention_interface_1.inputs, LAYERS[3].inputs]",
    ];
    let (early, long) = ("The old tower of Paris", "The tower of Paris is old and tall. ".repeat(12));
    for &subject in MODELS {
        let (mut beside, mut forks) = (0, 0);
        for eager in [false, true] {
            let with = |mut job: Job| {
                job.program.env.attn_implementation = eager.then(|| "eager".into());
                job
            };
            for looks in LOOKS {
                let source = format!("{looks}{TELL}");
                let padded = || {
                    let lines = source.replace('\n', "\n    ");
                    let source = format!("with tracer.invoke(['The', 'The tower of Paris']):\n    {lines}");
                    with(owned(subject.job("", Function::Call, &named(subject, &source), &[]), "b"))
                };
                let looker = |tenant: &str, text: &str| with(job(subject, tenant, text, &source));
                let editor =
                    || with(job(subject, "f", early, "LAYERS[0].output[:, 1:] *= 2\nout = HEAD.output.save()"));
                let jobs = || {
                    let step = generation(subject, "e", "The tower", &source, &[("max_new_tokens", 2)]);
                    vec![
                        looker("a", "The tower"),
                        padded(),
                        looker("c", &long),
                        looker("d", "Helix"),
                        with(step),
                        editor(),
                    ]
                };
                let alone: Vec<_> = jobs().into_iter().map(|job| subject.outcomes(vec![job]).remove(0)).collect();
                let mut engine = (subject.engine)();
                let plain = with(job(subject, "f", early, "out = HEAD.output.save()"));
                assert!(conformance::outcomes(engine.as_mut(), vec![plain]).iter().all(|plain| plain.end.is_ok()));
                let together = conformance::outcomes(engine.as_mut(), jobs());
                for (place, (found, alone)) in together.iter().zip(&alone).enumerate() {
                    assert_near(found, alone, &format!("eager {eager}, job {place}: {looks}"));
                    beside += found.usage.shared - found.usage.forwards;
                    forks += found.usage.forks;
                }
            }
        }
        assert!(beside > 0 && forks > 0, "{}: {beside} beside others, {forks} forks", subject.layers);
    }
}

/// Makes a job once more, with a name of its own.
fn again(job: &Job) -> Job {
    Job { id: ids::JobId::new(), ..job.clone() }
}

#[test]
fn s2_s16_no_view_of_any_weight_or_buffer_changes_it() {
    for &subject in MODELS {
        let listed = |body: &str| {
            format!(
                "import einops\nfor module in model.modules():\n    for name in ('weight', 'bias', 'inv_freq', 'full_attention_inv_freq', 'gate_up_proj'):\n        w = getattr(module, name, None)\n        if w is None or not isinstance(w, torch.Tensor):\n            continue\n{body}"
            )
        };
        let digest = listed("        found.append(w.clone())");
        let digest = || {
            let mut job = job(
                subject,
                "digest",
                "The tower of Paris",
                &format!("found = nnsight.save([])\n{digest}\nfound.append(HEAD.output)"),
            );
            job.limits.fuel = 50_000_000;
            job
        };
        let attempts = VIEWS.map(|view| {
            let writes: String = WRITES
                .iter()
                .map(|write| {
                    let view = view.replace("4, 16", "-1, 2").replace("h=4", "h=2");
                    format!("        try:\n            v = {view}\n            {}\n            done += 1\n        except (RuntimeError, IndexError, ValueError, TypeError):\n            pass\n", write.replace("TAG", "3.0"))
                })
                .collect();
            let source = listed(&format!("        x = w\n{writes}"));
            let mut job = job(subject, "vandal", "Hello", &format!("done = 0\n{source}\nprint(done)\nx = HEAD.output"));
            job.limits.fuel = 50_000_000;
            job
        });
        let mut engine = (subject.engine)();
        let before = conformance::outcomes(engine.as_mut(), vec![digest()]).remove(0);
        let before: Vec<TensorData> = conformance::flat(saved(&before));
        assert!(before.len() > 30, "{} weights and buffers", before.len());
        for (view, outcome) in VIEWS.iter().zip(conformance::outcomes(engine.as_mut(), attempts.into())) {
            // What copies, as `to` another type does, may be written to.
            assert!(outcome.end.is_ok(), "{view}: {:?}", outcome.end.err());
        }
        let after = conformance::outcomes(engine.as_mut(), vec![digest()]).remove(0);
        assert!(conformance::flat(saved(&after)) == before, "a weight, a buffer or what follows from them changed");
        assert_eq!(
            subject.layers == LLAMA.layers,
            before.iter().any(|data| matches!(data.shape.as_slice(), [8 | 12])),
            "buffers are among them"
        );
    }
}
