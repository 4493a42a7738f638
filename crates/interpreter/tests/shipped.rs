//! Functions and classes that come with a request run as they would where they were written.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use common::{Bare, source};
use interpreter::{
    Args, Class, Coroutine, Decorated, Defaults, Frame, Function, Globals, HostObject, HostResult, Instance, Machine,
    Outcome, Property, Raise, Step, Value,
};
use program::Limits;

fn machine() -> (Rc<Bare>, Machine) {
    let host = Rc::new(Bare::default());
    (host.clone(), Machine::new(&Limits::default(), host))
}

fn function(machine: &Machine, name: &str, line: u32, text: &str, globals: &[(&str, Value)]) -> (Value, Globals) {
    let globals: Globals =
        Rc::new(RefCell::new(globals.iter().map(|(name, value)| (Rc::from(*name), value.clone())).collect()));
    let defaults = Defaults::default();
    let made = Function::from_source(machine, text, name, "/user/lib.py", line, defaults, Rc::clone(&globals));
    (made.expect("there is memory"), globals)
}

fn run(machine: &Machine, text: &str, locals: &[(&str, Value)]) -> Result<Value, Raise> {
    let locals = locals.iter().map(|(name, value)| (Rc::from(*name), value.clone())).collect();
    let block = Frame::root(machine, &source(text), locals, Vec::new())?;
    match Coroutine::of_block(machine, block).resume(None) {
        Step::Done(result) => result,
        Step::Waiting(_) => panic!("nothing waits here"),
    }
}

#[test]
fn a_function_reads_and_writes_its_globals() {
    let (host, machine) = machine();
    let text = "def count(n=1):\n    global total\n    total = total + n * k\n    return helper(total)\n";
    let (count, globals) = function(&machine, "count", 10, text, &[("k", Value::Int(3)), ("total", Value::Int(0))]);
    let (helper, _) = function(&machine, "<lambda>", 3, "lambda x: (x, k)", &[("k", Value::Int(7))]);
    globals.borrow_mut().insert("helper".into(), helper);
    run(&machine, "count()", &[("count", count)]).expect_err("no default came with the request");
    let defaults = Defaults { positional: vec![Value::Int(1)], keyword: Vec::new() };
    let made = Function::from_source(&machine, text, "count", "/user/lib.py", 10, defaults, Rc::clone(&globals));
    let count = made.expect("there is memory");
    run(&machine, "print(count(2), count(), count.__name__)", &[("count", count)]).expect("the program ends well");
    assert_eq!(*host.printed.borrow(), "(6, 7) (9, 7) count\n");
    assert_eq!(globals.borrow().get("total").and_then(Value::as_int), Some(9));
}

#[test]
fn functions_may_know_themselves_and_keep_their_decorators_off() {
    let (host, machine) = machine();
    let text = "@torch.no_grad()\n@cache\ndef fact(n):\n    return 1 if n <= 1 else n * fact(n - 1)\n";
    let (fact, globals) = function(&machine, "fact", 4, text, &[]);
    globals.borrow_mut().insert("fact".into(), fact.clone());
    run(&machine, "print(fact(10))", &[("fact", fact)]).expect("the program ends well");
    assert_eq!(*host.printed.borrow(), "3628800\n");
}

#[test]
fn tracebacks_show_the_functions_own_file_and_lines() {
    let (_, machine) = machine();
    let text = "def check(x):\n    if x != 0:\n        raise ValueError(\"sum is not zero\")\n";
    let (check, _) = function(&machine, "check", 7, text, &[]);
    let raise = run(&machine, "\n\n\ncheck(1)", &[("check", check)]).expect_err("the check fails");
    assert_eq!(
        raise.traceback_text(),
        "Traceback (most recent call last):\n  File \"/user/block.py\", line 4, in <module>\n    check(1)\n  \
         File \"[check:7] /user/lib.py\", line 9, in check\n    raise ValueError(\"sum is not zero\")\n\
         ValueError: sum is not zero\n"
    );
}

