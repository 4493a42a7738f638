use ids::ModelKey;
use program::datum::Envoy;
use program::{Datum, Entry, Env, Function, Heap, Limits, Program, Ref, Source};

use super::*;
use crate::answer::{Kind, Trace};
use crate::outline::testing::outline;

/// A program whose block is a trace of a text of four words, or a session where it opens its own.
fn program(text: &str, session: bool) -> Checked<Program> {
    let mut heap = Heap::default();
    let model = heap.push(Datum::Envoy(Envoy::default()));
    let tracer = heap.push(Datum::Tracer);
    let prompt = heap.push(Datum::Str("one two three four".into()));
    let entry = match session {
        true => Entry::Session,
        false => Entry::Trace { function: Function::Call, envoy: model, args: vec![prompt], kwargs: Vec::new() },
    };
    let global = |module: &str| Datum::Module(module.into());
    let torch = heap.push(global("torch"));
    let nnsight = heap.push(global("nnsight"));
    let source = Source { text: text.into(), filename: "f.py".into(), function: "<module>".into() };
    let names: [(&str, Ref); 4] = [("model", model), ("tracer", tracer), ("torch", torch), ("nnsight", nnsight)];
    let locals = names.map(|(name, at)| (name.to_owned(), at)).to_vec();
    let (model, env) = (ModelKey::new("o/n", None), Env::default());
    let program = Program { model, env, entry, modules: Vec::new(), source, heap, locals, globals: Vec::new() };
    program::check(program, &Limits::default()).unwrap()
}

fn told(program: &Checked<Program>, outline: Option<&Outline>) -> Explanation {
    let words = |text: &str| i64::try_from(text.split(' ').count()).ok();
    let limits = Limits::default();
    explain(program, &Question { outline, limits: &limits, tokens: &words, queue: None })
}

fn of(text: &str) -> Explanation {
    told(&program(text, false), Some(&outline()))
}

fn session(text: &str) -> Explanation {
    told(&program(text, true), Some(&outline()))
}

fn accesses(trace: &Trace) -> Vec<(&str, &str, u32, Certainty)> {
    trace.accesses.iter().map(|it| (it.does.name(), it.site.as_str(), it.line, it.certainty)).collect()
}

fn warned(told: &Explanation) -> Vec<(Kind, u32, Certainty)> {
    told.warnings.iter().map(|warning| (warning.kind, warning.line, warning.certainty)).collect()
}

const CERTAIN: Certainty = Certainty::Certain;
const PERHAPS: Certainty = Certainty::Perhaps;

#[test]
fn reads_and_writes_are_told_in_the_order_of_the_pass_with_what_comes_back() {
    let told = of(
        "h = model.layers[0].output[0]\nmodel.layers[1].output[0][:, -1] = h[:, -1] * 2\nlogits = model.lm_head.output[:, -1].save()\n",
    );
    let [trace] = told.traces.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        accesses(trace),
        [
            ("reads", "model.layers.0.output", 1, CERTAIN),
            ("reads", "model.layers.1.output", 2, CERTAIN),
            ("writes", "model.layers.1.output", 2, CERTAIN),
            ("reads", "model.lm_head.output", 3, CERTAIN),
        ]
    );
    assert_eq!(
        (trace.layers, trace.stops_after.as_deref(), trace.stops),
        (Some(2), Some("model.lm_head.output"), CERTAIN)
    );
    assert_eq!((trace.length, trace.inputs[0].rows), (Some(4), Some(1)));
    let [saved] = told.saved.as_slice() else { panic!("{told:?}") };
    assert_eq!((saved.name.as_str(), saved.line, saved.bytes), ("logits", 3, Some(400)));
    assert_eq!(saved.shape, "float32 [1, 100]");
    assert!(told.cost.saved_bytes_known && told.complete && told.warnings.is_empty(), "{told:#?}");
    // Four tokens through all layers: 0.1 s, and 0.01 s for each token more than one.
    assert!((told.cost.device_seconds.unwrap() - 0.13).abs() < 1e-9);
    let reading = told.nodes.iter().position(|node| node.line == 1).unwrap();
    let write = told.nodes.iter().find(|node| node.does == Does::Writes).unwrap();
    let computed = &told.nodes
        [*write.needs.iter().find(|need| told.nodes[**need as usize].does == Does::Computes).unwrap() as usize];
    assert!(computed.needs.contains(&u32::try_from(reading).unwrap()), "{told:#?}");
}

