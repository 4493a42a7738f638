//! Programs that use the standard modules give what CPython 3.11 gives: the same output, then the same traceback.

mod common;

use common::{Oracle, programs};

#[test]
fn standard_modules_behave_as_in_cpython() {
    Oracle::check(&programs(include_str!("modules.py")));
}

#[test]
fn modules_written_in_python_behave_as_in_cpython() {
    Oracle::check(&programs(include_str!("library.py")));
}

#[test]
fn modules_of_numbers_dates_and_texts_behave_as_in_cpython() {
    Oracle::check(&programs(include_str!("standard.py")));
}

#[test]
fn patterns_match_as_in_cpython() {
    Oracle::check(&programs(include_str!("patterns.py")));
}

/// Programs that would take forever or all memory, with the exceptions that end them.
const HOSTILE: &[(&str, &str)] = &[
    ("import itertools\nlist(itertools.count())", "MemoryError"),
    ("import itertools\nfor x in itertools.cycle([1]): pass", "TimeoutError"),
    ("import itertools\nsum(itertools.repeat(0))", "TimeoutError"),
    ("import itertools\nfor x in itertools.product(range(10), repeat=20): pass", "TimeoutError"),
    ("import itertools\nitertools.product('ab', repeat=10**12)", "MemoryError"),
    ("import itertools\nlist(itertools.permutations(range(200)))", "MemoryError"),
    ("import itertools\nnext(itertools.dropwhile(lambda x: True, itertools.count()))", "TimeoutError"),
    ("import itertools\nnext(itertools.islice(itertools.count(), 10**15, None))", "TimeoutError"),
    (
        "import itertools\nit = iter([1])\nfor i in range(20000): it = itertools.chain(it, [i])\nnext(it)",
        "RecursionError",
    ),
    ("import itertools\na, b = itertools.tee(itertools.count())\nfor x in a: pass", "MemoryError"),
    ("import functools\nfunctools.reduce(lambda a, b: a, iter(int, 1))", "TimeoutError"),
    ("import functools\nf = int\nfor i in range(5000): f = functools.partial(lambda g: g(), f)\nf()", "RecursionError"),
    (
        "import functools\n@functools.cache\ndef f(x): return 'x' * 10000 + str(x)\ni = 0\nwhile True:\n    i += 1\n    f(i)",
        "MemoryError",
    ),
    ("import math\nmath.factorial(10**9)", "TimeoutError|MemoryError"),
    ("import math\nmath.comb(10**9, 5 * 10**8)", "TimeoutError|MemoryError"),
    ("import math\nmath.perm(10**18)", "TimeoutError|MemoryError"),
    ("import math\nmath.lcm(*range(1, 200000))", "TimeoutError|MemoryError"),
    ("import math\nmath.prod(range(1, 10**7))", "TimeoutError|MemoryError"),
    ("import json\njson.loads('[' * 1000000)", "RecursionError"),
    ("import json\nx = []\nfor i in range(20000): x = [x]\njson.dumps(x)", "RecursionError"),
    ("import json\nx = [0]\nfor i in range(60): x = [x, x]\njson.dumps(x)", "TimeoutError|MemoryError"),
    ("import copy\nx = []\nfor i in range(20000): x = [x]\ncopy.deepcopy(x)", "RecursionError"),
    ("import copy\nx = {}\nfor i in range(20000): x = {1: (x,)}\ncopy.deepcopy(x)", "RecursionError"),
    ("import re\nre.compile('(((a{1000}){1000}){1000})')", "error"),
    ("import re\nre.compile('(' * 100000)", "error"),
    ("import re\ni = 0\nwhile True:\n    i += 1\n    re.findall('(a|b|ab)*c', 'ab' * 50000)", "TimeoutError"),
    ("import re\nkeep = []\nwhile True: keep.append(re.compile('[a-z]{%d}' % len(keep)))", "MemoryError|error"),
    ("import re\nre.sub('', 'x' * 100000, 'y' * 100000)", "MemoryError|TimeoutError"),
    ("from collections import deque\nd = deque()\nwhile True: d.append('x')", "MemoryError"),
    ("from collections import deque\nd = deque([1]) * 10**12", "MemoryError"),
    (
        "from collections import deque\nd = deque()\nfor i in range(20000): d = deque([d])\nprint(d == d, d)",
        "RecursionError",
    ),
    ("from collections import Counter\nCounter(a=10**15).elements()", "TimeoutError|MemoryError"),
    ("from collections import namedtuple\nwhile True: namedtuple('P', 'a b c d e f')", "TimeoutError|MemoryError"),
    (
        "from collections import namedtuple\nkeep = []\nwhile True: keep.append(namedtuple('P', 'a b c d e f'))",
        "MemoryError",
    ),
    (
        "from types import SimpleNamespace\na, b = SimpleNamespace(), SimpleNamespace()\na.x, b.x = b, a\na == b",
        "RecursionError",
    ),
    (
        "from dataclasses import dataclass\n@dataclass\nclass N:\n    n: object\nx = None\nfor i in range(20000): x = N(x)\nrepr(x)",
        "RecursionError",
    ),
    (
        "from dataclasses import dataclass, asdict\n@dataclass\nclass N:\n    n: object\nx = None\nfor i in range(20000): x = N(x)\nasdict(x)",
        "RecursionError",
    ),
    (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass N:\n    n: object\nx = None\nfor i in range(20000): x = N(x)\nhash(x)",
        "RecursionError",
    ),
    ("it = [1]\nfor i in range(20000): it = map(str, it)\nnext(it)", "RecursionError"),
    ("it = [1]\nfor i in range(20000): it = zip(it)\nnext(it)", "RecursionError"),
    ("it = [1]\nfor i in range(20000): it = filter(None, it)\nnext(it)", "RecursionError"),
    ("import operator\noperator.call(*[operator.call] * 20000, int)", "RecursionError"),
    ("import functools\nf = int\nfor i in range(10000): f = functools.cache(f)\nf()", "RecursionError|MemoryError"),
    (
        "import contextlib\nf = int\nfor i in range(10000): f = contextlib.contextmanager(f)\nf()",
        "RecursionError|MemoryError",
    ),
    (
        "import operator\nkeep = []\nkeys = [0] * 1000\nwhile True: keep.append(operator.itemgetter(*keys))",
        "MemoryError",
    ),
    ("import re\nkeep = []\np = re.compile('()' * 200)\nwhile True: keep.append(p.match('x'))", "MemoryError"),
    ("import re\nx = re.findall('((((((((((.*))))))))))', 'y' * 8000000)", "MemoryError|TimeoutError"),
    ("from dataclasses import field\nkeep = []\nwhile True: keep.append(field())", "MemoryError|TimeoutError"),
    ("import itertools\nkeep = []\nwhile True: keep.append(itertools.product('ab', repeat=1000))", "MemoryError"),
    (
        "import itertools\nkeep = []\nmany = [()] * 1000\nwhile True: keep.append(itertools.zip_longest(*many))",
        "MemoryError",
    ),
    ("from functools import partial\np = int\nwhile True: p = partial(p, 1)", "TimeoutError|MemoryError"),
    ("import typing\nx = int\nfor i in range(20000): x = list[x]\nrepr(x)", "RecursionError"),
    ("import re\nre.match('(a*)*b(?=c)', 'a' * 40)", "TimeoutError|OverflowError"),
    ("import re\nre.match(r'(a|aa)+(?=b)$', 'a' * 1000)", "OverflowError|TimeoutError"),
    ("import re\nre.search(r'(?=(.*)(.*)(.*)(.*)z)', 'a' * 3000)", "no exception"),
    ("import re\nre.match(r'(?:(?=.*z)a)*', 'a' * 100000 + 'z')", "OverflowError"),
    ("import re\nre.match(r'(?:(?=(?:(?=.*z)a)*z)a)*', 'a' * 3000 + 'z')", "OverflowError"),
    ("import re\nre.match(r'(.*)(.*)(.*)\\1\\2\\3x', 'ab' * 200)", "OverflowError|TimeoutError"),
    ("import re\nre.findall(r'\\w+(?=,)', 'word ' * 200000)", "OverflowError"),
    ("import re\nre.sub(r'(?<=a)', 'y' * 100000, 'a' * 100000)", "MemoryError|TimeoutError|OverflowError"),
    ("import re\nre.compile('(?=a)' * 1000)", "error"),
    ("import re\nre.compile('(?=' * 10000)", "error"),
    ("import re\nre.compile('(?=' * 30 + ')' * 30).match('a')", "no exception|error"),
    ("import re\nre.compile('(?=((a{1000}){1000}){1000})').match('a')", "error"),
    ("import statistics\nstatistics.mean([10**100000] * 10**6)", "TimeoutError|MemoryError"),
    ("import statistics\nstatistics.stdev(2**i for i in range(100000))", "TimeoutError|MemoryError"),
];