#[test]
fn source_that_cannot_run_fails_where_it_is_called() {
    let (host, machine) = machine();
    for (name, text) in [
        ("f", "x = 1"),
        ("f", "def g(): pass"),
        ("f", "def f(:"),
        ("f", "async def f(): pass"),
        ("f", "def f(a, a): pass"),
        ("<lambda>", "1"),
    ] {
        let (made, _) = function(&machine, name, 30, text, &[]);
        let names = [("f", made.clone())];
        let raise = run(&machine, "print(f.__name__)\nf(1, k=2)", &names).expect_err("it is called");
        assert!(raise.is(interpreter::Kind::SyntaxError), "{text}");
        let class = Class::new("C", "lib", Vec::new(), vec![("m".into(), made)]).expect("a class");
        run(&machine, "C()", &[("C", Value::Class(class))]).expect("it is not called");
    }
    assert_eq!(*host.printed.borrow(), "f\nf\nf\nf\nf\n<lambda>\n");
    let (wait, _) = function(&machine, "wait", 30, "def wait(x):\n    y = x\n    await y\n", &[]);
    let raise = run(&machine, "1\nwait(2)", &[("wait", wait)]).expect_err("it is called");
    let text = raise.traceback_text();
    let place = "  File \"[wait:30] /user/lib.py\", line 32\n    await y\n";
    assert!(text.contains("line 2, in <module>\n    wait(2)\n") && text.contains(place), "{text}");
    assert!(text.trim_end().ends_with("SyntaxError: 'await' is not supported by this server"), "{text}");
}

#[test]
fn a_class_is_put_together_from_its_parts() {
    let (host, machine) = machine();
    let base = Class::new("Base", "lib", vec![Value::Type(interpreter::Type::Object)], Vec::new()).expect("a class");
    let (init, _) = function(&machine, "__init__", 2, "def __init__(self, n):\n    self.n = n\n", &[]);
    base.set("__init__", init);
    let (area, _) = function(&machine, "area", 5, "@property\ndef area(self): return self.n ** 2\n", &[]);
    let area = Property { getter: Some(area), ..Property::default() };
    base.set("area", Value::Decorated(Rc::new(Decorated::Property(area))));
    let base = Value::Class(base);
    let derived = Class::new("Derived", "lib", vec![base.clone()], Vec::new()).expect("a class");
    // One `super()` with the class in its globals, as clients send it, and one whose class is found by its code.
    let class = [("__class__", Value::Class(Rc::clone(&derived)))];
    let (init, _) = function(&machine, "__init__", 9, "def __init__(self, n):\n    super().__init__(n + 1)\n", &class);
    derived.set("__init__", init);
    let (twice, _) = function(&machine, "twice", 12, "def twice(self): return super().area * 2\n", &[]);
    derived.set("twice", twice);
    let made = Instance::new(&derived);
    made.set("n", Value::Int(10));
    let locals = [("Derived", Value::Class(derived)), ("Base", base), ("made", Value::Instance(made))];
    let text = "d = Derived(3)\nprint(d.n, d.area, d.twice(), made.area, isinstance(d, Base))";
    run(&machine, text, &locals).map_err(|raise| raise.traceback_text()).expect("the program ends well");
    assert_eq!(*host.printed.borrow(), "4 16 32 100 True\n");
}

/// A host's class that programs derive from, like `torch.nn.Module`.
struct Module;

impl HostObject for Module {
    fn type_name(&self) -> Cow<'static, str> {
        "type".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn initialize_instance(self: Rc<Self>, _: &Machine, instance: &Value, _: Args) -> HostResult {
        if let Value::Instance(instance) = instance {
            instance.set("_modules", Value::list(Vec::new()));
        }
        Ok(Value::None.into())
    }

    fn call_instance(self: Rc<Self>, machine: &Machine, instance: &Value, args: Args) -> HostResult {
        let (machine, instance) = (machine.clone(), instance.clone());
        Ok(Outcome::Later(Box::pin(async move {
            let forward = machine.get_attribute(&instance, "forward").await?;
            machine.call(&forward, args).await
        })))
    }