#[test]
fn a_pass_ends_where_nobody_waits_for_more() {
    let told = of("x = model.layers[0].mlp.output.save()");
    assert_eq!(
        (told.traces[0].layers, told.traces[0].stops_after.as_deref()),
        (Some(1), Some("model.layers.0.mlp.output"))
    );
    assert!((told.cost.device_seconds.unwrap() - 0.065).abs() < 1e-9);
    let told = of("x = model.embed.output.save()");
    assert_eq!(told.traces[0].layers, Some(0));
    let told = of("x = tracer.result.save()");
    assert_eq!(told.traces[0].layers, Some(2));
    // What cannot be known is not said.
    let told = of("x = model.layers[len(str(model))].output.save()");
    assert_eq!((told.traces[0].layers, told.traces[0].stops), (None, PERHAPS));
}

#[test]
fn loops_over_modules_are_gone_through() {
    let told = of("all = []\nfor layer in model.layers:\n    all.append(layer.output[0])\nall = nnsight.save(all)");
    assert_eq!(told.traces[0].accesses.len(), 2);
    let [read, save] = told.nodes.as_slice() else { panic!("{told:#?}") };
    assert_eq!((read.times, read.sites, save.needs.as_slice()), (2, 2, [0].as_slice()));
    assert_eq!((told.saved[0].bytes, told.saved[0].name.as_str()), (Some(2 * 4 * 8 * 4), "all"));
    // A list that is saved first comes back with what is put into it later.
    let told = of("all = nnsight.save([])\nfor layer in model.layers:\n    all.append(layer.output[0])");
    assert_eq!(told.saved[0].bytes, Some(2 * 4 * 8 * 4));
    assert!(told.warnings.is_empty(), "{told:#?}");
    let told =
        of("all = [model.layers[i].output[0].save() for i in range(len(model.layers))]\nall = nnsight.save(all)");
    assert_eq!((told.traces[0].accesses.len(), told.saved[0].bytes), (2, Some(2 * 4 * 8 * 4)));
}

#[test]
fn what_depends_on_values_is_only_perhaps_so() {
    let told = of(
        "h = model.layers[0].output[0]\nif h.sum() > 0:\n    model.layers[1].output = (h,)\nx = model.lm_head.output[:, -1].save()",
    );
    let uncertain: Vec<_> =
        told.traces[0].accesses.iter().filter(|it| it.certainty == PERHAPS).map(|it| it.line).collect();
    assert_eq!(uncertain, [3]);
    let told = of("h = model.layers[0].output[0]\nif h.sum() > 0:\n    x = h.save()");
    // The object has two names, and comes back by both.
    let saved: Vec<_> = told.saved.iter().map(|saved| (saved.name.as_str(), saved.certainty)).collect();
    assert_eq!(saved, [("h", PERHAPS), ("x", PERHAPS)]);
    let told = of("h = model.layers[0].output[0]\nwhile h.sum() > 0:\n    h = h - 1\nx = h.save()");
    assert_eq!((told.saved[0].certainty, told.nodes.iter().filter(|node| node.unused).count()), (CERTAIN, 0));
    let loopy = told.nodes.iter().find(|node| node.line == 3).unwrap();
    assert_eq!((loopy.certainty, loopy.unused), (PERHAPS, false));
    // What is done depends on what decides it.
    let told = of("h = model.layers[0].output[0]\nif h.sum() > 0:\n    x = nnsight.save([1])\ny = nnsight.save([2])");
    let at = |line: u32| told.nodes.iter().position(|node| node.line == line).unwrap();
    let test = u32::try_from(at(2)).unwrap();
    assert_eq!(
        (told.nodes[at(3)].needs.as_slice(), told.nodes[at(4)].needs.len()),
        ([test].as_slice(), 0),
        "{told:#?}"
    );
    // What follows a way out of the block, too.
    let told = of(
        "for i in range(2):\n    if model.layers[i].output[0].sum() > 0:\n        break\nx = model.lm_head.output[:, -1].save()",
    );
    let certain: Vec<_> = told.traces[0].accesses.iter().map(|it| (it.line, it.certainty)).collect();
    assert_eq!(certain, [(2, CERTAIN), (2, PERHAPS), (4, CERTAIN)]);
}

