#### Strings are formatted
x = 3.14159
print(f"{x:.2f} {x:8.3f}| {x:<8.1f}| {x:^+9.2e}| {x:08.3f} {x:,.2f} {1234567.891:,.1f} {x!r:>12} {x!s:*^12}")
print(f"{42:b} {42:#x} {42:#o} {255:X} {42:05d} {-42:+d} {1_000_000:_} {1_000_000:,} {65:c} {0.25:.1%} {1e10:g} {1e-7:g}")
w, p = 10, 3
print(f"{x:{w}.{p}f}|{'ab':{'>'}{w}}|{'é':_>4}|{True:d}|{None!r:>6}|{x=:.1f}|{x = }|{'a' 'b'!r}")
print("{0} {1!r} {0:>4} {name[key]} {obj.real}".format(1, "a", name={"key": 2}, obj=3j))
print("%5.2f|%-6s|%06d|%x|%e|%%|%r|%+d|%c" % (1.5, "ab", 42, 255, 12345.678, "q", 3, "z"))
print("%(a)s %(b)03d" % {"a": 1, "b": 2}, "{:>{}}".format("r", 5), "{!s:.3}".format("abcdef"))
print(format(1234.5, ",.2f"), format("a", ">3"), format(True), format(1e100, ".3g"), format(float("nan"), "+"), format(-0.0, ".0f"))
#### Strings are taken apart
s = "  The quick, brown fox; jumps\tover  the lazy dog.\n"
print(s.split(), s.strip().partition(", "), s.rpartition(" "), s.split(" ", 2), s.rsplit(None, 1), s.splitlines(True))
print("a,b,,c".split(","), "".split(), "".split(","), "abc".split("b"), "a1b2".isalnum(), "½".isnumeric(), "²".isdigit(), "٣".isdecimal())
print("hello world".title(), "it's".title(), "ABC".casefold(), "ß".upper(), "straße".casefold(), "hELLO".capitalize(), "aB".swapcase())
print("x".join("abc"), "abc".center(9, "-"), "42".zfill(5), "-42".zfill(5), "abc".ljust(5) + "|", "\t".expandtabs(4) + "|", "abcabc".replace("b", "X", 1))
print("abcabc".find("c"), "abcabc".rfind("c"), "abcabc".count("bc"), "abc".index("c"), "abc".startswith(("x", "ab")), "abc".endswith("bc", 1), "abc".removeprefix("ab"), "abc".removesuffix("bc"))
print("abc" < "abd", "Z" < "a", max("abc"), sorted("hello"), list(reversed("abc")), "abc"[::-1], "abc"[-2:], "a" * 3, "b" in "abc", ord("é"), chr(233), "é".encode(), b"\xc3\xa9".decode())
table = str.maketrans({"a": "1", "b": None, ord("c"): "33"})
print("abcabc".translate(table), "abc".translate(str.maketrans("ab", "xy", "c")), ascii("é☕"), repr("a'b\"c\n\x00\u200b"), "a\\b")
print("abc".isidentifier(), "1a".isidentifier(), "class".isidentifier(), "Abc".istitle(), " ".isspace(), "".isspace(), "abc".isascii(), "é".isascii(), "\x00".isprintable())
#### Regular expressions
import re
t = "2024-01-05: loss=0.125 (step 10), 2024-02-06: loss=1e-3 (step 200)"
print(re.findall(r"(\d{4})-(\d\d)", t), re.findall(r"loss=([\d.e+-]+)", t), [m.span() for m in re.finditer(r"step (?P<n>\d+)", t)])
m = re.search(r"(?P<y>\d+)-(?P<m>\d+)", t)
print(m.group(0), m.group("y", "m"), m.groupdict(), m.start("m"), m[1], m.groups(), m.lastgroup, m.expand(r"\g<m>/\1"))
print(re.sub(r"(\d+)", lambda m: f"<{int(m[1]) + 1}>", "a1b22"), re.sub(r"\s+", " ", "a  b \n c"), re.subn("a", "b", "aaa", count=2), re.split(r"([,;])", "a,b;c"))
print(re.match("b", "abc"), re.fullmatch(r"\w+", "abc").group(), re.compile(r"^\s*#.*$", re.M).findall("x\n # y\n#z"), re.escape("a.b*c"), bool(re.search("A", "a", re.I)))
print(re.sub(r"(?<=a)b", "X", "ab cb"), re.findall(r"(?:ab)+", "ababab ab"), re.findall(r"\bfoo\b", "foo food foo"), re.split(r"\W+", "a, b. c"), re.findall(r"(a)|(b)", "ab"))
print(re.sub(r"\b(\w)(\w*)\b", lambda m: m[1].upper() + m[2], "hello big world"), re.findall(r"[^\W\d_]+", "abc_1é2"), re.search(r"(\w)\1", "hello").group(), re.findall("a{2,3}?", "aaaaa"))
try:
    re.compile("(")
except re.error as error:
    print(type(error).__name__)
#### Sorting with keys
from operator import itemgetter, attrgetter
from functools import cmp_to_key
rows = [("b", 2, 1.5), ("a", 2, 0.5), ("c", 1, 2.5), ("a", 1, 1.0)]
print(sorted(rows), sorted(rows, key=itemgetter(1, 0)), sorted(rows, key=lambda r: (-r[1], r[0])), sorted(rows, key=lambda r: r[2], reverse=True))
print(sorted(rows, key=cmp_to_key(lambda a, b: b[1] - a[1] or (a[0] > b[0]) - (a[0] < b[0]))), max(rows, key=itemgetter(2)), min(rows, key=lambda r: r[1]), sorted({3: "x", 1: "y"}), sorted("bA c", key=str.lower))
a = [3, 1, 2]
a.sort(reverse=True)
print(a, sorted([0.5, float("inf"), -1]), sorted([True, 2, 0]), sorted([[2, 1], [2], [1, 9]]), sorted(set("banana"), key="nab".index))
try:
    sorted([1, "a"])
except TypeError as error:
    print(error)