    fn instance_attribute(self: Rc<Self>, _: &Machine, instance: &Value, name: &str) -> HostResult {
        match name {
            "training" => Ok(Value::Bool(false).into()),
            "eval" => {
                let instance = instance.clone();
                Ok(Value::native("eval", move |_, _| Ok(instance.clone().into())).into())
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn set_instance_attribute(
        self: Rc<Self>,
        machine: &Machine,
        instance: &Value,
        name: &str,
        value: &Value,
    ) -> HostResult {
        if let (Value::Instance(instance), Value::Float(_)) = (instance, value) {
            let Some(Value::List(modules)) = instance.own("_modules") else {
                return Err(Raise::attribute_error("cannot assign module before Module.__init__() call"));
            };
            modules.push(machine, Value::from(name))?;
        }
        Ok(Outcome::NotImplemented)
    }
}

#[test]
fn a_class_may_derive_from_a_class_of_the_host() {
    let (host, machine) = machine();
    let text = "
class Sae(Module):
    def __init__(self, w):
        super().__init__()
        self.w = w
    def forward(self, x):
        return self.w * x
class Loud(Sae):
    def forward(self, x):
        return super().forward(x) + 1
    def eval(self):
        return super().eval()
s = Loud(2.5)
print(s(2), s._modules, s.training, s.eval() is s, isinstance(s, Sae))
class Empty(Module): pass
e = Empty()
e.x = 1.5
print(e._modules, e.x)
try:
    e.missing
except AttributeError as err: print(err)
class Bad(Module):
    def __init__(self): self.w = 1.0
try:
    Bad()
except AttributeError as err: print(err)
";
    run(&machine, text, &[("Module", Value::host(Module))]).map_err(|raise| raise.traceback_text()).expect("it runs");
    assert_eq!(
        *host.printed.borrow(),
        "6.0 ['w'] False True True\n['x'] 1.5\n'Empty' object has no attribute 'missing'\n\
         cannot assign module before Module.__init__() call\n"
    );
}

#[test]
fn a_hosts_exception_prints_its_own_name() {
    let (host, machine) = machine();
    let fail = Value::native("fail", |_, _| {
        Err(Raise::named("nnsight.intervention.OutOfOrderError", interpreter::Kind::Exception, "too late"))
    });
    let text = "try:\n    fail()\nexcept Exception as e:\n    print(e)\nfail()";
    let raise = run(&machine, text, &[("fail", fail)]).expect_err("it fails");
    assert_eq!(*host.printed.borrow(), "too late\n");
    assert!(raise.traceback_text().ends_with("    fail()\nnnsight.intervention.OutOfOrderError: too late\n"));
}

#[test]
fn host_code_calls_back() {
    let (_, machine) = machine();
    let (add, _) = function(&machine, "add", 1, "def add(a, *, b): return a + b", &[]);
    let handle = machine.clone();
    let mut coroutine = Coroutine::of_future(
        &machine,
        Box::pin(async move {
            let args = Args { positional: vec![Value::Int(2)], keyword: vec![("b".into(), Value::Int(3))] };
            handle.call(&add, args).await
        }),
    );
    let Step::Done(Ok(Value::Int(5))) = coroutine.resume(None) else { panic!("2 + 3 is 5") };
    assert!(matches!(coroutine.resume(None), Step::Done(Err(_))));
}

#[test]
fn classes_that_python_made_by_calling_something_are_made_again() {
    let (host, machine) = machine();
    let revived = |class: &Rc<Class>| {
        let made = interpreter::modules::revive(&machine, class).expect("there is memory");
        assert!(matches!(Coroutine::of_future(&machine, machine.settle(made)).resume(None), Step::Done(Ok(_))));
        Value::Class(Rc::clone(class))
    };
    let enumeration = interpreter::import::member(&machine, "enum", "Enum").expect("the module is there");
    let anything = interpreter::import::member(&machine, "builtins", "object");
    let new = Value::native("__new__", |_, _| Err(Raise::runtime_error("it came without source")));
    let attributes = vec![
        ("__new__".into(), new.clone()),
        ("_new_member_".into(), anything.unwrap_or(Value::None)),
        // What CPython's metaclass writes for itself. A class statement that writes it is refused.
        ("_unhashable_values_".into(), Value::list(Vec::new())),
        ("_use_args_".into(), Value::Bool(false)),
        ("_value_repr_".into(), Value::None),
        ("MEAN".into(), Value::from("mean")),
        ("LAST".into(), Value::from("last")),
    ];
    let kind = Class::new("Kind", "lib", vec![enumeration], attributes).expect("a class");
    let fields = Value::tuple(vec![Value::from("first"), Value::from("last")]);
    let attributes = vec![
        ("__new__".into(), new),
        ("_fields".into(), fields),
        ("_field_defaults".into(), Value::dict([(Rc::<str>::from("last"), Value::Int(2))])),
    ];
    let span = Class::new("Span", "lib", vec![Value::Type(interpreter::Type::Tuple)], attributes).expect("a class");
    let named = |name: &str| interpreter::import::member(&machine, "dataclasses", name).expect("the module is there");
    let (Value::Class(field), Value::Class(missing)) = (named("Field"), named("_MISSING_TYPE")) else {
        panic!("they are classes")
    };
    let described = |name: &str, default: Value| {
        let made = Instance::new(&field);
        let missing = || Value::Instance(Instance::new(&missing));
        for (part, value) in [
            ("name", Value::from(name)),
            ("default", if matches!(default, Value::None) { missing() } else { default }),
            ("default_factory", missing()),
            ("_field_type", named("_FIELD")),
            ("hash", Value::None),
            ("kw_only", Value::Bool(false)),
        ] {
            made.set(part, value);
        }
        for part in ["init", "repr", "compare"] {
            made.set(part, Value::Bool(true));
        }
        (Rc::<str>::from(name), Value::Instance(made))
    };
    let fields = Value::dict([described("layer", Value::None), described("position", Value::Int(-1))]);
    let lost =
        |name: &str| (name.into(), Value::native(name, |_, _| Err(Raise::runtime_error("it came without source"))));
    let attributes = vec![
        ("__dataclass_fields__".into(), fields),
        lost("__init__"),
        lost("__repr__"),
        lost("__eq__"),
        ("__hash__".into(), Value::None),
    ];
    let site = Class::new("Site", "lib", Vec::new(), attributes).expect("a class");
    let text = "import dataclasses\n\
                print(Site(3), Site(1, position=2) == Site(1, 2), dataclasses.replace(Site(3), layer=4), \
                dataclasses.asdict(Site(5)))\n\
                print(Kind('last').name, [kind.value for kind in Kind], Kind.MEAN is Kind('mean'), Kind['LAST'])\n\
                print(Span(1), Span(3, last=4).last, Span(1)._replace(first=5), *Span(7, 8))\n\
                Kind('none')";
    let raise = run(&machine, text, &[("Kind", revived(&kind)), ("Span", revived(&span)), ("Site", revived(&site))])
        .expect_err("no such kind");
    assert_eq!(raise.message(), "'none' is not a valid Kind");
    let printed = "Site(layer=3, position=-1) True Site(layer=4, position=-1) {'layer': 5, 'position': -1}\n\
                   LAST ['mean', 'last'] True Kind.LAST\nSpan(first=1, last=2) 4 Span(first=5, last=2) 7 8\n";
    assert_eq!(*host.printed.borrow(), printed);
    machine.teardown();
}

#[test]
fn functions_that_cpython_has_in_c_are_found_by_the_modules_that_it_names() {
    let (_, machine) = machine();
    for (module, name) in [("_functools", "reduce"), ("_operator", "itemgetter"), ("_heapq", "heappush")] {
        assert!(interpreter::import::member(&machine, module, name).is_some(), "{module}.{name}");
    }
    for (module, name) in [("_io", "open"), ("_thread", "start_new_thread"), ("_functools", "nothing"), ("", "reduce")]
    {
        assert!(interpreter::import::member(&machine, module, name).is_none(), "{module}.{name}");
    }
}