#[test]
fn a_read_that_comes_too_late_is_warned_of_at_its_line() {
    let told = of("a = model.layers[1].output[0].save()\nb = model.layers[0].output[0].save()");
    assert_eq!(warned(&told), [(Kind::Late, 2, CERTAIN)]);
    assert!(told.warnings[0].text.contains("model.layers.0.output is read after model.layers.1.output"), "{told:#?}");
    let told = of("a = model.layers[1].output[0].save()\nmodel.layers[1].output = (a,)\nmodel.layers[1].input = a");
    assert_eq!(warned(&told).first(), Some(&(Kind::Late, 3, CERTAIN)));
    // Each block has a pass of its own, and so has each step.
    let blocks = "with model.trace() as t:\n    with t.invoke('a'):\n        a = model.layers[1].output[0].save()\n    \
                  with t.invoke('b c'):\n        b = model.layers[0].output[0].save()";
    let told = session(blocks);
    assert!(told.warnings.is_empty(), "{told:#?}");
    assert_eq!((told.traces[0].inputs.len(), told.traces[0].length), (2, Some(2)));
    // Rows of one trace are as long as its longest.
    assert_eq!(told.saved[0].shape, "float32 [1, 2, 8]");
    let told = of("x = model.norm.output.save()");
    assert_eq!(warned(&told), [(Kind::NeverRun, 1, CERTAIN)]);
}

#[test]
fn what_is_neither_saved_nor_used_is_said_to_be() {
    let told = of("a = model.layers[0].output[0]\nb = a.sum()\nc = a.mean(-1).save()");
    assert_eq!(warned(&told), [(Kind::Unused, 2, CERTAIN)]);
    let told = of("model.layers[1].output\nc = model.layers[1].mlp.output");
    assert_eq!(warned(&told).iter().filter(|(kind, ..)| *kind == Kind::Unused).count(), 2);
    assert!(
        warned(&told).contains(&(Kind::NothingSaved, 0, CERTAIN))
            || warned(&told).iter().any(|it| it.0 == Kind::NothingSaved)
    );
    // What may be looked at by code that is not looked into is used.
    for kept in [
        "print(b)",
        "tracer.apply(b)",
        "unknown(b)",
        "b.tolist().append(1)\nprint(b.tolist())",
        "t = torch.zeros(3)\nt[0] = b\nx = t.save()",
    ] {
        let told = of(&format!("a = model.layers[0].output[0]\nb = a.sum()\n{kept}\nx = a.mean(-1).save()"));
        let unused: Vec<_> = told.warnings.iter().filter(|it| it.kind == Kind::Unused && it.line == 2).collect();
        assert!(unused.is_empty(), "{kept}: {told:#?}");
    }
}

#[test]
fn a_write_that_nothing_reads_is_without_effect() {
    let told = of("x = model.layers[0].output[0].save()\nmodel.layers[1].output[0][:] = 0");
    assert_eq!(warned(&told), [(Kind::WithoutEffect, 2, CERTAIN)]);
    // It is seen through what was saved of the same memory, by a result, and by a later step.
    assert!(of("x = model.layers[1].output[0].save()\nx[:] = 0").warnings.is_empty());
    assert!(of("model.layers[1].output[0][:] = 0\nx = tracer.result.save()").warnings.is_empty());
    let told = session(
        "with model.generate('a', max_new_tokens=3) as t:\n    model.layers[1].output[0][:] = 0\n    x = model.generator.output.save()",
    );
    assert!(told.warnings.is_empty(), "{told:#?}");
    assert_eq!((told.traces[0].passes, told.traces[0].calls), (Some(3), Calls::Generate));
}

