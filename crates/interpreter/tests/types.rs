//! Values of the builtin types, and the builtin functions, give what CPython 3.11 gives: the same text for every
//! expression, the same message for every error.

mod common;

use common::{Oracle, programs, run};
use interpreter::{Fatal, Kind};
use program::Limits;

/// One expression a line; lines that start with `#` are headings.
fn expressions(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let program = format!(
                "try:\n    value = {line}\n    print(repr(value))\nexcept Exception as e:\n    print(type(e).__name__, e)\n"
            );
            (line.to_owned(), program)
        })
        .collect()
}

#[test]
fn expressions_have_the_value_or_the_error_that_they_have_in_cpython() {
    Oracle::check(&expressions(include_str!("expressions.py")));
}

#[test]
fn programs_of_special_methods_print_what_they_print_in_cpython() {
    Oracle::check(&programs(include_str!("types.py")));
}

#[test]
fn work_and_growth_inside_one_expression_are_metered() {
    let limits = Limits { fuel: 500_000, memory_bytes: 32 << 20, ..Limits::default() };
    for text in [
        "[0] * 10**12",
        "[0] * (4 * 10**17)",
        "(0,) * 2**62",
        "[0, 1] * (2**63 - 1)",
        "(0,) * 10**12",
        "'a' * 10**12",
        "b'a' * 10**12",
        "10 ** 10**9",
        "2 ** 10**12",
        "1 << 10**12",
        "y = 3\nwhile True: y = y * y",
        "y = 3\nwhile True: y = y << 100000",
        "sum(range(10**12))",
        "s = set(range(20000))\n[s.discard(i) for i in range(1, 20000)]\nfor i in range(1000): list(s), [*iter(s)], s.add(s.pop())",
        "list(range(10**10))",
        "tuple(range(10**10))",
        "set(range(10**10))",
        "dict.fromkeys(range(10**10))",
        "max(range(10**12))",
        "any(0 for i in range(10**12))",
        "all(map(lambda x: True, range(10**12)))",
        "10**12 in iter(range(10**13))",
        "'{:>1000000000000}'.format(1)",
        "f'{1:>1000000000000}'",
        "'%1000000000000d' % 1",
        "'%.1000000000d' % 1",
        "format(1.5, '.1000000000f')",
        "'a'.center(10**12)",
        "'a'.zfill(10**12)",
        "'\\t'.expandtabs(10**12)",
        "'a'.ljust(10**12)",
        "s = 'a'\nwhile True: s += s",
        "s = b'a'\nwhile True: s += s",
        "s = 'ab' * 100000\nwhile True: s = s.replace('a', 'aa')",
        "s = ['ab' * 1000] * 1000\nwhile True: s = ''.join(s),; s = s * 100",
        "x = [0]\nwhile True: x += x",
        "x = [0]\nwhile True: x.extend(x)",
        "x = (0,)\nwhile True: x += x",
        "(1).to_bytes(10**12, 'big')",
        "bytes(10**12)",
        "pow(3, 10**5000, 10**5000 + 1)",
        "sorted(iter(int, 1))",
        "list(zip(iter(int, 1)))",
        "x = {}\ni = 0\nwhile True:\n  i += 1\n  x['key' + str(i)] = 'value' * 10",
        "d = {(i,): i for i in range(1000)}\nwhile True: d = dict(d)",
        "range(10**15).index(10**14 + 1)\nwhile True: list(range(1000))",
        "x = []\nwhile True: x = [x, repr(x)]",
        "while True: hash((1,) * 1000)",
        "while True: [0] * 1000 == [0] * 1000",
        "while True: sorted([3, 1, 2] * 100)",
        "a = 'a' * 100000\nwhile True: a.find('b')",
        "a = 'a' * 1000000\nwhile True: a.split('a')",
        "a = 'a' * 1000000\nwhile True: 'b' in a",
        "a = [0] * 100000\nwhile True: a[::-1]",
        "a = [0] * 100000\nwhile True: a.insert(0, 1)",
        "a = [0] * 100000\nwhile True: 1 in a",
        "str(7 ** 10**6)",
    ] {
        let raise = run(text, &limits).1.err();
        let ends = raise.as_ref().is_some_and(|raise| {
            matches!(raise.as_fatal(), Some(Fatal::Fuel | Fatal::Memory))
                || raise.is(Kind::MemoryError)
                || raise.is(Kind::ValueError)
                || raise.is(Kind::OverflowError)
        });
        assert!(ends, "{raise:?}: {text}");
    }
}