#### Whole numbers
print(7 // 2, -7 // 2, 7 % -3, -7 % 3, divmod(-7, 3), 2 ** 10, 2 ** -1, (-2) ** 3, 0 ** 0, 10 ** 20, pow(3, 4, 5), pow(3, -1, 7), ~5, 5 & 3, 5 | 3, 5 ^ 3, 1 << 70, -1 >> 3)
print(int("0x1f", 16), int("101", 2), int("z", 36), int(" 12 "), int("1_000"), int(-3.9), int("0b11", 0), (255).bit_length(), (255).to_bytes(2, "big"), int.from_bytes(b"\x01\x00", "little"), (10).bit_count())
print(round(2.5), round(3.5), round(-2.5), round(2.675, 2), round(1234, -2), round(1e16 + 1), round(0.5), round(1.5, 0), abs(-3), hash(5) == 5, True + True, isinstance(True, int), 10 ** 30 // 7, -(10 ** 30) % 7, 10 ** 30 / 3)
print(hex(255), oct(8), bin(5), bin(-5), 1_000, 0xFF, 0b11, int(1e18), float(10 ** 17), 2 ** 63, -2 ** 63, 2 ** 64 - 1, (2 ** 64) >> 3, 3 .__class__.__name__, (5).__add__(3), 7 .real)
import math
print(math.gcd(12, 18), math.lcm(4, 6), math.comb(5, 2), math.perm(5, 2), math.factorial(20), math.isqrt(99), math.prod([1, 2, 3]), math.trunc(-2.7), math.floor(-2.5), math.ceil(-2.5), math.copysign(3, -0.0))
for text in ["x", "", "1.5", None, [], "0x"]:
    try:
        print(int(text))
    except Exception as error:
        print(type(error).__name__, error)
#### Floating point
print(0.1 + 0.2, 1 / 3, 1e16, 1e-5, 0.0001, 1e15, 123456789012345680.0, 5e-324, 1.7976931348623157e308, -0.0, float("1e400"), float("-inf"), float("nan"), 100.0, 1e22, 1e21)
print(1.0 == 1, 0.1 + 0.2 == 0.3, float("nan") == float("nan"), 7.5 // 2, -7.5 // 2, 7.5 % -2, divmod(7.5, 2), 2 ** 0.5, (-8) ** (1 / 3), 1e308 * 10, 0.5.as_integer_ratio(), (0.1).hex(), float.fromhex("0x1p-2"), (2.0).is_integer())
import math
print(math.inf - math.inf, math.fsum([0.1] * 10), sum([0.1] * 10), math.hypot(3, 4), math.log(8, 2), math.log2(8), math.log1p(1e-10), math.exp(1), math.isclose(1e-9, 0), math.nan, math.modf(2.5), math.frexp(8.0), math.ldexp(0.5, 4), math.fmod(-7, 3), math.remainder(7, 4), math.ulp(1.0), math.nextafter(1, 2), math.dist([1, 2], [4, 6]), math.degrees(math.pi), math.erf(0.5), math.gamma(5), math.tau)
for f in [lambda: 1 / 0, lambda: 1.0 // 0, lambda: 1 % 0, lambda: math.sqrt(-1), lambda: math.log(0), lambda: 0.0 ** -1, lambda: math.exp(1000), lambda: int(float("inf")), lambda: int(float("nan")), lambda: 2.0 ** 10000, lambda: math.factorial(-1)]:
    try:
        print(f())
    except Exception as error:
        print(type(error).__name__, error)
print((1 + 2j) * (3 - 1j), abs(3 + 4j), (1 + 2j).conjugate(), complex("1+2j"), (1j) ** 2, -1j, 1e300 * 1j, complex(1, -0.0), (2 + 0j) == 2)
#### Lists and slices
a = list(range(10))
print(a[2:8:3], a[::-2], a[-3:], a[10:], a[5:2], a[slice(None, None, 4)], a[:-11:-1])
a[2:5] = ["x"]; print(a)
a[::3] = [0] * 3; print(a)
del a[1::2]; print(a)
a.insert(1, "i"); a.insert(-100, "f"); a.insert(100, "l"); print(a, a.index("i"), a.count(0), a.pop(), a.pop(0), a.pop(-1))
b = a; b += [1]; print(a is b, a); b = b + [2]; print(a is b, a == b, a < b, [1, 2] < [1, 3], [] < [0], [1] * 3, 2 * [0], [[]] * 2)
c = [[0] * 2] * 2; c[0][0] = 1; print(c, [*range(3), *"ab"], [1, 2, 3].__contains__(2), a.copy() == a, a.reverse(), a, a.clear(), a)
first, *middle, last = range(5); print(first, middle, last)
(x, y), z = (1, 2), 3; print(x, y, z)
x, y = y, x; print(x, y)
for f in [lambda: [][0], lambda: [1].index(2), lambda: [1].remove(2), lambda: [].pop(), lambda: [1, 2][1.0], lambda: [1] + (2,), lambda: list(3)]:
    try:
        print(f())
    except Exception as error:
        print(type(error).__name__, error)
#### Dictionaries and sets
d = {"b": 1, "a": 2}
d["c"] = 3; d.update(a=5, z=6); d |= {"q": 7}
print(d, list(d), d.get("x"), d.get("x", 0), d.pop("b"), d.pop("nope", None), d.setdefault("n", []), d.popitem(), {**d, "a": 0}, d | {"a": 1}, d.items() & {("a", 5)}, sorted(d.keys() - {"a"}), "a" in d, len(d))
print({k: v for k, v in sorted(d.items(), key=lambda kv: -kv[1])}, dict(zip("ab", [1, 2])), dict([("x", 1)], y=2), dict.fromkeys("ab", 0), {1: "a", 1.0: "b", True: "c"}, list(reversed(d)), next(iter(d)))
s = {3, 1, 2}
print(s | {5} == {1, 2, 3, 5}, s & {1, 9}, s - {1}, s ^ {1, 7}, s <= {1, 2, 3, 4}, s.isdisjoint({9}), frozenset([1, 2]) == {1, 2}, len(set("hello")), {1, 2} < {1, 2}, sorted(s.union([7], [8])), set() , frozenset())
from collections import Counter, defaultdict, OrderedDict, deque, ChainMap
c = Counter("mississippi")
print(c.most_common(2), c["z"], c - Counter("ss"), c + Counter("m"), sum(c.values()), sorted(c.elements())[:3], c & Counter("sip"), Counter(a=1) == {"a": 1}, c.total())
g = defaultdict(lambda: defaultdict(int)); g["a"]["b"] += 1; print({k: dict(v) for k, v in g.items()}, g.keys(), len(g["new"]), list(g))
o = OrderedDict(a=1, b=2); o.move_to_end("a"); print(o, list(o), o.popitem(last=False), o == {"a": 1})
q = deque([1, 2, 3], maxlen=3); q.append(4); q.appendleft(0); q.rotate(1); print(q, q[0], list(q), q.maxlen, deque("ab") + deque("c"))
m = ChainMap({"a": 1}, {"a": 2, "b": 3}); print(m["a"], m["b"], dict(m), len(m))
for f in [lambda: d["nope"], lambda: {}.popitem(), lambda: {[]: 1}, lambda: set([[]]), lambda: dict(3), lambda: {1}.remove(2), lambda: dict([(1, 2, 3)])]:
    try:
        print(f())
    except Exception as error:
        print(type(error).__name__, error)
#### Scopes, closures and generators
x = "outer"
print([x for x in range(3)], x, {x: x for x in "ab"}, [y := 5, y ** 2], y, [(i, j) for i in range(3) for j in range(i)], [[i * j for j in range(3)] for i in range(2)])
fs = [lambda i=i: i for i in range(3)]; gs = [lambda: i for i in range(3)]
print([f() for f in fs], [g() for g in gs])
def counter():
    n = 0
    def up(by=1):
        nonlocal n
        n += by
        return n
    return up
a, b = counter(), counter(); print(a(), a(5), b(), a.__name__, a.__qualname__)
def gen(n):
    try:
        for i in range(n):
            got = yield i
            if got:
                print("got", got)
        return "done"
    finally:
        print("closed")
g = gen(3); print(next(g), g.send("hi"), list(g))
def outer():
    result = yield from gen(2)
    print("result", result)
    yield "end"
print(list(outer()))
g = gen(3); next(g); g.close()
g = gen(2); next(g)
try:
    g.throw(ValueError("in"))
except ValueError as error:
    print("out", error)
try:
    next(iter([]))
except StopIteration as stop:
    print("stop", stop.value)
total = 0
def add(k):
    global total
    total += k
    return total
print(add(2), add(3), total, (lambda *a, k=1, **kw: (a, k, kw))(1, 2, z=3), sum(i for i in range(5) if i % 2), any(i > 3 for i in range(5)), all([]), max((3, 1), (2, 9)), max([], default=None))
try:
    print(undefined)
except NameError as error:
    print(error)
def early():
    print(late)
    late = 1
try:
    early()
except UnboundLocalError as error:
    print(error)
def defaults(a, b=[], /, c=2, *, d): b.append(a); return b, c, d
print(defaults(1, d=0), defaults(2, d=0, c=5))
for call in [lambda: defaults(), lambda: defaults(1), lambda: defaults(1, 2, 3, 4, d=5), lambda: defaults(a=1, d=2), lambda: defaults(1, d=1, e=2), lambda: (lambda: 0)(1), lambda: counter(1)]:
    try:
        call()
    except TypeError as error:
        print(error)
#### Classes
class Base:
    registry = []
    count: int = 0
    def __init_subclass__(cls, tag=None, **kw):
        super().__init_subclass__(**kw)
        cls.tag = tag
        Base.registry.append(cls.__name__)
    def __init__(self, n): self.n = n
    def __repr__(self): return f"{type(self).__name__}({self.n!r})"
    def __eq__(self, other): return isinstance(other, Base) and self.n == other.n
    def __hash__(self): return hash(self.n)
    def __lt__(self, other): return self.n < other.n
    def __add__(self, other): return type(self)(self.n + (other.n if isinstance(other, Base) else other))
    __radd__ = __add__
    def __getitem__(self, k): return (self.n, k)
    def __len__(self): return self.n
    def __bool__(self): return self.n > 1
    def __call__(self, *a): return a
    def __iter__(self): return iter(range(self.n))
    def __contains__(self, x): return x == self.n
    def __enter__(self): print("enter"); return self
    def __exit__(self, kind, value, trace): print("exit", kind and kind.__name__, value); return kind is KeyError
    def __format__(self, spec): return f"<{self.n}:{spec}>"
    def __getattr__(self, name):
        if name.startswith("get_"): return lambda: (name[4:], self.n)
        raise AttributeError(f"no {name}")
class Child(Base, tag="t"):
    @property
    def double(self): return self.n * 2
    @double.setter
    def double(self, v): self.n = v // 2
    @classmethod
    def make(cls, *a): return cls(sum(a))
    @staticmethod
    def helper(x): return x + 1
    def __repr__(self): return "C" + super().__repr__()
c = Child.make(1, 2)
print(c, c.double, c.tag, Base.registry, c + 1, 1 + c, sum([c, c]), sorted([Child(3), Base(1)]), c[1:2], c["a", ...], len(c), bool(Child(1)), c(1, 2), list(c), 3 in c, f"{c:>5}", c.get_x(), c == Base(3), len({c, Base(3)}), Child.helper(1), Child.__mro__[1].__name__, isinstance(c, Base), issubclass(Child, Base))
c.double = 10; print(c.n, vars(c), hasattr(c, "nope"), getattr(c, "nope", 5), type(c).__name__, c.__class__.__bases__[0].__name__, Child.__name__, callable(c))
with c as k: raise KeyError("swallowed")
try:
    with c: raise ValueError("kept")
except ValueError as error: print("caught", error)
try:
    c.missing
except AttributeError as error: print(error)
try:
    Child.make("a")
except TypeError as error: print(error)
class A:
    def who(self): return "A"
class B(A):
    def who(self): return "B" + super().who()
class C(A):
    def who(self): return "C" + super().who()
class D(B, C):
    def who(self): return "D" + super().who()
print(D().who(), [k.__name__ for k in D.__mro__])
class Slotted:
    __slots__ = ("a",)
s = Slotted(); s.a = 1
try:
    s.b = 2
except AttributeError as error: print(error)
class Meta:
    def __class_getitem__(cls, k): return (cls.__name__, k)
    def __set_name__(self, owner, name): print("named", name, owner.__name__)
class Owner:
    field = Meta()
print(Meta[int], Owner.field.__class__.__name__)
#### Data classes, enumerations and named tuples
from dataclasses import dataclass, field, fields, asdict, astuple, replace
from enum import Enum, IntEnum, Flag, auto
from typing import NamedTuple
@dataclass(order=True)
class P:
    x: int
    y: float = 0.5
    tags: list = field(default_factory=list, compare=False, repr=False)
    def __post_init__(self): self.sum = self.x + self.y
p = P(1, tags=["a"])
print(p, p == P(1), P(1) < P(2), asdict(p), astuple(p), replace(p, x=5), [f.name for f in fields(P)], p.sum, P.__match_args__)
@dataclass(frozen=True, slots=True, kw_only=True)
class Q:
    a: int = 1
try:
    Q().a = 2
except Exception as error: print(type(error).__name__, error)
try:
    P()
except TypeError as error: print(error)
print(hash(Q(a=3)) == hash(Q(a=3)), Q())
class Color(Enum):
    RED = 1
    GREEN = auto()
    ALIAS = 1
    def shout(self): return self.name + "!"
print(Color.RED, repr(Color.GREEN), Color(2), Color["RED"].value, list(Color), Color.ALIAS is Color.RED, Color.RED.shout(), Color.RED in Color, len(Color), {Color.RED: 1}, isinstance(Color.RED, Color), Color.__members__.keys())
class N(IntEnum):
    ONE = 1
    TWO = 2
print(N.ONE + 1, N.TWO > N.ONE, sorted([N.TWO, N.ONE]), N(1), f"{N.ONE}", [10, 20][N.ONE])
class F(Flag):
    A = auto()
    B = auto()
print(F.A | F.B, F.A in (F.A | F.B), F(3), F.A & F.B, bool(F.A & F.B))
try:
    Color(9)
except ValueError as error: print(error)
class T(NamedTuple):
    a: int
    b: str = "z"
t = T(1)
a, b = t
print(t, t._replace(a=3), t._asdict(), t == (1, "z"), t[0], T._fields, a, b, t + (5,), len(t), T(*[7, "q"]))
#### Exceptions
def nested():
    try:
        try:
            {}["a"]
        except KeyError as error:
            raise ValueError("second") from error
        finally:
            print("inner")
    except ValueError as error:
        print(repr(error), repr(error.__cause__), error.__suppress_context__, error.args)
        raise
try:
    nested()
except Exception as error:
    print("outer", error)
try:
    try:
        1 / 0
    except ZeroDivisionError:
        undefined
except NameError as error:
    print(repr(error.__context__), error.__cause__)
def order():
    for i in range(3):
        try:
            if i == 1: continue
            if i == 2: break
            print("try", i)
        except Exception: pass
        else: print("else", i)
        finally: print("finally", i)
    else: print("no break")
    try: return "a"
    finally: print("last")
print(order())
class E(Exception):
    def __init__(self, code, msg="m"): self.code = code; super().__init__(f"{code}: {msg}")
try: raise E(3)
except (KeyError, E) as e: print(e, e.code, e.args, repr(e))
try: assert 1 > 2, "not more"
except AssertionError as e: print(e)
try: raise KeyError("k")
except LookupError as e: print(str(e), e.args)
e = ValueError("n"); e.add_note("note"); print(e.__notes__)
try: raise StopIteration(5)
except StopIteration as s: print(s.value)
def g(): raise StopIteration("x"); yield
try: next(g())
except RuntimeError as e: print(e)
try: raise 5
except TypeError as e: print(e)
for f in [lambda: "a" + 1, lambda: 1 + "a", lambda: None + 1, lambda: [] < 3, lambda: len(5), lambda: "a"["b"], lambda: (1).x, lambda: None(), lambda: int("q"), lambda: [1][5], lambda: "abc".index("z"), lambda: float("x"), lambda: chr(-1), lambda: range(1, 2, 0), lambda: abs("a"), lambda: iter(3), lambda: (1, 2) + [3], lambda: {}.x, lambda: "%d" % "a", lambda: "{}".format(), lambda: "a" * "b", lambda: -"a", lambda: hash([]), lambda: isinstance(1, 2), lambda: max([]), lambda: sum(["a"]), lambda: divmod(1, 0), lambda: dict(a=1)["b"], lambda: (lambda x: x)(), lambda: open]:
    try: print(f() is not None)
    except Exception as e: print(type(e).__name__, e)
#### Iteration tools
import itertools as it, functools as ft, operator as op
print(list(it.chain([1], "ab")), list(it.islice(it.count(5, 2), 3)), list(it.product("ab", repeat=2))[:3], list(it.permutations(range(3), 2))[:3], list(it.combinations("abc", 2)), list(it.combinations_with_replacement("ab", 2)), list(it.accumulate([1, 2, 3], op.mul, initial=1)), list(it.starmap(pow, [(2, 3), (3, 2)])), list(it.takewhile(lambda x: x < 3, range(9))), list(it.dropwhile(lambda x: x < 3, range(5))), list(it.compress("abc", [1, 0, 1])), list(it.zip_longest("ab", "c", fillvalue="-")), list(it.pairwise("abc")), list(it.filterfalse(None, [0, 1])), [list(g) for k, g in it.groupby("aabc")], list(it.repeat(1, 2)))
a, b = it.tee(iter([1, 2])); print(list(a), list(b), list(zip("ab", [1, 2], strict=True)), list(enumerate("ab", 1)), list(map(lambda a, b: a + b, [1, 2], [3, 4])), list(filter(None, [0, "", 1])), dict(enumerate("a")))
print(ft.reduce(lambda a, b: a * b, [1, 2, 3], 10), ft.partial(int, base=2)("11"), ft.partial(print, "x", sep="-").args)
@ft.lru_cache(maxsize=None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
print(fib(50), fib.cache_info().hits > 0)
@ft.wraps(fib)
def wrapped(*a): return fib(*a)
print(wrapped.__name__)
@ft.singledispatch
def kind(x): return "other"
@kind.register(int)
def _(x): return "int"
@kind.register(list)
def _(x): return "list"
print(kind(1), kind([]), kind("a"), kind(True))
class L:
    @ft.cached_property
    def v(self): print("once"); return 1
l = L(); print(l.v, l.v)
print(op.itemgetter(1, 0)("ab"), op.attrgetter("real")(3), op.methodcaller("upper")("a"), list(it.chain.from_iterable([[1], [2]])))
try: list(zip("ab", [1], strict=True))
except ValueError as e: print(e)
#### Matching
def kind(v):
    match v:
        case 0 | 1: return "bit"
        case int(n) if n < 0: return f"negative {n}"
        case float(): return "float"
        case "a" | "b" as s: return f"letter {s}"
        case str(): return "text"
        case []: return "empty"
        case [x]: return f"one {x}"
        case [x, *rest] if len(rest) > 2: return f"many {x} {rest}"
        case (x, y): return f"pair {x} {y}"
        case {"k": k, **rest}: return f"map {k} {rest}"
        case complex(real=r, imag=i): return f"complex {r} {i}"
        case None: return "none"
        case _: return "other"
for v in [0, True, -5, 2.0, "a", "zz", [], [1], [1, 2], (1, 2, 3, 4), {"k": 1, "z": 2}, 1 + 2j, None, {1}, [1, 2, 3], b"x", range(2)]: print(kind(v))
#### Bytes that change
b = bytearray(b"abc")
b += b"de"; b.append(102); b.extend(b"gh"); b.insert(0, 95)
print(b, len(b), b[0], b[1:3], bytes(b), b.decode(), b == b"_abcdefgh", b.find(b"c"), b.count(b"a"), 97 in b, b"bc" in b, list(b)[:2], b.upper(), b.split(b"d"), b.replace(b"a", b"A"), b.startswith(b"_"), b.hex(), b.index(100))
b[0] = 65; b[1:4] = b"X"; del b[-1]; print(b, b.pop(), b.pop(0), b)
b.reverse(); print(b, b * 2, b + b"!", bytearray(3), bytearray([1, 255]), bytearray("é", "utf-8"), bytearray(), bool(bytearray()), b.copy() is b, sorted(b), max(b), sum(b), [x for x in b], bytearray.fromhex("ff00"), b < b"z", repr(bytearray(b"\x00\"'")), isinstance(b, bytearray), isinstance(b, bytes), type(b).__name__)
b.clear(); print(b, b"".join([bytearray(b"a"), b"b"]), b"abc" + bytearray(b"d"), bytearray(b"a") + b"b", int.from_bytes(bytearray(b"\x01\x00"), "big"), bytearray(b"a,b").split(b","), bytearray(b" x ").strip())
b = bytearray(range(10)); b[::2] = bytes(5); print(b[::3], list(b), b.remove(1), len(b), reversed(b).__class__.__name__)
for f in [lambda: bytearray([256]), lambda: bytearray(b"a")[5], lambda: bytearray("a"), lambda: bytearray(-1), lambda: hash(bytearray()), lambda: bytearray(b"a").append(300), lambda: bytearray(b"a").append("a"), lambda: bytearray().pop(), lambda: bytearray(b"a").remove(1), lambda: bytearray(b"a") + "b", lambda: bytearray(b"ab").index(b"z"), lambda: b"a" + "b"]:
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
#### Tensors are printed
import torch
print(torch.tensor([1.0, 2.5, -3.25]), torch.tensor([[1, 2], [3, 4]]), torch.tensor(3.5), torch.tensor(7), torch.tensor([True, False]))
print(torch.tensor([1e-5, 1.0]), torch.tensor([1e10, 1.0]), torch.tensor([float("nan"), float("inf"), -1.0]), torch.tensor([0.1, 0.22, 0.333], dtype=torch.float64))
print(torch.arange(2000), torch.zeros(3, 0), torch.tensor([]), torch.arange(1200.0).view(30, 40))
print(torch.tensor([1.5]).half(), torch.tensor([1.5]).bfloat16(), torch.tensor([1 + 2j, -0.5j]), torch.arange(8).view(2, 2, 2), torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True) * 2, torch.nn.Parameter(torch.ones(1)))
print(torch.tensor([123456.789, 0.001]), torch.tensor([100000.0, 2.0]), torch.tensor([1e8]), torch.tensor([-0.0, 0.0]), torch.tensor([1, 10 ** 12]), torch.uint8, torch.tensor([255], dtype=torch.uint8), torch.Size([2, 3]), torch.device("cpu"), torch.zeros(2, 3).shape, torch.randn(2).dtype)
print(f"{torch.tensor(3.14159):.2f} {torch.tensor(5):d} {torch.tensor([1.5, 2])} {torch.tensor(2.0)!s:>14}", str(torch.tensor([1e-3])), repr(torch.tensor([[0.5]] * 2)), [torch.tensor(1), torch.tensor([2.0])], {"a": torch.tensor(1.0)})
print(torch.max(torch.tensor([1.0, 3.0]), 0), torch.topk(torch.tensor([1, 5, 3]), 2), torch.linalg.eigh(torch.eye(2)), torch.tensor([1.0]).sort())
#### Types of tensors come of types
import torch
i, f, b, h, d, c, u = torch.tensor([1, 2]), torch.tensor([1.5, 2]), torch.tensor([True, False]), torch.tensor([1.0, 2]).half(), torch.tensor([1.0, 2], dtype=torch.float64), torch.tensor([1j, 2]), torch.tensor([1, 2], dtype=torch.uint8)
kinds = dict(i=i, f=f, b=b, h=h, d=d, c=c, u=u, s=torch.tensor(3), r=torch.tensor(2.5))
for n, x in kinds.items():
    print(n, [str((x + y).dtype)[6:] for y in kinds.values()], (x * 2).dtype, (x * 2.5).dtype, (x + True).dtype, (x ** 2).dtype, x.sum().dtype)
print((i / 2).dtype, (i // 2).dtype, i / i, -7 // torch.tensor(2), torch.tensor(-7) % 3, torch.div(torch.tensor(-7), 2, rounding_mode="trunc"), torch.result_type(i, 2.5), torch.promote_types(torch.int8, torch.uint8), torch.can_cast(torch.float32, torch.int64), (b & b).dtype, (~b), (i > 1).dtype, (i == f), b.sum(), b.float().mean(), i.float().mean().dtype)
print(torch.tensor([1, 2.5]).dtype, torch.tensor([True, 2]).dtype, torch.tensor(1j).dtype, torch.arange(3.0).dtype, torch.arange(0, 1, 0.25), torch.full((2,), 3).dtype, torch.full((2,), 3.0).dtype, torch.linspace(0, 1, 5), torch.eye(2).dtype, torch.tensor(2 ** 40), torch.zeros(2).long().dtype, torch.tensor([1.9, -1.9]).int(), torch.tensor([300]).to(torch.uint8), torch.tensor(float("nan")).bool())
for g in [lambda: i.mean(), lambda: b - b, lambda: -b, lambda: i.sqrt_(), lambda: f @ i, lambda: torch.cat([f, i]).dtype, lambda: i.add_(1.5), lambda: f.index_select(0, f), lambda: f[f], lambda: torch.stack([f, f[:1]]), lambda: f.view(3), lambda: f + torch.ones(3), lambda: torch.tensor([[1], [1, 2]]), lambda: f.item(), lambda: f[5], lambda: bool(f), lambda: int(f), lambda: f.softmax(3), lambda: torch.zeros(2, 3) @ torch.zeros(2, 3), lambda: torch.tensor("a"), lambda: f.to("nope"), lambda: torch.zeros(-1), lambda: f.nope, lambda: f.sum(dim=5), lambda: torch.randint(5, 2, (2,)), lambda: len(torch.tensor(1)), lambda: iter(torch.tensor(1)), lambda: range(f[0]), lambda: torch.arange(0, 5, -1)]:
    try: print(g())
    except Exception as e: print(type(e).__name__, str(e).split("\n")[0][:160])
#### Tensors are indexed
import torch
x = torch.arange(24).view(2, 3, 4)
m = x > 10
print(x[1], x[:, 1], x[..., -1], x[0, [0, 2]], x[[0, 1], [1, 2]], x[:, None, 0].shape, x[m], x[torch.tensor([1, 0]), :, 1], x[0][m[0]], x[..., ::2], x[True].shape, x[:, [[0, 1], [1, 0]]].shape, x[0, -1, 1:3], x[1:1].shape)
y = x.clone(); y[m] = 0; y[0, :, 1] = torch.tensor([7, 8, 9]); y[[0, 1], 0, 0] = -1; y[..., -1] += 100; print(y)
y[:, 1] *= 2; y[0] = y[1]; y[y < 0] = 5; y[torch.tensor([True, False])] //= 3; print(y, y[0].tolist() == y[1].tolist())
z = torch.zeros(5); z[torch.tensor([0, 0, 1])] += 1; print(z, z.index_add(0, torch.tensor([0, 0]), torch.ones(2)), z.index_put((torch.tensor([3, 3]),), torch.tensor(2.0), accumulate=True))
print(torch.where(x > 20), torch.nonzero(x > 21), x.gather(2, x.argmax(2, keepdim=True)), torch.take_along_dim(x, x.argsort(-1, descending=True), -1)[0], x.masked_fill(m, -1)[1], x.unfold(2, 2, 2).shape, x.diagonal(dim1=1, dim2=2), x.flatten(1)[:, ::5], x.movedim(0, -1).shape, x.permute(2, 0, 1)[0], list(x.split([1, 2], 1))[1].shape, [c.shape for c in x.chunk(3, 2)], x.roll(1, -1)[0, 0], x.flip(0, 2)[0, 0], x.unbind(1)[0], x.repeat_interleave(2, 0).shape, x.T.shape if False else x.mT.shape)
a, b = x; print(a.shape, [r.sum().item() for r in a], {k: v for k, v in zip("ab", x.sum((1, 2)).tolist())}, 5 in x, x.tolist()[0][0], sum(x.flatten()[:3]), max(x.flatten()), sorted(x[0, 0], reverse=True)[0], list(map(int, x[0, 0])), len(x), x.numel(), x.size(-1), x.stride(), x[0].is_contiguous(), x.mT.is_contiguous())
#### Arrays are printed
import numpy as np
print(np.array([1.0, 2.5, -3.25]), np.array([[1, 2], [30, 4]]), np.array(3.5), np.array([True, False]), np.array([1e-10, 1.0]), np.array([1e10, 1]), np.arange(2000), np.zeros((2, 0)), np.array([np.nan, np.inf]), np.array([1 + 2j]))
print(repr(np.array([1.0, 2.0])), repr(np.array([1, 2], dtype=np.int32)), repr(np.array([1.5], dtype=np.float32)), repr(np.zeros((2, 2))), repr(np.float32(1.5)), repr(np.int64(3)), repr(np.bool_(True)), str(np.float64(0.1)), [np.float64(1.5), np.int64(2)], np.array([0.1, 0.123456789]), np.array([[1.5, np.nan]]), np.array([100000.0, 0.5]), np.linspace(0, 1, 4), np.array([]), repr(np.array([])), np.dtype("float32"), repr(np.dtype(int)), np.float32)
print(np.round(np.pi, 3), np.array([1.123456789]).round(2), f"{np.float32(1.5):.3f} {np.int64(5):03d} {np.array([1, 2])}", np.arange(12).reshape(3, 4), np.arange(8).reshape(2, 2, 2), np.array([1, -1]) / 0.5)
#### Types of arrays come of types
import numpy as np, warnings
warnings.simplefilter("ignore")
kinds = {"i8": np.array([1, 2], np.int8), "u8": np.array([1, 2], np.uint8), "i32": np.array([1, 2], np.int32), "i": np.array([1, 2]), "f16": np.array([1, 2], np.float16), "f": np.array([1, 2], np.float32), "d": np.array([1.0, 2]), "b": np.array([True, False]), "c": np.array([1j, 2])}
for n, x in kinds.items():
    print(n, [(x + y).dtype.name for y in kinds.values()], (x + 1).dtype, (x + 1.5).dtype, (x / 2).dtype, (x * True).dtype, x.sum().dtype, x.mean().dtype, np.sqrt(x).dtype if n != "b" else "", (x + np.float32(1)).dtype, (x + np.int64(1)).dtype)
print(np.array([1, 2]) // 0, np.array([1.0]) / 0, np.int64(7) // 2, np.float32(1) / 3, np.float32(0.1) + 0.2, np.float64(0.1) + 0.2, type(np.float32(1) * 2.0).__name__, type(np.int64(1) + 1).__name__, type(1 + np.int64(1)).__name__, type(np.float64(1) + 1).__name__, np.array([200], np.uint8) + 100 if False else "", np.array([200], np.uint8) + np.array([100], np.uint8), np.array([1.9]).astype(int), np.array([-1]).astype(np.uint8), np.result_type(np.int8, np.uint8), np.issubdtype(np.float32, np.floating), np.array([1, 2.5]).dtype, np.ones(2, bool).sum(), np.array([1, 2]).mean(), np.int64(5).item(), np.array([1, 2]) == np.array([1, 3]), (np.array([1, 2]) == np.array([1, 2])).all(), np.bool_(True) & False)
for g in [lambda: np.zeros(2) + np.zeros(3), lambda: np.zeros((2, 3)) @ np.zeros((2, 3)), lambda: np.zeros(2)[5], lambda: np.array([1, 2]).reshape(3), lambda: bool(np.array([1, 2])), lambda: np.concatenate([np.zeros(2), np.zeros((1, 2))]), lambda: np.linalg.inv(np.zeros((2, 2))), lambda: np.array([]).max(), lambda: np.zeros(2).nope, lambda: int(np.array([1, 2])), lambda: np.stack([np.zeros(2), np.zeros(3)]), lambda: np.zeros(2, "nope"), lambda: -np.array([True])]:
    try: print(g())
    except Exception as e: print(type(e).__name__, str(e)[:150])
#### Arrays are computed with
import numpy as np
a = np.arange(12.0).reshape(3, 4); rng = np.random.RandomState(3); r = rng.rand(4, 3)
print(a.sum(axis=1), a.mean(0), a.std(ddof=1), a.max(axis=1, keepdims=True).shape, a.argmax(1), np.percentile(a, [25, 50]), np.median(a), a.cumsum()[-1], a[:, a.sum(0) > 15], a[a > 9], a.T.shape, (a @ r).round(3), np.dot(a, r).shape, np.outer([1, 2], [3, 4]), np.where(a > 5, a, -1)[1], np.clip(a, 2, 5)[0], a.ravel()[::5], np.diff(a, axis=1)[0], np.sort([3, 1, 2]), np.argsort([3, 1, 2]), np.unique([3, 1, 3], return_counts=True), np.bincount([0, 1, 1]), np.histogram([1, 2, 2, 3], bins=2), np.searchsorted([1, 3, 5], 3), np.digitize([0.5, 2.5], [1, 2]))
print(np.concatenate([a[:1], a[1:2]]).shape, np.vstack([a[0], a[1]]).shape, np.hstack([a, a]).shape, np.stack([a, a], -1).shape, np.tile([1, 2], 2), np.repeat([1, 2], 2), np.split(np.arange(6), 3), np.einsum("ij,kj->ik", a, a).shape, np.linalg.norm(a, axis=1).round(4), round(np.linalg.det(np.eye(3) * 2), 6), np.trace(a[:, :3]), np.triu(a[:, :3]), np.allclose(a, a + 1e-9), np.array_equal(a, a), np.isnan([np.nan, 1]), np.nanmean([np.nan, 1]), np.meshgrid([1, 2], [3, 4])[0], np.indices((2, 2))[0], np.nonzero([0, 3]), np.argwhere(a > 9), np.flatnonzero([0, 1]), np.take(a, [0, 5]), np.roll([1, 2, 3], 1), np.flip([1, 2]), np.gradient([1.0, 4, 9]), np.interp(1.5, [1, 2], [10, 20]), np.cov(a[:2]).round(3), np.corrcoef(a[0], a[1]), np.polyfit([0, 1, 2], [1, 3, 5], 1).round(6), np.polyval([2, 1], 3), np.exp(1), np.log([1, np.e]), np.sign([-2, 0]), np.maximum([1, 5], 3), np.cross([1, 0, 0], [0, 1, 0]), np.kron([1, 2], [1, 1]), np.pad([1], 1), np.ptp(a), np.average([1, 2], weights=[3, 1]), np.count_nonzero(a), np.isin([1, 2], [2]), np.union1d([1], [2]), np.prod([2, 3]), np.logspace(0, 2, 3), np.squeeze(a[None]).shape, np.expand_dims(a, 0).shape, np.swapaxes(a, 0, 1).shape)
b = a.copy(); b[0, :] = -1; b[b > 8] *= 2; b[:, 1] += [1, 2, 3]; c = b.view(); c[2, 2] = 99; print(b, b.flags if False else "", b is not a, np.random.RandomState(0).randint(0, 10, 5), np.random.RandomState(0).normal(size=2), np.random.RandomState(1).permutation(5), np.random.default_rng(0).random(2), np.random.default_rng(0).integers(0, 10, 3))
rows = [tuple(row) for row in a.astype(int)]; print(rows[0], [x for x in a[0]], dict(zip("ab", a[0])), sum(a[0]), max(a[0]), list(a[0]) == a[0].tolist(), float(a[0, 1]), round(a[0, 1], 1), len(a), a.size, a.shape, a.ndim, 3.0 in a, a.tolist()[0], a.dtype == np.float64, a.dtype == "float64", isinstance(a[0, 0], float), isinstance(np.float32(1), float), isinstance(np.int64(1), int))
#### Tensors and arrays meet
import numpy as np, torch
t = torch.arange(4.0); n = t.numpy(); n[0] = 9; print(t, n, torch.from_numpy(n).data_ptr if False else "", type(n).__name__, n.dtype, torch.tensor(n).dtype, torch.as_tensor(n) is not t, np.array(t), np.asarray(t).dtype, torch.tensor(np.float32(1.5)), torch.tensor([np.int64(1), np.int64(2)]), t.bfloat16().float().numpy(), float(np.mean(t.numpy())), np.sum(t.tolist()), torch.from_numpy(np.arange(3)).dtype, torch.tensor(np.arange(3, dtype=np.int32)).dtype, t * np.float32(2), t[np.array([0, 1])], t[np.int64(1)], torch.zeros(np.int64(2)), np.allclose(t, t.numpy()), np.exp(t.numpy()).dtype, torch.from_numpy(np.ones((2, 2))).float().dtype, np.stack([t.numpy(), t.numpy()]).shape, torch.tensor([[1, 2]]).numpy().tolist(), np.argmax(t.numpy()), t.numpy().mean().item(), list(t.numpy()[:2]))
#### Text of standard modules
import json, math, textwrap, statistics, string, copy, pprint, datetime, fractions, decimal, random, bisect, heapq, operator, types, typing, inspect
print(json.dumps({"b": [1, 2.5, None, True], "a": "é\n"}), json.dumps({"x": {"y": []}}, indent=2), json.loads('{"a": [1, 2.0, "x", null]}'), json.dumps([1], separators=(",", ":")), json.dumps("é", ensure_ascii=False), json.dumps({1: 2}, sort_keys=True))
print(textwrap.dedent("  a\n   b"), textwrap.fill("a b c d e f g", 5), textwrap.shorten("hello big world", 11), textwrap.indent("a\nb", "> "), string.ascii_lowercase[:3], string.Template("$a ${b}").substitute(a=1, b=2), string.capwords("a bc"))
print(statistics.mean([1, 2, 4]), statistics.median([1, 3, 2, 4]), statistics.stdev([1, 2, 4]), statistics.mode("aab"), statistics.quantiles([1, 2, 3, 4], n=4), statistics.pvariance([1, 2]), fractions.Fraction(3, 6), fractions.Fraction("0.125") + 1, decimal.Decimal("0.1") + decimal.Decimal("0.2"), datetime.timedelta(hours=25), datetime.date(2024, 2, 28) + datetime.timedelta(2), datetime.datetime(2024, 1, 2, 3, 4).strftime("%Y-%m-%d %H:%M"))
random.seed(4); print(random.random(), random.randint(1, 10), random.choice("abc"), random.sample(range(10), 3), random.uniform(0, 1), random.shuffle(l := [1, 2, 3]), l, random.gauss(0, 1), random.choices("ab", k=3), random.Random(1).random())
h = [5, 1, 3]; heapq.heapify(h); heapq.heappush(h, 0); print(heapq.heappop(h), h, heapq.nlargest(2, h), heapq.nsmallest(1, h), bisect.bisect([1, 3], 2), bisect.insort(h, 4), h)
a = [[1], {"k": (2, [3])}]; b = copy.copy(a); c = copy.deepcopy(a); a[0].append(9); print(b, c, pprint.pformat({"a": list(range(30)), "b": {"c": 1}}, width=40), types.SimpleNamespace(a=1), inspect.signature(lambda a, b=1, *c, d, **e: 0), typing.Optional[int], typing.List[int], list[int], dict[str, int], int | None)
#### Objects describe themselves
class A:
    x = 1
    def f(self): pass
    @property
    def p(self): return 2
def g(a, b=1): "what g does"; return a
print(A, type(A), repr(A.f).split(" at ")[0], type(A().f).__name__, g.__doc__, g.__name__, g.__defaults__, g.__module__, A.__name__, A.__qualname__, A.__dict__["x"], sorted(n for n in dir(A()) if not n.startswith("_")), vars(A()), type(None), type(...), type(NotImplemented), type(lambda: 0).__name__, type(g), int, list, type(type), object, A.p.__class__.__name__, str(A()).split(" object")[0], len.__name__, print.__class__, [].append.__name__, type(1).__mro__, bool.__bases__, isinstance(A, type), issubclass(bool, int), callable(A), callable(A()), A().f.__func__ is A.f, A().f.__self__.__class__)
print(1 is 1, "a" is "a", None is None, [] is [], () is (), A() == A(), hash("a") == hash("a"), hash((1, 2)) == hash((1, 2)), hash(1) == hash(1.0) == hash(True), hash(-1), hash(2 ** 61 - 1), hash(0.5), hash(float("inf")), id(A) == id(A))
a = A(); a.y = 3; a.__dict__["z"] = 4; print(vars(a), a.z, "y" in a.__dict__, getattr(a, "q", None), setattr(a, "q", 1), a.q, delattr(a, "q"), hasattr(a, "q"))
print([1, [2, (3,)], {"a": {1}}, None, 1.0, "it's", 'q"', b"x", range(3), slice(1, 2), {}, (), frozenset()], {1: [2], "k": (A.x,)}, (1,), {"a"}, [[]], str([0.1, 1e100]), repr("\n\t\\"), [True, None, ...], {None: 1}, type({}.keys()), {1: 2}.items(), {1: 2}.values())
#### Special methods of every kind
class V:
    def __init__(self, *v): self.v = list(v)
    def __repr__(self): return f"V{tuple(self.v)}"
    def __add__(self, o): return V(*(a + b for a, b in zip(self.v, o.v))) if isinstance(o, V) else NotImplemented
    def __mul__(self, k): return V(*(a * k for a in self.v)) if isinstance(k, (int, float)) else NotImplemented
    __rmul__ = __mul__
    def __matmul__(self, o): return sum(a * b for a, b in zip(self.v, o.v))
    def __neg__(self): return self * -1
    def __abs__(self): return sum(a * a for a in self.v) ** 0.5
    def __iadd__(self, o): self.v = [a + b for a, b in zip(self.v, o.v)]; return self
    def __getitem__(self, i): return self.v[i]
    def __setitem__(self, i, x): self.v[i] = x
    def __delitem__(self, i): del self.v[i]
    def __len__(self): return len(self.v)
    def __contains__(self, x): return x in self.v
    def __reversed__(self): return iter(self.v[::-1])
    def __eq__(self, o): return isinstance(o, V) and self.v == o.v
    def __round__(self, n=None): return V(*(round(a, n) for a in self.v))
    def __divmod__(self, k): return divmod(self.v[0], k)
    def __pow__(self, k, m=None): return ("pow", k, m)
    def __floordiv__(self, k): return V(*(a // k for a in self.v))
    def __invert__(self): return "inv"
    def __lshift__(self, k): return ("<<", k)
    def __rsub__(self, k): return ("rsub", k)
    def __index__(self): return int(self.v[0])
    def __float__(self): return float(self.v[0])
    def __complex__(self): return complex(*self.v[:2])
    def __bytes__(self): return bytes(self.v)
    def __copy__(self): return "copied"
    def __missing__(self, k): return k
    def __dir__(self): return ["d"]
    def __sizeof__(self): return 1
    def __length_hint__(self): return 3
    def __trunc__(self): return 7
    def __ceil__(self): return 8
    def __floor__(self): return 9
import math, copy
a, b = V(1, 2), V(3, 4)
print(a + b, a * 2, 2 * a, a @ b, -a, abs(b), a == V(1, 2), a != b, 2 in a, list(reversed(a)), len(a), a[0], a[-1:], list(a), [*a], round(V(1.26), 1), divmod(a, 2), a ** 2, pow(a, 2, 3), b // 2, ~a, a << 1, 5 - a, [10, 20, 30][a], float(a), complex(a), bytes(a), copy.copy(a), hex(b), range(5)[b], math.trunc(a), math.ceil(a), math.floor(a), dir(a), max(a, b, key=abs), sum([a, b], V(0, 0)), bool(V()), a.__len__(), V.__add__(a, b))
a += b; a[0] = 9; del a[1]; print(a)
for f in [lambda: a + 1, lambda: "x" * a if False else "x" + a, lambda: a < b, lambda: hash(a), lambda: a("x"), lambda: a - 1, lambda: 1 + a]:
    try: print(f())
    except TypeError as e: print(e)
class D:
    def __get__(self, o, t=None): return ("get", o is None)
    def __set__(self, o, v): o.__dict__["_d"] = v
    def __delete__(self, o): print("deleted")
class H: d = D()
h = H(); h.d = 5; print(h.d, H.d, h._d); del h.d
class G:
    def __getattribute__(self, n): return n.upper() if n != "real" else object.__getattribute__(self, "x")
    x = 1
print(G().abc, G().real)
class S:
    def __setattr__(self, n, v): object.__setattr__(self, n, v * 2)
    def __delattr__(self, n): print("del", n)
s = S(); s.a = 2; print(s.a); del s.a
class New:
    made = []
    def __new__(cls, v): New.made.append(v); return super().__new__(cls) if v else 5
    def __init__(self, v): self.v = v
print(New(1).v, New(0), New.made)
class I(int):
    def __add__(self, o): return I(int(self) + int(o) + 100)
class L(list):
    def last(self): return self[-1]
class DD(dict):
    def __missing__(self, k): return k * 2
class ST(str):
    def shout(self): return self.upper() + "!"
class T(tuple):
    def __new__(cls, *a): return super().__new__(cls, a)
class E2(ValueError): pass
print(I(1) + 2, I(3) * 2, type(I(1) + 1).__name__, L([1, 2]).last(), L([1]) + [2], len(L("ab")), DD(a=1)["b"], DD(a=1).get("b"), ST("a").shout(), ST("x") + "y", type(ST("a")[0]).__name__, T(1, 2), T(1)[0], isinstance(I(1), int), sorted(L([2, 1])), f"{I(5):03d}", {ST("a"): 1}["a"], E2("m").args, issubclass(E2, Exception))
#### Abstract and generic classes
from abc import ABC, abstractmethod
from typing import Generic, TypeVar, Protocol, runtime_checkable, Any, Union, Optional, Callable, Literal, TypedDict, cast
import typing, functools, contextlib
class Shape(ABC):
    @abstractmethod
    def area(self): ...
    @property
    @abstractmethod
    def name(self): ...
    def describe(self): return f"{self.name}: {self.area()}"
class Sq(Shape):
    def __init__(self, s): self.s = s
    def area(self): return self.s ** 2
    name = "square"
print(Sq(2).describe(), isinstance(Sq(1), Shape))
try: Shape()
except TypeError as e: print(e)
Tv = TypeVar("Tv")
class Box(Generic[Tv]):
    def __init__(self, v: Tv): self.v = v
print(Box[int](3).v, Box(2).v)
@runtime_checkable
class Has(Protocol):
    def area(self): ...
print(isinstance(Sq(1), Has), isinstance(1, Has))
class TD(TypedDict):
    a: int
print(TD(a=1), Optional[int], Union[int, str], Callable[[int], str], Literal["a"], list[int], dict[str, list[int]], int | str, Any, cast(int, "x"), typing.List[int], tuple[int, ...])
def f(a: int, b: "str" = "x") -> list[int]: ...
@functools.total_ordering
class Ver:
    def __init__(self, n): self.n = n
    def __eq__(self, o): return self.n == o.n
    def __lt__(self, o): return self.n < o.n
print(Ver(1) <= Ver(2), Ver(3) > Ver(2), max(Ver(1), Ver(5)).n)
@contextlib.contextmanager
def tag(n):
    print("<", n)
    try: yield n * 2
    except ValueError as e: print("swallowed", e)
    finally: print(">", n)
with tag("a") as x, tag("b") as y: print(x, y)
with tag("c"): raise ValueError("v")
with contextlib.ExitStack() as st:
    print([st.enter_context(tag(i)) for i in range(2)]); st.callback(print, "called")
with contextlib.suppress(KeyError): {}["x"]
with contextlib.nullcontext(5) as n: print(n)
#### Data classes with options
from dataclasses import dataclass, field, InitVar, KW_ONLY, fields, is_dataclass, make_dataclass
from typing import ClassVar
from enum import Enum, StrEnum, unique, Flag, auto, nonmember
@dataclass
class B:
    a: int
    n: ClassVar[int] = 7
    i: InitVar[int] = 3
    out: list = field(init=False, default_factory=list)
    _: KW_ONLY
    k: str = "k"
    def __post_init__(self, i): self.out.append(i)
@dataclass
class C(B):
    z: float = field(default=1.5, metadata={"unit": "m"}, hash=False)
    def total(self): return self.a + self.z
c = C(1, 9, z=2.0, k="q")
print(c, c.out, C.n, c.total(), [f.name for f in fields(C)], fields(C)[-1].metadata["unit"] if fields(C)[-1].metadata else [dict(f.metadata) for f in fields(C)], is_dataclass(c), c == C(1, 9, z=2.0, k="q"), B.__match_args__)
M = make_dataclass("M", ["x", ("y", int, 5)]); print(M(1), M(1).y)
match c:
    case C(a=1, z=zz): print("matched", zz)
@dataclass(eq=False)
class NE: x: int
print(NE(1) == NE(1), NE(1) != NE(1))
@dataclass(order=True, unsafe_hash=True)
class O: x: int; y: str = field(default="", compare=False)
print(sorted([O(2), O(1)]), {O(1): 1}[O(1, "z")], O(1) < O(2))
for bad in ["@dataclass\nclass X:\n    a: list = []", "@dataclass\nclass X:\n    a: int = 1\n    b: int"]:
    pass
@unique
class P(Enum):
    A = 1
    B = 2
    @classmethod
    def _missing_(cls, v): return cls.A if v == "first" else None
    @property
    def nice(self): return self.name.lower()
    def __str__(self): return f"<{self.name}>"
print(P("first"), P.B.nice, f"{P.A}", repr(P.A), P.A == 1, P.A < P.B if False else "", list(P), [p.value for p in P], P["B"], P.A.name, P.A in P, hash(P.A) == hash(P.A), {P.A: 1}[P.A])
class SE(StrEnum):
    LEFT = auto()
    RIGHT = "r"
print(SE.LEFT, SE.RIGHT + "x", SE.LEFT == "left", SE("r"), f"{SE.LEFT:>6}")
class Perm(Flag):
    R = auto(); W = auto(); X = auto()
    RW = R | W
print(Perm.RW, Perm.R in Perm.RW, Perm.RW & ~Perm.R, list(Perm.RW), Perm.RW.value, Perm(0), bool(Perm(0)), Perm.R ^ Perm.RW)
class Planet(Enum):
    EARTH = (5.97e24, 6.37e6)
    def __init__(self, mass, radius): self.mass, self.radius = mass, radius
    @property
    def g(self): return 6.67e-11 * self.mass / self.radius ** 2
print(Planet.EARTH.mass, round(Planet.EARTH.g, 2), Planet.EARTH.value)
E = Enum("E", "A B"); print(list(E), E.A.value)
try: P(9)
except ValueError as e: print(e)
try: P.A = 5
except AttributeError as e: print(e)
try: O("x").nope
except AttributeError as e: print(e)
#### Tensors in Python's own functions
import torch
x = torch.tensor([3.0, 1.0, 2.0])
print(sum(x), max(x), min(x), sorted(x), list(map(float, x)), [v.item() for v in x], dict(enumerate(x.tolist())), any(x > 2), all(x > 0), abs(-x), round(x.mean().item(), 2), len(x), reversed(x), x.tolist()[::-1], float(x[0]), int(x[1]), bool(x[1]), str(x[0].item()), list(zip(x, [1, 2]))[0], x[0] in x, pow(x, 2), x == 3, x[0] == 3, (x > 1).sum() == 2, [*x][1], {x[0].item(): 1}, "%.1f" % x[0], f"{x[0]:.1f}", "{:.2f}".format(x[0].item()), x.numpy().tolist(), 2 ** x, 2 / x, 7 // x, 7 % x, -x, ~(x > 1), x @ x, x.sum().item() == 6, isinstance(x, torch.Tensor), type(x), x.shape == (3,), x.shape[0] == 3, tuple(x.shape), list(x.shape), x.size(), torch.Size([1]) + (2,), x.dim(), x.ndim, x.nelement(), x.element_size(), x.dtype is torch.float32, x.device, x.requires_grad, x.is_leaf, x.grad, hash(x) == hash(x), x is x, id(x) == id(x), not x[1] - 1)
i = torch.tensor([2, 0, 1])
print(x[i], x[i.tolist()], [10, 20, 30][i[0]], range(i[0])[-1], "abc"[i[1]], list(range(3))[i[0].item()], x[i[0]], i.tolist(), i[0] + 1, i[0] // 2, i.float().mean(), 5 - i, i / 2, i ** 2, i.sum(), i.max(), [0] * torch.tensor(2), i.bool(), i & 1, i << 1, i.unique(), i.argsort(), i.bincount())
def gen():
    for v in x: yield v * 2
print(list(gen()), torch.stack(list(gen())), torch.tensor([v for v in x]), torch.stack([v for v in x if v > 1]), torch.cat([x[None], x[None]]).shape, [t.shape for t in torch.ones(2, 3)], {k: v.tolist() for k, v in zip("ab", torch.eye(2))}, max(torch.eye(2).tolist()), sorted(zip(x.tolist(), i.tolist())), torch.tensor(x.tolist() + [4.0]), x.new_tensor([1, 2]), torch.as_tensor([1, 2.5]), torch.tensor([[1, 2], [3, 4]]).T.tolist(), torch.tensor(5).item() + 1, x.mean() > 1.5, (x - x.mean()).pow(2).mean().sqrt(), x.std(), x.std(unbiased=False), x.var(correction=0), x.median(), x.mode(), x.quantile(0.5), x.norm(), x.norm(1), x.prod(), x.cumsum(0), x.diff(), x.softmax(0), x.log_softmax(0), x.sigmoid(), x.tanh(), x.exp(), x.log(), x.clamp(1.5, 2.5), x.round(), x.floor(), x.sign(), x.reciprocal(), x.rsqrt(), x.argmax(), x.topk(2), x.sort(), x.flip(0), x.roll(1), x.repeat(2), x.expand(2, 3), x.outer(x), x.dot(x), x.view(3, 1), x.unsqueeze(0).shape, x.squeeze().shape, x.where(x > 1, torch.tensor(0.0)), x.masked_select(x > 1), x.nonzero(), x.any(), x.all(), x.isnan().any(), x.tolist())