#[test]
fn steps_of_a_generation_are_told_apart_and_the_first_is_certain() {
    let told = session(
        "x = nnsight.save([])\nwith model.generate('a b', max_new_tokens=3) as t:\n    for step in t.iter[:]:\n        x.append(model.lm_head.output)",
    );
    let steps: Vec<_> = told.traces[0].accesses.iter().map(|it| (it.step, it.certainty, it.shape.as_str())).collect();
    let whole = "float32 [1, 2, 100]";
    let one = "float32 [1, 1, 100]";
    assert_eq!(steps, [(Some(0), CERTAIN, whole), (Some(1), PERHAPS, one), (Some(2), PERHAPS, one)]);
}

#[test]
fn the_users_functions_are_looked_into() {
    let told = of(
        "def last(layer, at=-1):\n    return layer.output[0][:, at]\nx = nnsight.save([last(layer) for layer in model.layers])",
    );
    assert_eq!((told.traces[0].accesses.len(), told.saved[0].bytes), (2, Some(2 * 8 * 4)));
    // One that calls itself for ever ends, and what it was given counts as used.
    let told =
        of("def f(x):\n    return f(x) + f(x)\nx = f(model.layers[0].output[0])\ny = model.layers[0].output[0].save()");
    assert!(told.warnings.iter().all(|it| it.kind != Kind::Unused), "{told:#?}");
}

#[test]
fn much_that_is_saved_is_warned_of_with_its_size() {
    let mut large = outline();
    let wide = Form::Tensor(
        program::DType::Float32,
        vec![crate::form::Size::Rows, crate::form::Size::Length, crate::form::Size::Fixed(50_000)],
    );
    let at = u32::try_from(large.forms.len()).unwrap();
    large.forms.push(wide);
    large.modules[8].output = at;
    let told = told(&program("x = model.lm_head.output.save()", false), Some(&large));
    assert_eq!(warned(&told), [(Kind::MuchSaved, 1, CERTAIN)]);
    assert!(told.warnings[0].text.contains("x brings back the logits of all 4 positions, 781.2 KiB"), "{told:#?}");
    assert!(of("x = model.lm_head.output.save()").warnings.is_empty());
}

#[test]
fn the_same_input_again_is_told() {
    let told = session(
        "with model.trace('a b'):\n    x = model.layers[0].output[0].save()\nwith model.trace('a b'):\n    y = model.layers[1].output[0].save()",
    );
    assert_eq!(told.traces.iter().map(|trace| trace.inputs[0].same_as).collect::<Vec<_>>(), [None, Some(1)]);
}

#[test]
fn without_a_model_names_are_told_and_nothing_else_is_claimed() {
    let told =
        told(&program("b = model.layers[1].output[0].save()\na = model.layers[0].output[0].save()", false), None);
    assert!(!told.model_known && told.warnings.is_empty() && told.cost.device_seconds.is_none(), "{told:#?}");
    let sites: Vec<_> = told.traces[0].accesses.iter().map(|it| (it.site.as_str(), it.order)).collect();
    assert_eq!(sites, [("model.layers.1.output", None), ("model.layers.0.output", None)]);
    assert_eq!(told.traces[0].layers, None);
}