#[test]
fn deep_and_shared_nests_end_in_an_exception_on_a_small_stack() {
    let limits = Limits { fuel: 1_000_000, ..Limits::default() };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(move || {
        for (made, used) in [
            ("[x]", "repr(x)"),
            ("{1: x}", "str(x)"),
            ("(x,)", "hash(x)"),
            ("(x,)", "{x: 1}"),
            ("(x,)", "isinstance(1, x)"),
            ("[x]", "y = []\nfor i in range(20000): y = [y]\nx == y"),
            ("list[x] if x else int", "repr(x)"),
        ] {
            let deep = format!("x = ()\nfor i in range(20000): x = {made}\n{used}");
            let raise = run(&deep, &limits).1.err();
            assert!(raise.as_ref().is_some_and(|raise| raise.is(Kind::RecursionError)), "{raise:?}: {deep}");
        }
        for (made, used) in [
            ("[x, x]", "repr(x)"),
            ("(x, x)", "hash(x)"),
            ("(x, x)", "{x: 1}"),
            ("(x, x)", "isinstance(1, x)"),
            ("[x, x]", "y = ()\nfor i in range(60): y = [y, y]\nx == y"),
            ("dict[x, x] if x else int", "repr(x)"),
        ] {
            let shared = format!("x = ()\nfor i in range(60): x = {made}\n{used}");
            let raise = run(&shared, &limits).1.err();
            let ends = raise.as_ref().and_then(interpreter::Raise::as_fatal).is_some();
            assert!(ends, "{raise:?}: {shared}");
        }
        for text in [
            "class A:\n  def __eq__(self, o): return self == o\nA() == A()",
            "class A:\n  def __hash__(self): return hash(self)\n{A(): 1}",
            "class A:\n  def __index__(self): return [0][self]\n[0][A()]",
            "class A:\n  def __str__(self): return str(self)\nprint(A())",
            "class A:\n  def __len__(self): return len(self)\nbool(A())",
            "class A:\n  def __lt__(self, o): return sorted([self, o])\nsorted([A(), A()])",
        ] {
            let raise = run(text, &limits).1.err();
            assert!(raise.as_ref().is_some_and(|raise| raise.is(Kind::RecursionError)), "{raise:?}: {text}");
        }
    });
    thread.expect("a thread starts").join().expect("the thread ends");
}

#[test]
fn memory_of_values_that_are_gone_is_given_back() {
    let limits = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    for text in [
        "for i in range(2000): x = 'a' * 100000",
        "for i in range(2000): x = b'a' * 100000",
        "for i in range(2000): x = [0] * 10000",
        "for i in range(200): x = {j: j for j in range(1000)}",
        "for i in range(200): x = set(range(1000))",
        "for i in range(2000): x = 1 << 500000",
        "x = []\nfor i in range(300):\n  x.extend(range(1000))\n  x.clear()",
        "x = {}\nfor i in range(20000):\n  x[i] = i\n  del x[i]",
        "for i in range(20000): x = 'key' * 20 + str(i)",
    ] {
        run(text, &limits).1.map_err(|raise| format!("{raise}: {text}")).expect("garbage does not count");
    }
}

#[test]
fn functions_that_reach_out_are_refused_by_name() {
    for name in ["eval", "exec", "open", "input", "globals", "locals", "__import__", "compile"] {
        let raise = run(&format!("{name}('x')"), &Limits::default()).1.map(|_| ()).expect_err("it is refused");
        assert!(raise.is(Kind::NameError), "{raise}");
        assert_eq!(raise.message(), format!("name '{name}' is not supported by this server"));
    }
}