#[test]
fn hostile_programs_end() {
    let limits = program::Limits { fuel: 2_000_000, memory_bytes: 16 << 20, ..program::Limits::default() };
    let mut wrong = Vec::new();
    for (source, expected) in HOSTILE {
        let begun = std::time::Instant::now();
        let (_, result) = common::run(source, &limits);
        let name = match result {
            Ok(_) => "no exception".to_owned(),
            Err(raise) => raise.type_name(),
        };
        let name = name.rsplit('.').next().unwrap_or_default();
        let seconds = begun.elapsed().as_secs();
        if !expected.split('|').any(|expected| expected == name) {
            wrong.push(format!("{name} after {seconds} s instead of {expected}:\n{source}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_module_keeps_for_itself_is_not_found_in_it() {
    let text = "import dataclasses, collections\nfor module in dataclasses, collections:\n    for name in '_FIELD', '_signature', \
                'operator', '_equip', '_NamedTuple', '__all__':\n        assert not hasattr(module, name), name\n\
                from dataclasses import _equip";
    let (_, result) = common::run(text, &program::Limits::default());
    assert_eq!(
        result.err().map(|raise| raise.message()).unwrap_or_default(),
        "cannot import name '_equip' from 'dataclasses' (module 'dataclasses' has no attribute '_equip')"
    );
}

#[test]
fn modules_that_reach_out_are_refused_by_name() {
    let (_, result) = common::run("import socket", &program::Limits::default());
    let message = result.err().map(|raise| raise.message()).unwrap_or_default();
    assert_eq!(message, "No module named 'socket': this server does not offer Python's 'socket'");
    let (printed, result) = common::run(
        "import math, collections\nfrom collections import abc\nimport collections.abc as again\nprint(math is __import__ if False else abc is again)",
        &program::Limits::default(),
    );
    assert!(result.is_ok(), "{result:?}", result = result.err());
    assert_eq!(printed, "True\n", "a module is one object");
}

#[test]
fn classes_that_nothing_can_derive_from_say_what_to_write_instead() {
    for base in ["collections.deque", "bytearray"] {
        let source = format!("import collections\nclass Own({base}): pass");
        let (_, result) = common::run(&source, &program::Limits::default());
        let expected =
            format!("class Own: deriving from {base} is not supported by this server: keep one in an attribute");
        assert_eq!(result.err().map(|raise| raise.message().to_owned()), Some(expected));
    }
}