#[test]
fn programs_that_are_long_deep_or_tied_into_circles_are_told_in_time_and_claims_are_left_out() {
    let nested = |count: usize| {
        format!("a = []\n{}x = model.layers[0].output[0].save()", "b = [a]\nb.append(b)\na = b\n".repeat(count))
    };
    let calls = "def f(x):\n    return [f(y) for y in range(3)]\nx = f(3)\ny = model.embed.output".to_owned();
    let long = "x = 0\nfor i in range(4000):\n    for j in range(4000):\n        x = x + i * j\ny = model.embed.output"
        .to_owned();
    let lists = "a = [1]\nfor i in range(60):\n    a = a + a\nx = a.index(1)\nb = a.save()".to_owned();
    let forever = "while True:\n    x = model.embed.output".to_owned();
    let extreme = "least = -9223372036854775807 - 1\nmost = 9223372036854775807\nx = most in range(least, most, 3)\ny = least in range(most, least, -1)\n\
                   for i in range(most - 2, most, 2):\n    z = i * i\nfor n, it in enumerate([1, 2], most):\n    x = n + it\nfor s in tracer.iter[least:most]:\n    \
                   x = s\nfor s in tracer.iter[most:]:\n    x = -least\nx = least // 1 % 1 ** most\na = [1, 2][least:most:least]\nb = model.embed.output[most:least, most]";
    for text in [nested(2000), calls, long, lists, forever, extreme.to_owned()] {
        let began = std::time::Instant::now();
        let told = of(&text);
        if !told.complete {
            assert!(told.warnings.iter().all(|it| !matches!(it.kind, Kind::Unused | Kind::WithoutEffect)), "{text}");
            assert_eq!(told.traces[0].layers, None);
        }
        println!("{:?} {} {}", began.elapsed(), told.complete, text.len());
    }
}

#[test]
fn what_is_looked_at_is_counted_whatever_holds_what() {
    let nested = format!("x = [1, 1, 1]\n{}{}", "x = [x, x, x]\n".repeat(16), "y = x < x\n".repeat(50));
    let sliced = "x = list(range(4000))\nfor i in range(3000):\n    y = x[1:]\n";
    let keyed = "x = {}\nfor i in range(4000):\n    x[i] = i\nfor i in range(4000):\n    y = x[i]\n";
    let ranges = "for i in range(3000):\n    y = list(range(4000))\n";
    let bound =
        "x = list(range(4000))\nfor i in tracer.others:\n    for i in range(3000):\n        y = x\n        y = []\n";
    for text in [&nested, sliced, keyed, ranges, bound] {
        let program = program(text, false);
        let walked = walk::walk(program.get(), None, &Limits::default(), &|_| None);
        assert!(walked.looked < 400_000, "{} values are looked at for {text:.60}", walked.looked);
    }
    let names: String = (0..2000).map(|name| format!("print(n{name})\n")).collect();
    assert!(told(&program(&names, false), None).complete);
}

#[test]
fn text_and_drawing_say_the_same_and_quote_what_users_write() {
    let told = of("x = model.layers[0].output[0][:, -1]  # <script>&\ny = nnsight.save([x])");
    let text = crate::text(&told, true);
    for part in [
        "f.py: one trace of o/n",
        "model.layers.0.output",
        "1 of 2 layers are computed at most",
        "what depends on what",
        "float32 [1, 8]",
        "32 bytes",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let svg = crate::svg(&told);
    assert!(svg.contains("&lt;script&gt;&amp;") || !svg.contains("<script>"), "{svg}");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("model.layers.0.output"), "{svg}");
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), told);
}

/// The last line of what a program is refused with, and the lines of the text that it names.
fn refused(text: &str) -> Option<(String, Vec<u32>)> {
    let limits = Limits::default();
    let (program, code) = program::lowered(program(text, false).into_inner(), &limits).unwrap();
    let told = refusal(&program, &code, &limits)?;
    let lines = told.lines().filter_map(|line| line.split_once("line ")?.1.split(',').next()?.parse().ok()).collect();
    Some((told.lines().last().unwrap_or_default().to_owned(), lines))
}

#[test]
fn what_a_program_certainly_comes_to_and_the_server_lacks_is_refused_with_its_lines() {
    let save = "AttributeError: torch.save is not supported by this server: it reads or writes files";
    for (text, says, lines) in [
        ("x = 1\ntorch.save(x)", save, [2].as_slice()),
        (
            "import torch.nn.functional as F\nx = F.grouped_mm(1, 2)",
            "AttributeError: torch.nn.functional.grouped_mm is not",
            &[2],
        ),
        ("import torch.nn.functional\ntorch.save(1)", save, &[2]),
        ("t = torch\nname = 'save'\ngetattr(t, name)", save, &[3]),
        ("from torch import save", "ImportError: cannot import name 'save' from 'torch' (torch.save is not", &[1]),
        ("import os", "ModuleNotFoundError: No module named 'os': this server does not offer Python's 'os'", &[1]),
        ("import os.path as p", "ModuleNotFoundError: No module named 'os.path': this server", &[1]),
        (
            "from scipy.special import expit",
            "ModuleNotFoundError: No module named 'scipy.special' on this server",
            &[1],
        ),
        ("open('f')", "NameError: name 'open' is not supported by this server", &[1]),
        (
            "h = model.layers[0].output[0]\nh.as_strided((1,), (1,))",
            "AttributeError: torch.Tensor.as_strided is not",
            &[2],
        ),
        ("h = model.layers[0].output[0] * 2\ntorch.add(h, h, out=h)", "TypeError: add(): argument 'out' is not", &[2]),
        ("def f(x):\n    return torch.save(x)\ndef g(x):\n    return f(x)\ny = g(1)", save, &[5, 4, 2]),
        ("for layer in model.layers:\n    torch.save(layer.output)", save, &[2]),
        ("if 1 < 2:\n    torch.save(1)", save, &[2]),
        ("with torch.no_grad():\n    torch.save(1)", save, &[2]),
        ("x = [torch.save(i) for i in range(2)]", save, &[1]),
        ("with model.session() as s:\n    pass\nmodel.generate('a', streamer=1)\n", "", &[]),
        ("with model.generate('a', streamer=5) as t:\n    pass\n", "ValueError: `streamer` is not supported", &[1]),
    ] {
        match refused(text) {
            Some((last, at)) => assert!(last.starts_with(says) && at == lines, "{text}\n{last}\n{at:?}"),
            None => assert_eq!(says, "", "{text}"),
        }
    }
}

#[test]
fn methods_of_the_users_classes_are_looked_into_where_they_are_called() {
    let save = "AttributeError: torch.save is not supported by this server: it reads or writes files";
    for (text, lines) in [
        ("class A:\n    def keep(self, x):\n        torch.save(x)\nA().keep(1)", [4, 3].as_slice()),
        ("class A:\n    x = torch.save(1)", &[1, 2]),
        ("class A:\n    def __init__(self, x):\n        self.x = torch.save(x)\na = A(1)", &[4, 3]),
        ("class A:\n    def keep(self):\n        torch.save(1)\nclass B(A):\n    pass\nB().keep()", &[6, 3]),
        (
            "class A:\n    def keep(self):\n        torch.save(1)\nclass B(A):\n    def keep(self):\n        super().keep()\nB().keep()",
            &[7, 6, 3],
        ),
        ("class A:\n    @staticmethod\n    def keep(x):\n        torch.save(x)\nA.keep(1)", &[5, 4]),
        ("class A:\n    @classmethod\n    def keep(cls, x):\n        torch.save(x)\nA().keep(1)", &[5, 4]),
        ("class A:\n    @property\n    def kept(self):\n        return torch.save(1)\nx = A().kept", &[5, 4]),
        ("class A:\n    @torch.no_grad()\n    def keep(self):\n        torch.save(1)\nA().keep()", &[5, 4]),
        ("class A:\n    def __call__(self, x):\n        return torch.save(x)\na = A()\nx = a(2)", &[5, 3]),
        (
            "class A(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.on = True\n    def forward(self, x):\n        \
             if self.on:\n            torch.save(x)\na = A().eval()\nx = a(model.layers[0].output[0])",
            &[9, 7],
        ),
        (
            "class A:\n    def __enter__(self):\n        torch.save(1)\n    def __exit__(self, *e): pass\nwith A() as a:\n    pass",
            &[5, 3],
        ),
        ("class A:\n    def __getitem__(self, at):\n        return torch.save(at)\nx = A()[1]", &[4, 3]),
        (
            "class A:\n    def __init__(self):\n        self.inner = B()\n    def run(self):\n        return self.inner.keep()\nclass B:\n    \
             def keep(self):\n        torch.save(1)\nA().run()",
            &[9, 5, 8],
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n    def keep(self):\n        torch.save(self.x)\nA(2).keep()",
            &[7, 6],
        ),
    ] {
        let Some((last, at)) = refused(text) else { panic!("taken: {text}") };
        assert!(last.starts_with(save) && at == lines, "{text}\n{last}\n{at:?}");
    }
}

#[test]
fn methods_that_something_else_may_have_replaced_are_left_to_the_run() {
    let keep = "class A:\n    on = False\n    def keep(self):\n        torch.save(1)\n    def perhaps(self):\n        if self.on: torch.save(1)\n";
    for text in [
        "",
        "a = A()\na.perhaps()",
        "a = A()\nif model.x:\n    a.keep = print\na.keep()",
        "a = A()\nsetattr(a, 'keep', print)\na.keep()",
        "A.keep = print\nA().keep()",
        "a = A()\n[].append(a)\nmodel.anything(a)\na.keep()",
        "a = A()\na.__dict__['keep'] = print\na.keep()",
        "a = A()\nmodel.anything(lambda: a)\na.keep()",
        "class B(A, metaclass=model.x): pass\nB().keep()",
        "class B(model.x): pass\nB().keep()",
        "class B(A):\n    def __getattribute__(self, name): return print\nB().keep()",
        "class B(A):\n    def keep(self): pass\nB().keep()",
        "class C:\n    def keep(self): pass\nclass B(C, A): pass\nB().keep()",
        "class B(A):\n    def __new__(cls): return model\nB().keep()",
        "class B(A):\n    def __init__(self): self.keep = print\nB().keep()",
        "class B(A):\n    def __setattr__(self, name, value): pass\nb = B()\nb.on = True\nb.perhaps()",
        "class B(A):\n    keep = property(lambda self: print)\nB().keep()",
        "@model.x\nclass B(A): pass\nB().keep()",
        "from dataclasses import dataclass\n@dataclass\nclass B:\n    on: bool = True\n    def keep(self):\n        if self.on: torch.save(1)\nB(False).keep()",
    ] {
        let text = format!("{keep}{text}");
        assert_eq!(refused(&text), None, "{text}");
    }
}

#[test]
fn what_may_not_be_reached_or_may_be_caught_is_left_to_the_run() {
    for text in [
        "try:\n    torch.save(1)\nexcept AttributeError:\n    pass",
        "try:\n    import scipy\nexcept ImportError:\n    scipy = None",
        "if model.layers[0].output[0].sum() > 0:\n    torch.save(1)",
        "if False:\n    torch.save(1)",
        "def f():\n    torch.save(1)",
        "x = lambda: open('f')",
        "open = len\nopen('f')",
        "getattr(torch, 'save', None)\nhasattr(torch, 'save')",
        "tracer.stop()\ntorch.save(1)",
        "import contextlib\nwith contextlib.suppress(AttributeError):\n    torch.save(1)",
        "import mine\nmine.save(1)\ntorch.nonsense(1)",
        "x = torch.topk(model.layers[0].output[0], 1).values\ny = x.indices",
        "torch.add(1, 2, out=None)",
        "def f(torch):\n    return torch.save(1)\nf(model)",
        "for layer in [1, 2]:\n    break\nelse:\n    torch.save(1)",
        "while model.x:\n    torch.save(1)",
        "None and torch.save(1)",
    ] {
        assert_eq!(refused(text), None, "{text}");
    }
    let told = of("if model.layers[0].output[0].sum() > 0:\n    torch.save(1)");
    assert!(warned(&told).contains(&(Kind::Refused, 2, PERHAPS)), "{told:#?}");
}
