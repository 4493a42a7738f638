#### comp scope class
class A:
    n = 3
    xs = [i * 2 for i in range(n)]
    ys = list(map(lambda i: i + 1, xs))
print(A.xs, A.ys)
#### closures late
fs = [lambda: i for i in range(3)]
gs = [lambda i=i: i for i in range(3)]
print([f() for f in fs], [g() for g in gs])
def make():
    out = []
    for k in range(3):
        def inner():
            nonlocal k
            k += 10
            return k
        out.append(inner)
    return out
a, b, c = make()
print(a(), b(), c())
#### generator send throw
def gen():
    try:
        x = yield 1
        print("got", x)
        y = yield x * 2
    except ValueError as e:
        print("caught", e)
        yield "handled"
    finally:
        print("final")
    return "done"
g = gen()
print(next(g), g.send(5), g.throw(ValueError("bad")))
try:
    next(g)
except StopIteration as s:
    print("stop", s.value)
g = gen(); next(g); g.close()
#### generator close return
def g():
    try:
        yield 1
    except GeneratorExit:
        print("exit")
        raise
x = g(); next(x); print(x.close())
def bad():
    try:
        yield 1
    except GeneratorExit:
        yield 2
y = bad(); next(y)
try:
    y.close()
except RuntimeError as e:
    print(e)
#### match class guards
from dataclasses import dataclass
@dataclass
class P:
    x: int
    y: int
def f(v):
    match v:
        case P(x=0, y=0): return "origin"
        case P(x, y) if x == y: return f"diag {x}"
        case P(x=int() as a, y=float() | int() as b): return ("p", a, b)
        case [1, 2, *rest] if rest: return rest
        case {"k": [a, _], **kw}: return a, kw
        case str() | bytes() as s: return s
        case (int(n), [*_, last]): return n, last
        case None | True: return "singleton"
        case _: return "other"
for v in [P(0, 0), P(2, 2), P(1, 2.5), [1, 2, 3, 4], [1, 2], {"k": [1, 2], "z": 3}, "s", b"b", (3, [4, 5]), None, True, 1.5]:
    print(f(v))
#### descriptor full
class D:
    def __set_name__(self, owner, name): self.name = name; print("set_name", owner.__name__, name)
    def __get__(self, obj, owner=None):
        if obj is None: return self
        return obj.__dict__.get(self.name, "unset")
    def __set__(self, obj, v): obj.__dict__[self.name] = v * 2
    def __delete__(self, obj): obj.__dict__.pop(self.name, None)
class A:
    x = D()
a = A(); print(a.x); a.x = 4; print(a.x, vars(a)); del a.x; print(a.x, type(A.x).__name__)
#### getattr slots
class S:
    __slots__ = ("a", "b")
    def __init__(self): self.a = 1
    def __getattr__(self, n): return f"no {n}"
s = S()
print(s.a, s.b, s.zzz)
try:
    s.c = 3
except AttributeError as e:
    print(e)
print(hasattr(s, "__dict__"), S.__slots__)
#### class features
class Base:
    registry = {}
    def __init_subclass__(cls, /, tag=None, **kw):
        super().__init_subclass__(**kw)
        cls.registry[tag or cls.__name__] = cls
class A(Base, tag="a"): pass
class B(Base): pass
print(Base.registry, A.__mro__, B.__bases__, A.__qualname__, A.__module__)
#### singledispatch
from functools import singledispatch, singledispatchmethod
@singledispatch
def f(x): return f"obj {x}"
@f.register
def _(x: int): return f"int {x}"
@f.register(list)
@f.register(tuple)
def _(x): return f"seq {len(x)}"
print(f(1), f([1]), f((1, 2)), f("s"), f(True), f.dispatch(bool)(2), sorted(k.__name__ for k in f.registry))
class C:
    @singledispatchmethod
    def m(self, x): return "base"
    @m.register
    def _(self, x: str): return "str " + x
print(C().m(1), C().m("q"))
#### cached_property etc
from functools import cached_property, partial, partialmethod, reduce, lru_cache, cache
class A:
    n = 0
    @cached_property
    def v(self):
        A.n += 1
        return A.n
    def f(self, a, b=2): return (a, b)
    g = partialmethod(f, 7, b=8)
a = A(); print(a.v, a.v, A.n, vars(a)); del a.v; print(a.v, a.g())
p = partial(print, "x", sep="-"); p(1, 2); print(p.func, p.args, p.keywords)
print(reduce(lambda x, y: x * y, [1, 2, 3, 4], 10), partial(int, base=2)("101"))
@lru_cache(maxsize=2)
def sq(x): return x * x
[sq(i) for i in (1, 2, 1, 3, 2)]; print(sq.cache_info()); sq.cache_clear(); print(sq.cache_info(), sq.__wrapped__(4))
print(repr(partial(max, 3)))
#### itertools complete
import itertools as it
print(list(it.accumulate([1, 2, 3], initial=10)), list(it.accumulate([3, 1, 2], max)))
print(list(it.chain.from_iterable(["ab", [1]])), list(it.compress("abcd", [1, 0, 1])), list(it.dropwhile(str.isdigit, "12ab3")), list(it.filterfalse(None, [0, 1, "", 2])))
print([(k, list(g)) for k, g in it.groupby("AAbbA", str.lower)], list(it.islice(it.count(5, 2.5), 1, 8, 3)), list(it.pairwise("abc")))
print(list(it.permutations("abc", 2)), list(it.combinations_with_replacement("ab", 2)), list(it.product([0, 1], repeat=2)), list(it.starmap(pow, [(2, 3), (3, 2)])))
print(list(it.takewhile(lambda x: x < 3, [1, 2, 5, 1])), list(it.zip_longest("ab", [1], fillvalue="-")), [list(x) for x in it.tee([1, 2], 3)], list(it.repeat("x", 2)))
#### collections complete
from collections import Counter, defaultdict, OrderedDict, deque, namedtuple, ChainMap, UserDict, UserList
c = Counter("abracadabra"); c.update("zz"); c.subtract({"a": 2})
print(c, c.most_common(2), c + Counter(a=-5, b=1), c - Counter(b=1), c & Counter(a=1, z=9), c | Counter(q=1), +Counter(a=-1, b=2), -Counter(a=-1), c.total(), sorted(c.elements())[:3])
d = defaultdict(lambda: [0], x=[9]); d["y"].append(1); print(dict(d), d.default_factory is None, d.get("nope"), "nope" in d)
o = OrderedDict(a=1, b=2, c=3); o.move_to_end("a"); o.move_to_end("c", last=False); print(o, o.popitem(last=False), list(reversed(o)))
q = deque(range(5), maxlen=3); q.appendleft(9); q.rotate(1); print(q, q.maxlen, q.index(9), q.count(2)); q.extendleft("ab"); print(q); q.insert
P = namedtuple("P", "x y z", defaults=[0, 1]); p = P(5); print(p, p._replace(y=3), p._asdict(), P._fields, P._field_defaults, P._make([1, 2, 3]), p == (5, 0, 1), P(*"abc") < P("b", 0, 0))
m = ChainMap({"a": 1}, {"a": 2, "b": 3}); m["c"] = 4; print(m, m.parents, m.new_child({"z": 0}), list(m), m.maps, len(m))
print(namedtuple("Q", ["a", "class", "a"], rename=True)._fields)
class U(UserDict):
    def __setitem__(self, k, v): super().__setitem__(k.upper(), v)
u = U(a=1); u["b"] = 2; print(u, UserList([1, 2]) + [3]("ab").upper())
#### string formatter
import string
print(string.Formatter().format("{0:>5}|{name!r}|{1[0]}|{2.real}", "a", [7], 3, name="n"), list(string.Formatter().parse("a{b!r:>{w}}c{{")))
class F(string.Formatter):
    def get_value(self, key, args, kw):
        return kw.get(key, f"<{key}>") if isinstance(key, str) else super().get_value(key, args, kw)
    def format_field(self, v, spec): return super().format_field(v, spec) + "!"
print(F().format("{x} {y:>4} {0}", 1, y=2), string.Template("$a ${b}c $$ $d").safe_substitute(a=1, b=2), string.ascii_letters, string.punctuation, string.capwords("a bC  d"))
try:
    string.Template("$q").substitute()
except KeyError as e:
    print(repr(e))
#### re flags
import re
print(re.findall(r"(?x) \d+  # num", "a1b22", re.X), re.search(r"(?s)a.b", "a\nb"), re.sub(r"(?im)^x", "Y", "x\nX"), re.findall(r"(?i:a)b", "Ab AB"), re.compile("a", re.I | re.M))
m = re.match(r"(?P<a>\w)(?P<b>\d)?", "x"); print(m, m.groups("-"), m.groupdict(0), m.lastindex, m.regs, m.re.groupindex, m.string, m.pos, m.endpos)
print(re.split(r"(-)", "a-b-c", maxsplit=1), re.sub("b", r"\g<0>\\", "abc"), re.escape("a+b (c)"), [m.start() for m in re.finditer("(?=aa)", "aaaa")], re.sub("", "-", "abc"))
print(re.fullmatch(r"[\w.+-]+@\w+\.\w{2,}", "a.b+c@d.org").span(), re.search(r"\bé\w", "xé éa"), re.purge(), re.compile("x").flags)
try: re.compile("a(b")
except re.error as e: print(e, e.pos, e.pattern, e.msg, e.lineno, e.colno)
#### json options
import json
print(json.dumps({"b": [1, 2.5, None, True], "a": {"é": "x\n\u2028"}}, indent=2, sort_keys=True), json.dumps("é", ensure_ascii=False), json.dumps([1, {"a": []}], separators=(",", ":")), json.dumps({1: 2, None: 3, 1.5: 4, True: 5}))
print(json.dumps({"a": [1, [2, {}]]}, indent="\t"), json.dumps([float("nan"), float("inf")]), json.loads('{"a": 1e3, "b": [1, 2.0], "c": "\\u00e9"}', parse_float=str, parse_int=float), json.loads("[1]", object_hook=dict))
class E(json.JSONEncoder):
    def default(self, o): return list(o) if isinstance(o, set) else super().default(o)
print(json.dumps({1, }, cls=E), json.dumps({"x": {3}}, default=sorted), json.loads('{"a":{"b":1}}', object_pairs_hook=list))
for t in ["{", "[1,]", '{"a" 1}', "nul", "[1] x", '"\x01"', ""]:
    try: json.loads(t)
    except json.JSONDecodeError as e: print(e, e.pos, e.lineno, e.colno)
try: json.dumps({(1, 2): 3})
except TypeError as e: print(e)
try: json.dumps(object)
except TypeError as e: print(e)
try: json.dumps(float("nan"), allow_nan=False)
except ValueError as e: print(e)
print(json.dumps({(1, 2): 3, "a": 1}, skipkeys=True))
#### datetime
from datetime import datetime, timedelta, date, time, timezone
d = datetime(2024, 2, 29, 13, 5, 9, 123456)
print(d, repr(d), d.strftime("%Y-%m-%d %H:%M:%S.%f %j %U %W %a %A %b %B %p %I %y %% %w %u %G-W%V"), d.isoformat(" ", "milliseconds"), d.date(), d.time(), d.weekday(), d.isoweekday(), d.isocalendar(), d.timetuple().tm_yday)
print(d + timedelta(days=365, hours=-3), d - datetime(2023, 12, 31), (d - timedelta(weeks=1)).replace(day=1), timedelta(1.5), repr(timedelta(-1, 5)), timedelta(hours=25) // timedelta(hours=2), timedelta(5) / 2, divmod(timedelta(5), timedelta(2)), -timedelta(1), abs(timedelta(-3)), timedelta(seconds=90).total_seconds())
z = timezone(timedelta(hours=5, minutes=30), "IST"); a = d.replace(tzinfo=z); print(a, a.astimezone(timezone.utc), a.utcoffset(), a.tzname(), a.strftime("%z %Z"), a.timestamp(), datetime.fromtimestamp(0, timezone.utc), datetime.fromisoformat("2024-01-02T03:04:05+02:00"), datetime.strptime("3 Mar 2021 4:05PM", "%d %b %Y %I:%M%p"))
print(date(2024, 1, 1).toordinal(), date.fromordinal(738000), date.fromisocalendar(2024, 9, 4), date(2024, 3, 1) - date(2024, 2, 1), date.max, time(1, 2).isoformat(), time.fromisoformat("04:05:06"), date(2024, 5, 6).ctime(), f"{d:%d/%m/%y}", f"{date(2024,1,2):%A}", sorted([date(2024, 2, 1), date(2023, 2, 1)]))
for f in [lambda: date(2023, 2, 29), lambda: d - a, lambda: datetime.strptime("x", "%Y")]:
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
#### decimal
from decimal import Decimal, getcontext, localcontext, ROUND_UP, ROUND_DOWN
getcontext().prec = 6
print(Decimal(1) / 3, Decimal("1.10") + 2, Decimal("-0"), Decimal("1E+3"), Decimal(0.1), Decimal("3.14159").quantize(Decimal("0.01"), ROUND_UP), Decimal("NaN"), -Decimal("Infinity"), Decimal("2").sqrt(), Decimal("123.456").as_tuple(), Decimal("1200").normalize())
with localcontext() as ctx:
    ctx.prec = 30; ctx.rounding = ROUND_DOWN
    print(Decimal(2) / 3, getcontext().prec)
print(getcontext().prec, Decimal("7") // 2, Decimal("-7") % 3, divmod(Decimal(7), 2), Decimal(2) ** 10, Decimal("2.5").to_integral_value(), round(Decimal("2.675"), 2), round(Decimal("2.5")), int(Decimal("-2.9")), f"{Decimal('1234567.891'):,.2f}", f"{Decimal('0.00012'):e}", Decimal("1.0") == 1.0, hash(Decimal(3)) == hash(3), max(Decimal(1), Decimal("NaN"), key=str), Decimal("1.23").compare(Decimal("1.3")), Decimal("12").scaleb(2), Decimal("1e5").adjusted())
for f in [lambda: Decimal(1) / 0, lambda: Decimal("x")]:
    try: print(f())
    except Exception as e: print(type(e).__name__, type(e).__mro__[1].__name__, e)
#### fractions statistics
from fractions import Fraction as F
import statistics as st
print(F("3/4") + F(0.5), F(1.1).limit_denominator(10), F(7, -21), F(3, 2) ** -2, F(3, 2) ** 0.5, float(F(1, 3)), F(7, 3) // 1, F(-7, 3) % 1, round(F(7, 2)), round(F(22, 7), 2), F("1e-2"), F(5).numerator, str(F(4)), repr(F(1, 3)), F(1, 2) == 0.5, divmod(F(7, 2), 1), int(F(-7, 2)), F(1, 3) < 0.34, F.from_float(0.25), sum([F(1, 3)] * 3))
x = [2, 4, 4, 4, 5, 5, 7, 9]
print(st.mean(x), st.fmean(x), st.median(x), st.median_low(x), st.median_high(x), st.median_grouped(x), st.mode(x), st.multimode("aabbc"), st.pstdev(x), st.stdev(x), st.pvariance(x), st.variance(x), st.quantiles(x, n=4), st.quantiles(x, n=4, method="inclusive"), st.harmonic_mean([40, 60]), st.geometric_mean([54, 24, 36]), st.mean([F(1, 2), F(1, 3)]))
print(st.correlation([1, 2, 3], [1, 5, 7]), st.linear_regression([1, 2, 3], [2, 4, 7]), st.covariance([1, 2, 3], [1, 5, 7]), st.NormalDist(5, 2).cdf(6), st.NormalDist.from_samples(x), st.NormalDist(0, 1).inv_cdf(0.9), st.NormalDist(1, 2) + st.NormalDist(3, 4))
try: st.mean([])
except st.StatisticsError as e: print(e)
#### heapq bisect operator
import heapq, bisect, operator as op
h = [5, 1, 8, 3]; heapq.heapify(h); heapq.heappush(h, 0); print(h, heapq.heappop(h), heapq.heappushpop(h, 2), heapq.heapreplace(h, 9), h, heapq.nlargest(2, h), heapq.nsmallest(2, h, key=lambda v: -v), list(heapq.merge([1, 4], [2, 3], reverse=False)), list(heapq.merge(["b", "aaa"], ["cc"], key=len)))
a = [1, 3, 3, 5]; print(bisect.bisect(a, 3), bisect.bisect_left(a, 3), bisect.bisect_right(a, 3, 0, 2), bisect.insort(a, 4), a, bisect.bisect([(1, "a"), (2, "b")], 1, key=lambda t: t[0]))
print(op.itemgetter(1, -1)("abc"), op.attrgetter("real", "imag")(3 + 4j), op.methodcaller("split", ",", maxsplit=1)("a,b,c"), op.add(1, 2), op.concat("a", "b"), op.contains("abc", "b"), op.indexOf([1, 2], 2), op.countOf("aab", "a"), op.length_hint([1, 2]), op.not_(0), op.truth([]), op.index(True), op.matmul, op.iadd([1], [2]), op.itemgetter(slice(1, 3))("abcd"))
#### exitstack
from contextlib import contextmanager, ExitStack, suppress, nullcontext, redirect_stdout, ContextDecorator, closing
@contextmanager
def cm(n):
    print("enter", n)
    try: yield n
    except ValueError as e: print("swallow", n, e)
    finally: print("exit", n)
with ExitStack() as s:
    a = [s.enter_context(cm(i)) for i in range(2)]
    s.callback(print, "cb", end="!\n"); s.push(lambda *e: print("push", e[0]))
    print(a); raise ValueError("boom")
with suppress(KeyError, IndexError): [][1]
print("after")
with ExitStack() as s:
    s.callback(print, "no"); s2 = s.pop_all()
print("popped"); s2.close()
with nullcontext(5) as n: print(n)
import io
b = io.StringIO()
with redirect_stdout(b): print("inside")
print(repr(b.getvalue()))
class C(ContextDecorator):
    def __enter__(self): print("in"); return self
    def __exit__(self, *a): print("out"); return False
@C()
def f(): print("body")
f()
with closing(io.StringIO("x")) as c: print(c.read())
print(c.closed)
#### fstring nested
w, p, v, n = 12, 3, 3.14159, None
print(f"{v:{w}.{p}}|{v:>{w}}|{v!r:^{w}}|{n!s:>6}|{'q':*<{w//2}}|{v=:.2f}|{w=}|{w = !r}|{{}}|{f'{w}':>5}|{[x for x in 'ab']}|{ {'a': 1}['a'] }|{(lambda: 3)()}|{w:#x}|{w:b}|{1e10:,}|{-5:+}|{5: }|{True}|{True:d}|{1_000_000:_}|{255:#06x}|{0.1:.0%}|{1234.5:e}|{1234.5:g}|{0.00001:g}|{1e16}|{'é':>3}|{b'x'}|{1+2j:.1f}|{w!a}")
print(f"{3:=+5}", f"{-3:=5}", f"{3:<5}|", f"{'x':^5}|", f"{3.0:n}", f"{10**20:,}", f"{0:.3g}", f"{1.0:.3g}", f"{123456.0:.3g}", f"{float('inf'):>6}", f"{float('nan'):06}", f"{1.5:08.2f}", f"{-1.5:08.2f}", f"{1e-300:.3}", f"{12345678.9:_.1f}", f"{97:c}", f"{-0.0:z.1f}", f"{1e3:#.3g}")
for e in ["f'{1:s}'", "f'{\"a\":d}'", "f'{1.5:d}'", "f'{1:,_}'", "f'{None:>5}'", "f'{[]:3}'", "'{:5.2}'.format([])", "'{} {1}'.format(1, 2)", "'{a}'.format()", "'{0}'.format()", "'{'.format()", "'{:q}'.format(1)", "'{:.3d}'.format(3)", "format(3, '5.2')", "'%d' % 'x'", "'%s %s' % (1,)", "'%z' % 1", "'%(a)s' % 3", "'%s' % (1, 2)"]:
    pass
#### ints
print(int.from_bytes(b"\xff\x00", "big", signed=True), int.from_bytes([1, 2], "little"), (-2).to_bytes(2, "big", signed=True), (1023).to_bytes(2), (5).bit_length(), (-5).bit_count(), (7).as_integer_ratio(), int("-0b101", 0), int(" 1_0 "), int(b"12"), 5 .__index__(), pow(2, -1, 7), pow(-3, 3, 5), -7 // 2, -7 % 2, divmod(-7, -2), 1 << 65, ~0, True + 1, round(-1.5), round(15, -1), round(25, -1), int(1e20), hash(2**61 - 1), 10**18 // 7, -(10**30) >> 3, 0xff ^ 0x0f)
for f in [lambda: (300).to_bytes(1, "big"), lambda: (-1).to_bytes(2, "big"), lambda: int("1.5"), lambda: int("", 10), lambda: int("9", 8), lambda: 1 << -1, lambda: pow(2, -1, 4), lambda: int([1]), lambda: int("1" * 5000), lambda: 1 / 0, lambda: 0 ** -1, lambda: divmod(1, 0), lambda: 1 % 0, lambda: int("a", 37), lambda: [1][2**70], lambda: "a" * -1, lambda: range(0, 1, 0), lambda: chr(-1), lambda: ord("ab"), lambda: round("a")]:
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
#### struct hashlib
import struct
print(struct.pack("<IhB", 1, -2, 3), struct.unpack(">H2s", b"\x01\x02ab"), struct.calcsize("=qd"))
#### hashlib
import hashlib
print(hashlib.sha256(b"x").hexdigest(), hashlib.md5(b"").hexdigest(), hashlib.sha1(b"abc").digest()[:3])
#### base64
import base64
print(base64.b64encode(b"hello"), base64.b64decode("aGVsbG8="))
#### copy
import copy
class A:
    def __init__(self, x): self.x = x
    def __deepcopy__(self, memo): return A(("deep", copy.deepcopy(self.x, memo)))
    def __copy__(self): return A(("shallow", self.x))
a = A([1]); print(copy.copy(a).x, copy.deepcopy(a).x, copy.copy([a])[0] is a)
l = [1, [2]]; l.append(l); m = copy.deepcopy(l); print(m[2] is m, m[1] is l[1], copy.copy(l)[1] is l[1])
t = (1, [2]); print(copy.deepcopy(t)[1] is t[1], copy.copy(t) is t, copy.deepcopy((1, 2)) )
#### random seeded
import random
random.seed(42)
print(random.random(), random.randint(1, 100), random.choice("abcdef"), random.sample(range(100), 5), random.uniform(1, 2), random.gauss(0, 1), random.choices([1, 2, 3], weights=[1, 2, 3], k=5), random.shuffle(l := list(range(6))), l, random.randrange(0, 100, 7), random.getrandbits(40), random.expovariate(1.5), random.betavariate(1, 2), random.triangular(0, 1, 0.3), random.normalvariate(1, 2), random.lognormvariate(0, 1), random.vonmisesvariate(1, 2), random.gammavariate(2, 3), random.paretovariate(2), random.weibullvariate(1, 2))
r = random.Random(7); s = r.getstate(); a = r.random(); r.setstate(s); print(a == r.random(), r.sample(["a", "b", "c"], counts=[2, 1, 1], k=2), r.randbytes(3))
random.seed("text"); print(random.random()); random.seed(b"by"); print(random.random()); random.seed(1.5); print(random.random()); random.seed(-3); print(random.random())
#### textwrap pprint
import textwrap, pprint
t = "The quick brown fox jumped over the lazy dog, and then-some hyphenated words follow here."
print(textwrap.fill(t, 30), textwrap.wrap(t, 20, initial_indent="* ", subsequent_indent="  "), textwrap.shorten(t, 25, placeholder=" [..]"), textwrap.indent("a\n\nb", "> "), textwrap.dedent("   a\n    b\n"), textwrap.wrap("aaaaaaaaaaaa bb", 5, break_long_words=False), sep="\n")
pprint.pprint({"key" + str(i): list(range(i * 4)) for i in range(5)}, width=50); pprint.pprint([("a" * 30, "b" * 30), {"x": {"y": [1] * 30}}], compact=True, width=60); print(pprint.pformat({"b": 1, "a": 2}), pprint.pformat({"b": 1, "a": 2}, sort_dicts=False), pprint.pformat("long " * 30, width=40), pprint.pformat([[1, [2, [3]]]], depth=2), pprint.pformat({1, 3, 2}), pprint.pformat((1,)))
from dataclasses import dataclass, field
@dataclass
class D:
    name: str
    items: list = field(default_factory=list)
pprint.pprint(D("n", ["x" * 20] * 5))
#### inspect
import inspect
def f(a, /, b: int = 2, *args, c, d=4, **kw) -> str: "doc"
s = inspect.signature(f); print(s, list(s.parameters), s.parameters["b"].annotation, s.parameters["c"].kind, s.return_annotation, s.parameters["d"].default, s.bind(1, c=3).arguments, inspect.isfunction(f), inspect.isclass(int), inspect.getdoc(f))
b = s.bind_partial(5); b.apply_defaults(); print(b.args, b.kwargs)
class K:
    def m(self, x, *, y=1): pass
print(inspect.signature(K.m), inspect.signature(K().m), inspect.signature(lambda q=[]: 0), inspect.signature(K), [n for n, _ in inspect.getmembers(K(), inspect.ismethod)], inspect.ismethod(K().m), inspect.isgeneratorfunction(lambda: (yield)))
try: s.bind(1)
except TypeError as e: print(e)
#### exception groups
try:
    raise ExceptionGroup("eg", [ValueError(1), TypeError("t"), ExceptionGroup("in", [KeyError("k")])])
except* ValueError as e:
    print("V", e.exceptions, e.message)
except* (TypeError, KeyError) as e:
    print("TK", e, repr(e))
print("after")
try:
    try:
        raise ExceptionGroup("g", [ValueError(1), OSError(2)])
    except* ValueError:
        print("v")
except ExceptionGroup as g:
    print("rest", g.exceptions, g.split(OSError), g.subgroup(lambda e: False), g.derive([ValueError()]))
try:
    try: raise ValueError("plain")
    except* ValueError as e: print(type(e).__name__, e.exceptions); raise KeyError("x")
except BaseException as e:
    print(type(e), repr(e), getattr(e, "exceptions", None))
print(isinstance(ExceptionGroup("a", [ValueError()]), Exception), BaseExceptionGroup("b", [ValueError()]), BaseExceptionGroup("b", [KeyboardInterrupt()]).__class__)
for f in [lambda: ExceptionGroup("a", []), lambda: ExceptionGroup("a", [1]), lambda: ExceptionGroup(1, [ValueError()]), lambda: ExceptionGroup("a", [KeyboardInterrupt()])]:
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
#### except star flow
def f(n):
    try:
        if n == 0: raise ExceptionGroup("e", [ValueError("a"), ValueError("b"), TypeError("c")])
        if n == 1: raise TypeError("naked")
        if n == 2: return "no error"
    except* ValueError as e:
        print("values", [str(x) for x in e.exceptions])
    except* TypeError as e:
        print("types", e.exceptions)
    else:
        print("else")
    finally:
        print("finally")
    return "end"
print(f(0), f(1), f(2), f(3))
def g():
    try:
        raise ExceptionGroup("e", [ValueError("a"), TypeError("b")])
    except* ValueError:
        raise RuntimeError("new")
    except* TypeError:
        raise
try: g()
except BaseException as e: print(repr(e), [repr(x) for x in e.exceptions])
try:
    try: raise ExceptionGroup("e", [ValueError("a")])
    except* ExceptionGroup: pass
except TypeError as e: print(e)
#### get_type_hints
import typing
from typing import Optional, Union, Dict, List, Tuple, Callable, Literal, Annotated, ClassVar, Generic, TypeVar, get_type_hints, get_origin, get_args
def f(a: int, b: 'str' = "x", *c: float, d: Optional[int] = None) -> list[int]: ...
print(typing.get_type_hints(f))
class A:
    x: int
    y: 'list[str]'
    z: ClassVar[float] = 1.0
class B(A):
    w: Dict[str, int] = {}
print(get_type_hints(A), get_type_hints(B), B.__annotations__, A.__annotations__)
from dataclasses import dataclass
@dataclass
class C:
    n: int
    o: "float" = 0.0
print(get_type_hints(C), f.__annotations__)
print(get_origin(Dict[str, int]), get_args(Union[int, None, str]), Optional[int], Union[int, str], Callable[[int], str], List[int], Tuple[int, ...], Literal["a", 1], Annotated[int, "m"], list[int] | None, int | str)
T = TypeVar("T")
class G(Generic[T]):
    v: T
print(G[int], get_type_hints(G), T)
#### bytes format
print(b"%d %s %r %x %5.2f|%-4s|%c%%" % (1, b"ab", "q", 255, 1.5, b"z", 65), b"%(k)s" % {b"k": b"v"}, b"%b" % b"x", b"%a" % "é", b"%5d|%05d|%+d" % (1, 2, 3), bytearray(b"%s") % b"y")
for f in [lambda: b"%s" % "x", lambda: b"%d" % "x", lambda: b"%s" % 1, lambda: b"%z" % 1, lambda: b"%s %s" % b"a", lambda: b"x" % 1, lambda: b"%c" % 300]:
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
#### bytes methods
b = b"Hello World"
print(b.hex("-", 2), b.translate(None, b"lo"), bytes.maketrans(b"ab", b"xy")[97:99], b.find(b"o", 5), b.rfind(111), b.split(), b.partition(b" "), b[1], b[1:3], list(b[:2]), b + b"!", b * 2, b"l" in b, 108 in b, bytes(3), bytes([1, 2]), bytes("é", "utf8"), bytes.fromhex("0a ff"), b == bytearray(b), b.startswith((b"x", b"He")), b.decode("ascii"), repr(b"'\"\x00\xff"), b.swapcase(), hash(b) == hash(b), f"{b!r:>20}", str(b))
ba = bytearray(b"abc"); ba[1] = 90; ba += b"de"; ba.extend([1]); del ba[0]; ba.insert(0, 33); ba.reverse(); print(ba, ba.pop(), len(ba), bytes(ba))
for f in [lambda: b"a" + "b", lambda: bytes("x"), lambda: bytes([256]), lambda: b"\xff".decode(), lambda: "é".encode("ascii"), lambda: bytes.fromhex("0"), lambda: b"a"[5], lambda: b"a".index(b"z"), lambda: b"a" < "b", lambda: "a".encode("nope"), lambda: b",".join(["a"])]:
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
#### grad text
import torch
x = torch.ones(2, requires_grad=True)
print(x, x + 1, (x * 2).sum(), x.view(1, 2), x[0], x.exp(), torch.stack([x, x]), x.detach(), x.clone(), (x @ x), str(x.mean()), f"{x.sum()}", [x.relu()], x.softmax(0), x.norm(), x.unbind(0), torch.nn.functional.linear(x, torch.ones(3, 2)), x.to(torch.float64), x.T, x.std())
#### np out where
import numpy as np
a = np.arange(6.0).reshape(2, 3)
o = np.empty((2, 3)); r = np.add(a, 1, out=o); print(r is o, o)
print(np.sqrt(a, where=a > 2, out=np.zeros_like(a)), np.add.reduce(a), np.add.reduceat(np.arange(8), [0, 4, 1, 5]), np.add.accumulate([1, 2, 3]), np.multiply.outer([1, 2], [3, 4]), np.maximum.reduce(a, axis=1), np.subtract(a, a, dtype=np.float32).dtype, np.mean(a, where=a > 1), a.sum(axis=0, keepdims=True, initial=10), np.minimum.accumulate([3, 1, 2]))
b = np.zeros(4); np.add.at(b, [0, 0, 3], 1); print(b, np.add.nin, np.add.identity, np.add)
#### np indexing
import numpy as np
a = np.arange(24).reshape(2, 3, 4)
print(a[:, [0, 2], 1:3], a[..., None].shape, a[[0, 1], [1, 2]], a[a % 5 == 0], a[np.ix_([0, 1], [0, 2], [1])], a[-1, ::-1, ::2], a[0, [True, False, True]], a[:, np.array([[0, 1], [1, 2]])].shape, a[1:, 0, None, [1, 3]], a[()].shape, a[np.newaxis, ..., 0].shape, a.take([0, 5]), np.take(a, [1], axis=2).shape, a.flat[5])
b = a.copy(); b[b > 20] = -1; b[0, :, [0, 1]] += 100; b[1][0] = 7; print(b)
a[0] += a[1]; print(a[0], np.take_along_axis(a, a.argsort(axis=2)[:, :, ::-1], 2)[0], np.nonzero(a > 30), np.argwhere(a > 32), np.choose([0, 1], [[1, 2], [3, 4]]), np.select([a[0] > 20, a[0] > 15], [1, 2], 0), np.digitize([0.5, 2.5], [0, 1, 2]), np.searchsorted([1, 2, 3], 2, side="right"), np.unravel_index(5, (2, 3)), np.ravel_multi_index((1, 2), (2, 3)))
for f in [lambda: a[5], lambda: a[0, 0, 0, 0], lambda: a["x"], lambda: a[1.5], lambda: a.reshape(5), lambda: a + np.ones(5), lambda: np.array([1, 2]) @ np.ones(3), lambda: np.concatenate([np.ones(2), np.ones((2, 2))]), lambda: bool(a), lambda: int(np.ones(2)), lambda: a.sum(axis=5), lambda: np.linalg.inv(np.zeros((2, 2)))]:
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
#### np dtype promotion printing
import numpy as np
print((np.float32(1) + 1).dtype, (np.int8(100) + np.int8(100)), np.array([1, 2], np.int8) + 1, (np.array([1], np.uint8) - 2), np.int64(3) / 2, np.float32(0.1), [np.float32(0.1)], np.float64(0.1) + np.float32(0.1), np.array([1e10, 1]), np.array([1e-10, 1]), np.array([1.5, np.nan, -np.inf]), np.array([True, False]), np.array([1 + 2j]), np.arange(2000), np.ones((40, 40)), np.array([[1.123456789, 2]]), np.array([]), np.zeros((0, 3)), np.array(5), np.array([1e300, 1e-300]), np.result_type(np.int8, np.float16), np.promote_types("i4", "u4"), np.can_cast(np.int64, np.float32), np.iinfo(np.int16).max, np.finfo(np.float32).eps, np.bool_(True), np.int32(7), repr(np.float64(2)), str(np.float16(0.1)), f"{np.float32(3.14159):.2f}", f"{np.int64(5):>4}", np.array([1, 2, 3], dtype="float16"), np.array([0.1, 0.25], np.float32), round(np.float64(2.567), 1), np.uint8(200) // 7, divmod(np.int64(7), 2), np.int64(7) ** 2, -np.uint8(1) if False else 0)
#### np einsum linalg
import numpy as np
a = np.array([[2.0, 1], [1, 3]]); b = np.array([1.0, 2])
r = lambda x: np.round(x, 6)
print(np.einsum("ij,jk->ik", a, a), np.einsum("ii", a), np.einsum("ij->ji", a), np.einsum("i,j", b, b), np.einsum("...i,i", a, b), r(np.linalg.inv(a)), r(np.linalg.det(a)), r(np.linalg.solve(a, b)), r(np.linalg.eigvalsh(a)), r(np.linalg.norm(a)), np.linalg.norm(a, 1), np.linalg.norm(b, np.inf), np.linalg.matrix_rank(a), r(np.linalg.svd(a, compute_uv=False)), r(np.linalg.pinv(a)), np.trace(a), np.kron(b, b), np.cross([1, 0, 0], [0, 1, 0]), np.vdot(b, b), np.inner(a, b), np.outer(b, b), np.tensordot(a, a, 1), r(np.linalg.qr(a)[1]), r(np.linalg.cholesky(a)), np.linalg.matrix_power(a, 3), r(np.linalg.cond(a)), r(np.linalg.lstsq(a, b, rcond=None)[0]), type(np.linalg.eigh(a)).__name__)
#### np misc
import numpy as np
a = np.array([[3, 1, 2], [9, 7, 8]])
print(np.percentile(a, [25, 50]), np.median(a, axis=1), np.cumsum(a, axis=1), np.diff(a), np.histogram([1, 2, 2, 3], bins=3), np.bincount([0, 1, 1, 5]), np.clip(a, 2, 8), np.pad(a, ((0, 0), (1, 2)), constant_values=-1), np.tile(a, (2, 1)), np.repeat(a, 2, axis=0), np.roll(a, 1, axis=1), np.flip(a, 0), np.rot90(a), np.stack([a, a], -1).shape, np.hstack([a, a]), np.vstack([a, a]).shape, np.split(a, 3, axis=1), np.array_split(np.arange(5), 2), np.meshgrid([1, 2], [3, 4]), np.linspace(0, 1, 5), np.logspace(0, 2, 3), np.eye(2, k=1), np.tri(3), np.triu(np.ones((3, 3)), 1), np.diag([1, 2]), np.fromfunction(lambda i, j: i + j, (2, 2)), np.apply_along_axis(sum, 1, a), np.vectorize(lambda x: x * 2)(a), np.allclose(a, a + 1e-9), np.array_equal(a, a), np.count_nonzero(a > 2), np.ptp(a), np.var(a, ddof=1), np.average(a, weights=[1, 2], axis=0), np.corrcoef([1, 2, 3], [1, 2, 4]), np.cov([1, 2, 3], [1, 2, 4]), np.interp(2.5, [1, 2, 3], [10, 20, 30]), np.polyval([1, 2], 3), np.convolve([1, 2], [1, 1]), np.gradient([1, 2, 4]), np.trapz([1, 2, 3]) if hasattr(np, "trapz") else np.trapezoid([1, 2, 3]), np.nanmean([1, np.nan]), np.isclose(1, 1 + 1e-9), np.sign([-2, 0]), np.lexsort(([1, 2], [2, 1])), np.partition([3, 1, 2], 1), np.unique([[1, 2], [1, 2]], axis=0), np.union1d([1], [2]), np.setdiff1d([1, 2], [2]), np.floor_divide(7, 2), np.mod(-7, 3), np.fmod(-7, 3), np.hypot(3, 4), np.heaviside(0, 0.5), np.nan_to_num([np.nan, np.inf]), np.broadcast_to([1, 2], (2, 2)), np.atleast_2d([1]), np.squeeze(np.ones((1, 2))), np.swapaxes(a, 0, 1), np.moveaxis(np.ones((1, 2, 3)), 0, -1).shape, np.ascontiguousarray(a.T).flags["C_CONTIGUOUS"], a.T.flags.c_contiguous, a.strides, a.nbytes)
np.random.seed(0); print(np.random.rand(2), np.random.randn(2), np.random.randint(0, 10, 3), np.random.choice([1, 2, 3], 2, replace=False), np.random.permutation(4), np.random.normal(0, 1), np.random.uniform(0, 1, (1, 2)), np.random.exponential())
g = np.random.default_rng(1); print(g.random(2), g.integers(0, 10, 3), g.choice(5, 2), g.permutation(3), g.uniform(0, 1))
#### torch index mixed
import torch
t = torch.arange(24).view(2, 3, 4)
print(t[:, [0, 2], 1:3], t[..., None].shape, t[t % 5 == 0], t[None, ..., ::2].shape, t[0, torch.tensor([True, False, True])], t[[0, 1], [1, 2]], t[:, torch.tensor([[0, 1]])].shape, t[1, ..., -1], t[torch.tensor(1), 0], t[..., [1], None].shape, t[:, :, torch.tensor([0, 3])][1], t[True].shape, t[False].shape, t[[[0, 1], [2, 0]]] if False else 0, t[(0, slice(None), 1)], t[0][1][2], t[-1, -1, -1].item(), t[torch.tensor([0]), :, torch.tensor([1, 2])].shape, t[:, None, [0]].shape)
u = t.clone(); u[u > 20] = 0; u[0, :, 1] += 100; u[:, [0, 1]] = u[:, [1, 0]]; u[1, 2] = torch.tensor([9, 8, 7, 6]); u[..., 0] *= -1; print(u)
for f in [lambda: t[5], lambda: t[0, 0, 0, 0], lambda: t["x"], lambda: t[1.5], lambda: t[torch.tensor([True])], lambda: t[[7]], lambda: t[::-1], lambda: t.view(5), lambda: t + torch.ones(5), lambda: torch.cat([t, t[0]]), lambda: bool(t), lambda: int(t), lambda: t.item(), lambda: t @ t, lambda: torch.zeros(-1), lambda: t.sum(5), lambda: t.mean(), lambda: torch.stack([t, t[0]]), lambda: torch.tensor([[1], [2, 3]]), lambda: t.nope, lambda: t.reshape(2, -1, -1), lambda: torch.tensor("a"), lambda: t.squeeze(7), lambda: t.permute(0, 1), lambda: t[0] == "a", lambda: t < None, lambda: float(torch.tensor([1, 2])), lambda: torch.eye(2).inverse().foo(), lambda: len(torch.tensor(1)), lambda: list(torch.tensor(1)), lambda: torch.arange(0, 1, 0), lambda: torch.nn.Linear(2, 3)(torch.ones(4)), lambda: torch.ones(2, requires_grad=True).numpy(), lambda: torch.randint(5, 2, (1,)), lambda: torch.softmax(t, 0), lambda: torch.nn.functional.cross_entropy(torch.ones(2, 3), torch.tensor([5, 0])), lambda: t.to("nope"), lambda: torch.full((2,), "a"), lambda: t.scatter(0, t, 1), lambda: torch.linalg.inv(torch.zeros(2, 2)), lambda: torch.linalg.cholesky(-torch.eye(2)), lambda: hash(t) and 1]:
    try: print(f())
    except Exception as e: print(type(e).__name__, str(e).split("\n")[0])
#### inplace views
import torch
x = torch.arange(6.0).view(2, 3); v = x[:, 1]; v.mul_(10); w = x.t(); w[0, 0] = -1; y = x.reshape(-1); y[5] = 99; z = x.flatten()[1:3]; z.zero_(); print(x, 0)
e = torch.zeros(3).expand(2, 3)
try: e.add_(1)
except RuntimeError as err: print(err)
x.clamp_(0, 5).sqrt_(); x[x > 1].fill_(0); print(x); x.transpose_(0, 1); print(x.shape, x.is_contiguous(), x.stride()); x.masked_fill_(x > 2, -1).index_fill_(0, torch.tensor([0]), 7); print(x); a = torch.ones(3); b = a; b += 1; print(a, a is b); b = b + 1; print(a, a.data_ptr if False else 0); c = torch.arange(4); c[1:] = c[:-1].clone(); print(c); c.swapaxes; x.copy_(torch.zeros(2)); print(x, torch.Tensor.add_(a, 1), a.unsqueeze_(0).shape, a.squeeze_().shape, a.resize_ if False else 0)
#### dtype promotion
import torch
ks = [torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]
for a in ks: print([str(torch.promote_types(a, b))[6:] for b in ks])
print((torch.tensor(1) + 1.5).dtype, (torch.ones(2, dtype=torch.int32) + torch.tensor(1.5)).dtype, (torch.ones(2, dtype=torch.float16) * torch.tensor(2.0, dtype=torch.float64)).dtype, (torch.ones(2) * 1j).dtype, (torch.tensor([1]) / 2).dtype, (torch.tensor([True]) + True).dtype, torch.tensor([True, False]).sum().dtype, torch.tensor([1], dtype=torch.uint8) - 2, (torch.tensor(5) // 2).dtype, torch.tensor([7]) // 2.0, torch.tensor([-7]) // 2, torch.tensor([-7]) % 3, torch.fmod(torch.tensor([-7]), 3), torch.tensor(2) ** -1 if False else 0, torch.tensor([1.5]).int(), torch.result_type(torch.tensor(1), 1.0), torch.can_cast(torch.float32, torch.int32), torch.where(torch.tensor([True]), 1, 2.5), torch.mean(torch.ones(2, dtype=torch.float16)).dtype, torch.arange(3.0).dtype, torch.arange(0, 1, 0.25), torch.tensor([1, 2.0]).dtype, torch.full((1,), 3).dtype, torch.full((1,), True).dtype, torch.linspace(0, 1, 3).dtype, torch.zeros(1, dtype=int).dtype, torch.as_tensor([1.0], dtype=torch.half))
#### print dtypes sizes
import torch
print(torch.tensor([1.5, 2]), torch.tensor([1e10, 1]), torch.tensor([1e-5, 1]), torch.tensor([float("nan"), 1, float("inf")]), torch.tensor([1, 200]), torch.tensor([True]), torch.tensor([1.5], dtype=torch.float16), torch.tensor([1 + 2j]), torch.tensor(3.14159), torch.tensor(5), torch.tensor(True), torch.tensor([]), torch.zeros(0, 3), torch.zeros(2, 0), torch.tensor([1, 2], dtype=torch.uint8), torch.tensor([0.1, 100]), torch.tensor([123456.789]), torch.tensor([1e8]), torch.tensor([99999999.0]), torch.tensor([-0.0]), torch.tensor([[1.0, -2]]), sep="\n")
print(torch.arange(1001), torch.arange(2000.0).view(20, 100), torch.arange(30), torch.arange(50) / 7, torch.ones(3, 3, 3, dtype=torch.int8), torch.zeros(1, 1, 1), torch.arange(12).view(2, 3, 2) * 1.5, torch.tensor([1e-40]), torch.tensor([3, -1], dtype=torch.bfloat16), torch.tensor([1e5, 1e-3], dtype=torch.float64), torch.eye(2).bool(), torch.rand(0), torch.full((2, 2), 1e6), torch.tensor([[[]]]), torch.ones(1200)[::7], torch.complex(torch.tensor([1.0, 1e5]), torch.tensor([0.5, -2])), torch.tensor([float("inf")] * 2), torch.tensor([1, 2**62]), sep="\n")
print(torch.Size([1, 2]), torch.float32, torch.device("cpu"), repr(torch.tensor(1.0)), str(torch.tensor([1.0])), f"{torch.tensor(1.23456):.2f}", f"{torch.tensor(7):>5d}|", f"{torch.tensor([1.0])}", "%s" % torch.tensor(2), "%.3f" % torch.tensor(2.0), "{:e}".format(torch.tensor(12345.0)), torch.finfo(torch.float16), torch.iinfo(torch.int8), torch.nn.Parameter(torch.ones(2)), torch.nn.Linear(2, 3), torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU()), torch.strided, torch.contiguous_format, [torch.tensor(1), (torch.tensor([2.0]),)], {"a": torch.tensor(1)})
torch.set_printoptions if False else 0
#### nn layers odd
import torch, torch.nn as nn
torch.manual_seed(0)
x = torch.linspace(-1, 1, 24).view(2, 3, 4)
r = lambda t: [round(v, 4) for v in t.flatten().tolist()]
with torch.no_grad():
    for l in [nn.LayerNorm(4, elementwise_affine=False), nn.LayerNorm((3, 4), bias=False), nn.RMSNorm(4), nn.GroupNorm(3, 3), nn.BatchNorm1d(3).eval(), nn.InstanceNorm1d(3, affine=True), nn.Conv1d(3, 2, 2, stride=2, padding=1, dilation=1, bias=False), nn.Conv1d(3, 3, 3, groups=3, padding="same"), nn.ConvTranspose1d(3, 2, 2, output_padding=0), nn.MaxPool1d(2, ceil_mode=True), nn.AvgPool1d(2, count_include_pad=False, padding=1), nn.AdaptiveAvgPool1d(3), nn.AdaptiveMaxPool1d(2), nn.LPPool1d(2, 2), nn.PReLU(3), nn.Softmax(1), nn.LogSoftmax(-1), nn.Softmin(0), nn.Hardtanh(-0.5, 0.5), nn.ELU(0.5), nn.SELU(), nn.CELU(2.0), nn.GELU("tanh"), nn.Softplus(2, 1), nn.Softshrink(0.2), nn.Hardshrink(), nn.Tanhshrink(), nn.Threshold(0.1, -3), nn.GLU(-1), nn.Mish(), nn.SiLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.LogSigmoid(), nn.ReLU6(), nn.LeakyReLU(0.3), nn.RReLU().eval(), nn.Flatten(0, 1), nn.Unflatten(2, (2, 2)), nn.Upsample(scale_factor=2, mode="linear", align_corners=True), nn.ZeroPad1d(1), nn.ReflectionPad1d(2), nn.ReplicationPad1d((0, 1)), nn.ConstantPad1d(1, 3.5), nn.CircularPad1d(1), nn.Identity(1, b=2), nn.Dropout(0.5).eval(), nn.AlphaDropout().eval(), nn.Bilinear(4, 4, 2)]:
        y = l(x, x) if isinstance(l, nn.Bilinear) else l(x)
        print(l, tuple(y.shape), r(y)[:6])
print(nn.EmbeddingBag(5, 2, mode="max")(torch.tensor([[1, 2], [3, 4]])), nn.Embedding(5, 2, padding_idx=-1).weight[-1], nn.CosineSimilarity(dim=-1)(x, x + 1), nn.PairwiseDistance(1, keepdim=True)(x[0], x[1]), nn.Fold((2, 2), 1)(torch.ones(1, 3, 4)).shape, nn.Unfold(2)(torch.ones(1, 1, 3, 3)).shape, nn.PixelShuffle(2)(torch.ones(1, 4, 1, 1)).shape, nn.ModuleDict({"a": nn.Linear(1, 1)}), nn.ModuleList([nn.ReLU(), nn.Tanh()])[-1])
#### losses odd
import torch, torch.nn as nn, torch.nn.functional as F
x = torch.tensor([[0.2, 1.5, -0.3], [1.0, -1.0, 0.5]]); t = torch.tensor([1, 2]); p = torch.tensor([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]]); y = torch.tensor([1.0, -1.0])
print(F.cross_entropy(x, t, label_smoothing=0.1), F.cross_entropy(x, p), F.cross_entropy(x, t, weight=torch.tensor([1.0, 2, 3]), reduction="none"), F.cross_entropy(x, torch.tensor([1, -100])), nn.CrossEntropyLoss(ignore_index=2, reduction="sum")(x, t), F.nll_loss(x.log_softmax(1), t), F.kl_div(x.log_softmax(1), p, reduction="batchmean"), F.kl_div(x.log_softmax(1), p.log(), log_target=True, reduction="sum"), F.mse_loss(x, p, reduction="none"), F.l1_loss(x, p), F.smooth_l1_loss(x, p, beta=0.5), F.huber_loss(x, p, delta=0.3), F.binary_cross_entropy(p, p), F.binary_cross_entropy_with_logits(x, p, pos_weight=torch.tensor([1.0, 2, 3])), F.margin_ranking_loss(x[0], x[1], torch.tensor([1.0, -1, 1]), margin=0.1), F.hinge_embedding_loss(x[0], torch.tensor([1.0, -1, 1])), F.cosine_embedding_loss(x, p, y, margin=0.2), F.triplet_margin_loss(x, p, -x, p=1), F.multi_margin_loss(x, t), F.multilabel_margin_loss(x, torch.tensor([[1, -1, 0], [2, 0, -1]])), F.multilabel_soft_margin_loss(x, p.round()), F.soft_margin_loss(x, p.round() * 2 - 1), F.poisson_nll_loss(x, p, full=True), F.gaussian_nll_loss(x, p, p), F.ctc_loss(torch.zeros(4, 1, 3).log_softmax(2), torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2])), nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: (a - b).abs().sum(-1))(x, p, -x))
for f in [lambda: F.cross_entropy(x, t, reduction="nope"), lambda: F.mse_loss(x, torch.ones(2, 2)), lambda: F.nll_loss(x, torch.tensor([1])), lambda: F.binary_cross_entropy(x, p), lambda: F.kl_div(x, t), lambda: nn.CrossEntropyLoss()(x, torch.tensor([1.0, 2.0]))]:
    try: print(f())
    except Exception as e: print(type(e).__name__, str(e).split("\n")[0])
#### distributions
import torch, torch.distributions as D
torch.manual_seed(3)
n = D.Normal(torch.tensor([0.0, 1]), torch.tensor([1.0, 2])); c = D.Categorical(logits=torch.tensor([0.1, 1, 2])); b = D.Bernoulli(probs=torch.tensor([0.3]))
print(n, c, b, n.log_prob(torch.tensor([0.5, 0.5])), c.log_prob(torch.tensor(1)), c.entropy(), c.probs, D.kl_divergence(n, D.Normal(0.0, 1.0)), n.sample(), n.rsample((2,)).shape, c.sample((3,)), b.sample(), D.MultivariateNormal(torch.zeros(2), torch.eye(2)).log_prob(torch.ones(2)), D.Beta(1.0, 2.0).mean, D.Gamma(2.0, 1.0).variance, D.Dirichlet(torch.ones(3)).log_prob(torch.tensor([0.2, 0.3, 0.5])), D.Uniform(0, 2).cdf(torch.tensor(0.5)), n.icdf(torch.tensor(0.9)), D.Independent(n, 1).log_prob(torch.zeros(2)), D.Poisson(2.0).log_prob(torch.tensor(3.0)), D.Laplace(0.0, 1.0).entropy(), D.OneHotCategorical(torch.tensor([0.2, 0.8])).sample(), D.Exponential(2.0).stddev, D.TransformedDistribution(D.Normal(0.0, 1.0), [D.transforms.ExpTransform()]).log_prob(torch.tensor(2.0)), D.MixtureSameFamily(D.Categorical(torch.ones(2)), D.Normal(torch.tensor([0.0, 1]), torch.ones(2))).mean, n.batch_shape, n.event_shape, n.support, n.arg_constraints, n.has_rsample)
try: D.Normal(0.0, -1.0)
except ValueError as e: print(e)
try: c.log_prob(torch.tensor(7))
except ValueError as e: print(e)
#### func
import torch
from torch.func import grad, vmap, jacrev, jacfwd, hessian, vjp, jvp, functional_call, stack_module_state, grad_and_value
f = lambda x: (x ** 3).sum()
x = torch.tensor([1.0, 2.0])
print(grad(f)(x), vmap(lambda a, b: a * b)(x, x), jacrev(lambda x: x ** 2)(x), jacfwd(lambda x: x.sin())(x).diag(), hessian(f)(x), vjp(f, x)[1](torch.tensor(1.0)), jvp(f, (x,), (torch.ones(2),)), grad_and_value(f)(x), vmap(grad(f))(x[:, None]), vmap(lambda a: a.sum(), in_dims=1)(torch.eye(2)), vmap(lambda a: (a, a.sum()), out_dims=(1, 0))(torch.eye(2)), grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(x, x), vmap(vmap(torch.dot))(torch.ones(2, 2, 3), torch.ones(2, 2, 3)))
m = torch.nn.Linear(2, 1); print(functional_call(m, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, (x,)))
#### torch misc
import torch
x = torch.tensor([[3.0, 1, 2], [9, 7, 8]])
print(x.topk(2), x.sort(descending=True), x.max(1), torch.quantile(x, torch.tensor([0.25, 0.5])), x.cumsum(1), x.cumprod(1), x.diff(), torch.histc(x, 3), torch.bincount(torch.tensor([0, 1, 1])), x.unfold(1, 2, 1), x.roll(1, 1), x.flip(0), x.rot90(), torch.einsum("ij,kj->ik", x, x), torch.cdist(x, x), x.scatter_add(1, torch.tensor([[0, 1, 2]]), torch.ones(1, 3)), x.gather(1, torch.tensor([[0], [2]])), torch.searchsorted(torch.tensor([1, 3, 5]), 3), torch.bucketize(x, torch.tensor([2.0, 5])), x.index_select(1, torch.tensor([2, 0])), torch.tril(x), x.logsumexp(1), x.var(dim=1, correction=0), x.std_mean(1) if hasattr(x, "std_mean") else 0, torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3])), torch.combinations(torch.tensor([1, 2, 3])), torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij"), x.tensor_split(2, 1), x.chunk(2), torch.block_diag(x, x).shape, x.renorm(2, 0, 1), torch.nan_to_num(torch.tensor([float("nan")])), x.repeat(1, 2).shape, x.repeat_interleave(2, 0).shape, torch.unique_consecutive(torch.tensor([1, 1, 2])), x.argsort(), x.msort(), x.kthvalue(2), x.mode(), x.nansum(), x.lerp(x + 1, 0.5), torch.addmm(torch.zeros(2, 2), x, x.T), torch.heaviside(torch.tensor([0.0]), torch.tensor([0.5])), x.count_nonzero(), torch.vander(torch.tensor([1, 2])), torch.logspace(0, 1, 2), torch.tensordot(x, x, ([1], [1])), torch.linalg.norm(x, dim=1), torch.linalg.vector_norm(x, 1), torch.kron(x, x).shape, torch.trapezoid(x), x.isclose(x), x.allclose(x), x.bool().any(1), torch.finfo(torch.bfloat16).max, x.element_size(), x.nelement(), x.dim(), x.ndim, x.storage_offset(), x.is_floating_point(), x.new_full((1,), 2), x.tolist(), x.type(), x.is_leaf, x.layout, x.names if False else 0, torch.is_tensor(x), torch.numel(x), x.byte(), torch.tensor(2).item(), torch.get_default_dtype(), torch.initial_seed() if False else 0, sep="\n")
torch.manual_seed(5); print(torch.rand(2), torch.randn(2), torch.randint(0, 9, (3,)), torch.randperm(5), torch.bernoulli(torch.tensor([0.5])), torch.multinomial(torch.tensor([0.2, 0.8]), 3, replacement=True), torch.normal(0.0, 1.0, (2,)), torch.rand_like(x), torch.empty(2).uniform_(), torch.empty(2).exponential_(), torch.empty(1).normal_(1, 2), torch.empty(1).random_(5), torch.nn.functional.dropout(torch.ones(5), 0.5), torch.nn.init.xavier_uniform_(torch.empty(2, 2)), torch.poisson(torch.ones(2)), torch.empty(1).cauchy_(), torch.empty(1).geometric_(0.5), torch.empty(1).log_normal_(), torch.nn.functional.gumbel_softmax(x), torch.get_rng_state().shape)
g = torch.Generator().manual_seed(1); print(torch.rand(2, generator=g), torch.randperm(3, generator=g), g.initial_seed())
#### rev
import numpy as np
a = np.arange(6).reshape(2, 3)
print(a[:, ::-1], a[::-1], a[::-2, 1], np.argsort(np.array([3, 1, 2]))[::-1][:2])
c = np.array([3, 1, 2])[::-1]; c.sort(); print(c); c.fill(7); print(c)
#### json hooks
import json
print(json.loads('{"a": {"b": 1.5}}', object_hook=lambda d: list(d.items()), parse_float=lambda s: "f" + s), json.loads("[NaN, 1]", parse_constant=lambda c: c + "!"))
#### module repr
import torch, torch.nn as nn
class P(nn.Module):
    def __init__(self):
        super().__init__(); self.l = nn.Linear(2, 3); self.n = nn.LayerNorm(3)
    def forward(self, x): return self.n(self.l(x))
    def extra_repr(self): return "k=1"
print(P(), nn.Sequential(P(), nn.ReLU()), [nn.Embedding(3, 2)], nn.Conv2d(1, 2, 3, padding=1), str(nn.Tanh()))
#### itertools more
import itertools as it
print(list(it.accumulate("abc")), list(it.chain([1], (2,), {3: 4})), next(it.islice(it.cycle("ab"), 3, None)), sum(1 for _ in it.combinations(range(5), 3)), list(it.groupby([1, 1, 2]))[0][0], list(it.zip_longest()), max(it.permutations([1, 2, 3])))
#### dict views and merging
d = {"a": 1, "b": 2}; e = {"b": 3, "c": 4}
print(d | e, d.keys() & e.keys(), d.keys() - e.keys(), d.items() ^ e.items() == {("a", 1), ("b", 2), ("b", 3), ("c", 4)}, {**d, **e}, dict(zip("xy", [1, 2])), d.setdefault("z", []), d.pop("q", None), d.popitem(), list(reversed(d)), dict.fromkeys("ab", 0), d == {"b": 2, "a": 1}, sorted(d.items(), key=lambda kv: -kv[1]))
d |= [("k", 9)]; print(d, {v: k for k, v in d.items()}, {k: v for k, v in d.items() if v > 1}, d.get("k"), "k" in d, len(d), list(d.values()), d.copy() is d)
for f in [lambda: d["no"], lambda: {[]: 1}, lambda: dict([1]), lambda: d.update(5), lambda: {}.popitem()]:
    try: print(f())
    except Exception as x: print(type(x).__name__, x)
try:
    for k in d: d[k + "x"] = 1
except RuntimeError as x: print(x)
#### set algebra
a, b = {1, 2, 3}, frozenset([3, 4])
print(a | b, a & b, a - b, a ^ b, a <= {1, 2, 3, 4}, a.isdisjoint({9}), a.union([7], (8,)), a.symmetric_difference([1]), {*a, 5}, type(b | a).__name__, type(a | b).__name__, hash(b) == hash(frozenset([4, 3])), len(a), sorted(a, reverse=True), a.issuperset([1]), {x % 2 for x in range(5)})
a.discard(99); a.update([5]); a.intersection_update({1, 5, 9}); print(a); a -= {1}; a |= {2}; print(sorted(a), a.pop() in (2, 5))
for f in [lambda: a.remove(77), lambda: {1} + {2}, lambda: {[1]}, lambda: set().pop(), lambda: a | [1]]:
    try: print(f())
    except Exception as x: print(type(x).__name__, x)
#### strings odd
s = "Hello, Wörld ß"
print(s.encode("utf-8"), s.encode("latin-1"), s.encode("ascii", "replace"), s.encode("ascii", "xmlcharrefreplace"), s.encode("ascii", "backslashreplace"), s.translate({111: "0", ord("l"): None}), s.expandtabs(), s.rjust(20, "."), s.isprintable(), "%-10s|" % s[:3], s.index("W"), s[::-2], s.splitlines(), "a\x0bb\x1cc\u2028d".splitlines(), "  x ".lstrip(), "xxabxx".strip("x"), "aXbX".rsplit("X", 1), "ab" in "cab", "a".join("xyz"), "%s" % (1,), "{:,}".format(1234567), "é" == "é", len("👍🏽"), "ﬁ".upper(), "İ".lower(), "ΑΣ".lower(), "a\tb".expandtabs(3), "Ab".swapcase(), "x".zfill(3), "-x".zfill(4), ascii("é"), repr("\t'\""), "a" "b", r"\n", "\N{BULLET}", "abc" > "abd", min("hello"), "tEST".title(), "they're".capitalize())
#### slices and unpacking
a, *b, (c, *d), e = 1, 2, 3, (4, 5, 6), 7
print(a, b, c, d, e, [*range(3)][::-1], [1, 2, 3, 4][-3:-1], (1, 2) + (3,), [0] * 3, [[]] * 2 == [[], []], list(range(10))[slice(1, 8, 3)], slice(1, None, 2).indices(6), range(10)[2:8:2], range(5, 0, -2)[1], 3 in range(0, 9, 3), range(3) == range(0, 3, 1), len(range(0, 100, 7)), list(reversed(range(4))), range(10).index(4))
x = [1, 2, 3, 4, 5]; x[1:3] = "ab"; del x[::2]; x.extend((9, 8)); x.sort(key=str); print(x, x.count(9)); x[:0] = [0]; x += (1,); print(x, x.index(1)); y = x[:]; y.reverse(); print(y is x, y)
#### generators combos
def walk(t):
    for x in t:
        if isinstance(x, list): yield from walk(x)
        else: yield x
def acc():
    total = 0
    while True:
        v = yield total
        if v is None: return total
        total += v
def outer():
    r = yield from acc()
    print("inner returned", r)
    yield "end"
g = outer(); next(g); g.send(3); print(g.send(4), g.send(None), list(walk([1, [2, [3, 4]], 5])), sum(x * x for x in range(4)), dict((k, v) for k, v in enumerate("ab")), any(x > 2 for x in [1, 3]), all([]), list(zip(*[[1, 2], [3, 4]])), [y for x in [[1], [2, 3]] for y in x if y > 1], {(x, y) for x in range(2) for y in range(2) if x != y} == {(0, 1), (1, 0)}, next((x for x in [] if x), "none"), list(map(max, [1, 5], [3, 2])), list(filter(None, [0, 1, ""])), sorted([(2, "b"), (1, "z"), (2, "a")], key=lambda t: (-t[0], t[1])), list(enumerate("ab", 5)), [*iter(lambda it=iter([1, 2, 0, 3]): next(it), 0)], min([3, 1], default=0), max([], default="d"), max("ab", "c", key=len), sum([[1], [2]], []), round(-2.567, 2), divmod(17, 5), pow(2, 10, 1000), abs(-3 + 4j), bin(10), f"{10:08b}", int("ff", 16), chr(97), list("abc"), tuple("ab"), str(b"x"), bool([]), isinstance(True, int), issubclass(bool, int), callable(len), id(1) == id(1), hash("a") == hash("a"), type(None).__name__, type(...).__name__, vars(type("T", (), {"a": 1}))["a"], getattr(3, "real"), zip("ab", [1]).__next__())
#### dunder arithmetic
class V:
    def __init__(s, *c): s.c = c
    def __add__(s, o): return V(*(a + b for a, b in zip(s.c, o.c))) if isinstance(o, V) else NotImplemented
    def __radd__(s, o): return s if o == 0 else NotImplemented
    def __mul__(s, k): return V(*(a * k for a in s.c))
    __rmul__ = __mul__
    def __matmul__(s, o): return sum(a * b for a, b in zip(s.c, o.c))
    def __neg__(s): return s * -1
    def __eq__(s, o): return isinstance(o, V) and s.c == o.c
    def __hash__(s): return hash(s.c)
    def __getitem__(s, i): return s.c[i]
    def __len__(s): return len(s.c)
    def __bool__(s): return any(s.c)
    def __repr__(s): return f"V{s.c}"
    def __format__(s, spec): return "<" + ",".join(format(a, spec) for a in s.c) + ">"
    def __iadd__(s, o): s.c = tuple(a + 1 for a in s.c); return s
    def __contains__(s, x): return x in s.c
    def __call__(s, *a, **k): return a, k
    def __lt__(s, o): return s.c < o.c
    def __round__(s, n=0): return V(*(round(a, n) for a in s.c))
    def __index__(s): return s.c[0]
    def __divmod__(s, o): return "dm", o
    def __rsub__(s, o): return "rsub", o
    def __pow__(s, o, m=None): return "pow", o, m
    def __invert__(s): return "inv"
    def __reversed__(s): return iter("rev")
    def __abs__(s): return 42
v, w = V(1, 2), V(3.5, 4)
print(v + w, 2 * v, v @ w, -v, v == V(1, 2), {v: 1}[V(1, 2)], v[0], len(v), bool(V(0)), sum([v, w]), f"{w:.1f}", 1 in v, v(1, a=2), sorted([w, v]), max(v, w), round(w), [10, 20, 30][v], divmod(v, 3), 5 - v, pow(v, 2, 3), v ** 2, ~v, list(reversed(v)), abs(v), list(v), *v, hex(v), v != w)
v += w; print(v)
for f in [lambda: v + 1, lambda: v - 1, lambda: 1 + v, lambda: v / 2, lambda: v > 3, lambda: v["a"], lambda: v @ 3 if False else v << 1, lambda: -"a", lambda: [] < 3, lambda: {} < {}, lambda: 1 + "a", lambda: "a" * 1.5, lambda: None + 1, lambda: len(5), lambda: 5(), lambda: 5[0], lambda: iter(5), lambda: int(None), lambda: float("x"), lambda: sorted([1, None]), lambda: max([]), lambda: "a".foo, lambda: [].x, lambda: (1).y, lambda: next(iter([])), lambda: dict(a=1)["b"], lambda: (lambda x: x)(), lambda: (lambda: 1)(2), lambda: (lambda *, a: a)(b=1), lambda: print(sep=1), lambda: "abc".replace("a"), lambda: isinstance(1, "a"), lambda: range("a"), lambda: [1, 2].index(3), lambda: "a".join([1]), lambda: b"a"["x"], lambda: sum(["a"]), lambda: zip(1), lambda: enumerate(), lambda: abs("a"), lambda: chr(1 << 30), lambda: open, lambda: round(1.5, "a"), lambda: reversed({1}), lambda: hash([]), lambda: setattr(1, "a", 2), lambda: type("a", 1), lambda: object().x]:
    try: print(f())
    except Exception as x: print(type(x).__name__, x)
#### enum combos
from enum import Enum, IntEnum, Flag, IntFlag, auto, unique, StrEnum
class C(Enum):
    R = 1
    G = "g"
    ALIAS = 1
    @property
    def low(self): return self.name.lower()
    @classmethod
    def default(cls): return cls.G
class L(IntEnum):
    A = auto(); B = auto(); D = 10; E = auto()
class F(Flag):
    X = auto(); Y = auto(); Z = X | Y
class S(StrEnum):
    ONE = auto(); TWO = "zwei"
print(C.R, repr(C.R), C("g"), C["R"], C.R.low, C.default(), list(C), C.ALIAS is C.R, C.__members__, L.E + 1, L.A < L.B, sorted([L.D, L.A]), F.X | F.Y, F.X in F.Z, F(0), ~F.X, F.Z & F.X, repr(F.Z), S.ONE, S.TWO == "zwei", f"{S.ONE:>5}", f"{L.B:03d}", str(L.A), isinstance(L.A, int), C.R in C, len(C), {C.R: 1}, C.R.value, [m.name for m in F], type(C.R), L(2), C.R == 1, L.A == 1, bool(F(0)), F["X"], list(F.Z))
for f in [lambda: C(9), lambda: C["no"], lambda: setattr(C, "R", 2), lambda: C.R < C.G, lambda: F(99)]:
    try: print(f())
    except Exception as x: print(type(x).__name__, x)
@unique
class U(Enum):
    A = 1
print(Enum("Dyn", "a b c").b, Enum("Dyn2", {"x": 10})(10), U.A)
#### dataclass combos
from dataclasses import dataclass, field, asdict, astuple, replace, fields, KW_ONLY, InitVar, is_dataclass
from typing import ClassVar, Optional
@dataclass(order=True, frozen=True)
class P:
    x: int
    y: float = 0.5
    tags: tuple = field(default=(), compare=False, repr=False)
    n: ClassVar[int] = 3
@dataclass
class Q:
    a: int
    b: list = field(default_factory=list)
    _: KW_ONLY
    c: str = "c"
    d: InitVar[int] = 2
    e: int = field(init=False)
    def __post_init__(self, d): self.e = self.a * d
@dataclass(slots=True)
class R(P if False else object):
    z: Optional[int] = None
p, q = P(1), Q(3, d=5, c="z")
print(p, q, p < P(2), p == P(1, 0.5, ("t",)), hash(p) == hash(P(1)), asdict(q), astuple(p), replace(p, x=9), [f.name for f in fields(Q)], fields(P)[1].default, fields(P)[0].type, is_dataclass(p), R(3), R.__slots__, Q.__match_args__, sorted([P(2), P(1, 0.1)]), p.n, repr(fields(P)[0])[:60])
for f in [lambda: P(), lambda: setattr(p, "x", 2), lambda: Q(1, [], "c"), lambda: P(1, 2, 3, 4), lambda: p < 3, lambda: replace(q, e=1)]:
    try: print(f())
    except Exception as x: print(type(x).__name__, x)
#### logging
import logging, sys
log = logging.getLogger("a.b"); log.setLevel(logging.INFO)
h = logging.StreamHandler(sys.stdout); h.setFormatter(logging.Formatter("%(levelname)-8s|%(name)s|%(message)s")); log.addHandler(h); log.propagate = False
log.info("x %s %d", "y", 3); log.debug("no"); log.warning("w %(k)s", {"k": 1}); log.log(logging.ERROR, "e"); print(log.isEnabledFor(logging.DEBUG), log.level, logging.getLevelName(30), log.name, log.handlers[0].level, log.getEffectiveLevel(), log.parent.name)
try: 1 / 0
except ZeroDivisionError: log.error("failed", exc_info=False)
log.addFilter(lambda r: "skip" not in r.getMessage()); log.info("skip me"); log.info("keep")
#### exceptions combos
class E(Exception):
    def __init__(self, code, msg="m"): super().__init__(msg); self.code = code
    def __str__(self): return f"[{self.code}] {self.args[0]}"
try:
    try: raise E(5)
    except E as e: raise KeyError("k") from e
except KeyError as e: print(repr(e), repr(e.__cause__), e.__cause__.code, str(e.__cause__), e.__context__ is e.__cause__, e.__suppress_context__, e.args)
def f():
    try: return "try"
    finally: print("fin")
def g():
    for i in range(3):
        try:
            if i == 1: continue
            if i == 2: break
        finally: print("f", i)
    else: print("else")
    return i
print(f(), g())
e = ValueError("a", 2); e.add_note("n1"); print(e, e.args, e.__notes__, str(KeyError("k")), str(Exception()), repr(Exception("x")), issubclass(KeyError, LookupError), StopIteration(5).value, AssertionError("m"), SystemExit(3).code)
try: assert 1 > 2, ("t", 1)
except AssertionError as e: print(e.args)
try:
    try: raise ValueError("one")
    finally: raise TypeError("two")
except TypeError as e: print(repr(e.__context__))
def gen():
    try: yield 1
    except GeneratorExit: print("closed"); raise
for x in gen(): break
#### scope traps
x = "g"
def f():
    def g():
        nonlocal x
        x = "n"
    x = "l"; g(); return x
def h():
    global x
    x = "changed"
print(f(), x); h(); print(x, [x for x in range(2)], x, (lambda x=x: x)(), [(lambda: y)() for y in range(2)])
try:
    def k(): print(z); z = 1
    k()
except UnboundLocalError as e: print(e)
try: print(undefined)
except NameError as e: print(e, e.name)
if (n := 10) > 5: print(n)
print([m := 1, m + 1], [last := c for c in "ab"], last)
class A:
    x = 1
    def f(self): return x
    y = [x for _ in range(2)]
print(A().f(), A.y)
def kw(a, /, b, *args, c=3, **k): return a, b, args, c, k
print(kw(1, 2, 3, c=4, d=5, a=6), kw(*[1, 2], **{"c": 9}), kw(1, b=2))
def deco(n):
    def wrap(fn):
        def inner(*a): return fn(*a) * n
        return inner
    return wrap
@deco(2)
@deco(3)
def one(): return 1
print(one(), one.__name__)
#### numpy more
import numpy as np
a = np.arange(12).reshape(3, 4)
print(a[::-1, ::-1], a[[2, 0]], a[:, -1], a[a > 5].sum(), a.T[::2], a.reshape(-1, 2)[1], a.mean(axis=0), a.std(), a.max(axis=1, keepdims=True), a.argmax(axis=1), a.cumsum(), a.astype(float).round(1), a.tolist(), a.clip(2, 9), a.flatten()[::-3], a.ravel().shape, (a % 2 == 0).all(axis=1), a.nonzero()[0][:3], np.where(a > 5, a, -a), a @ a.T, a * 2 - 1, a // 3, a ** 2, -a, ~a, a & 1, a << 1, a / 2, 10 / (a + 1), a == a.T.T, np.sum(a, axis=(0, 1)), a.sum(axis=-1), a.prod(axis=0), a.min(), a.ptp() if hasattr(a, "ptp") else np.ptp(a), a.trace(), a.diagonal(1), a.repeat(2, axis=1).shape, a.swapaxes(0, 1).shape, a.transpose(1, 0).strides, a.item(5), a.dot(a.T)[0], a.copy() is a, a.view().shape, a.size, a.ndim, a.dtype.name, a.itemsize)
b = a.copy(); b[::-1, 0] = [7, 8, 9]; b[1] += 100; b[:, 1:3] *= 2; b[b > 100] = 0; print(b); v = b[::-1]; v[0, 0] = -5; print(b, v[0]); v += 1; print(b[0]); c = np.array([3, 1, 2])[::-1]; c.sort(); print(c, sorted(c), list(c), np.sort(c)[::-1], np.argsort(-c), c.max(), c + 1, c[0], c.tolist(), len(c), 2 in c, [x for x in c])
#### numpy errors
import numpy as np
a = np.ones((2, 3))
for f in [lambda: a + np.ones((3, 2)), lambda: a @ np.ones(2), lambda: a.reshape(4, 2), lambda: np.stack([a, a[0]]), lambda: a[2], lambda: a[:, 3], lambda: np.array([1, 2]).astype("nope"), lambda: np.linalg.solve(np.ones((2, 2)), np.ones(2)), lambda: np.zeros((2,)) [0.5], lambda: np.dot(a, a), lambda: np.vstack([a, np.ones(2)]), lambda: a.sum(2), lambda: np.arange(3).reshape(2, 2), lambda: np.split(np.arange(5), 2), lambda: np.random.choice(3, 5, replace=False), lambda: a.nope, lambda: np.int8(300), lambda: int(a), lambda: np.expand_dims(a, 5), lambda: np.swapaxes(a, 0, 7), lambda: np.take(a, 10), lambda: np.linalg.cholesky(-np.eye(2)), lambda: a.item(), lambda: np.percentile(a, 200), lambda: np.full((2, 2), "a") if False else 1, lambda: float(np.array([1, 2])), lambda: len(np.array(3)), lambda: iter(np.array(3)), lambda: np.squeeze(a, 0), lambda: np.max([]), lambda: np.mean([]), lambda: hash(a), lambda: {a: 1}, lambda: a.shape.x, lambda: np.array([1, 2, 3], dtype="float32").sum(axis=(0, 1)), lambda: a.T.flags.c_contiguous]:
    try: print(f())
    except Exception as e: print(type(e).__name__, str(e).split("\n")[0])
#### numpy ufuncs
import numpy as np
a = np.array([1.0, 4.0, 9.0]); o = np.zeros(3); i = np.arange(4)
print(np.sqrt(a), np.sqrt(a, out=o) is o, o, np.add(1, 2), np.add(a, 1, where=np.array([True, False, True]), out=o.copy()), np.multiply.reduce([1, 2, 3, 4]), np.logical_and.reduce([True, False]), np.add.outer([1, 2], [10, 20]), np.maximum.accumulate([1, 3, 2]), np.subtract.outer(a, a), np.power(2, i), np.exp(0), np.log(np.e), np.abs(-3), np.abs([-1, 2]), np.minimum(a, 5), np.fmax([1, np.nan], [2, 2]), np.bitwise_and.reduce(i), np.equal.outer(i, i).sum(), np.divmod(7, 3), np.isnan([np.nan, 1]), np.signbit([-1.0, 0]), np.floor(-1.5), np.mod(-5, 3), np.add.reduce(np.ones((2, 3)), axis=None), np.add.reduce(np.ones((2, 3)), axis=(0, 1)), np.add.reduce([1, 2], initial=10), np.sum([1, 2, 3], where=[True, False, True]), np.max([1, 5], initial=3), np.mean([1.0, 2, 6], where=[True, True, False]), np.exp, np.add.__name__, type(np.add).__name__, np.add.nargs, np.sqrt(4), np.sqrt([4, 9]), np.sqrt(-1.0 + 0j) if False else 0, np.square(3), np.sign(-2.5), np.reciprocal(2.0), np.hypot([3], [4]), np.arctan2(1, 1), np.degrees(np.pi), np.gcd(12, 18), np.lcm.reduce([2, 3, 4]), np.rint(2.5), round(float(np.cbrt(27.0)), 9))
x = np.arange(3); np.add.at(x, [0, 0, 2], 5); print(x); y = np.zeros(2, int)
for f in [lambda: np.maximum.reduce([])]:
    try: print(f())
    except Exception as e: print(type(e).__name__, str(e).split("\n")[0])
#### numpy dtypes
import numpy as np
for t in ["i4", "<f8", "float32", "bool", "u1", "int", "c8", int, float, np.int16, "f2", "?", "d"]:
    d = np.dtype(t); print(d, d.name, d.kind, d.itemsize, d.str, d.char, repr(d), d == np.zeros(1, t).dtype)
print(np.promote_types("i4", "u4"), np.promote_types("i1", "u1"), np.promote_types("f4", "i8"), np.result_type("u8", "i8"), np.result_type(np.float32, 1.5), np.iinfo("i2"), np.iinfo(np.int64).max, np.finfo(float).eps, np.finfo("f2").max, np.issubdtype(np.int32, np.integer), np.isscalar(3), np.array([1, 2.5]).dtype, np.array([True, 2]).dtype, np.array([1, 2], dtype=np.uint8) + np.array([1], dtype=np.int8), (np.array([1], dtype="u4") + np.array([1], dtype="i4")).dtype, np.array([1]).astype("f4").dtype, np.float32(1) / 3, np.float16(1) / 3, np.int32(7) // 2, np.uint8(250) + np.uint8(3), np.int64(5) % 3, type(np.int32(1) + 1), type(np.float32(1) * 2.0), np.bool_(1) + np.bool_(1), np.complex64(1 + 2j), np.float64("1.5"), np.int8(-1).astype("u1"), int(np.float32(2.7)), float(np.int8(3)), bool(np.zeros(1)), np.array(2.5).item(), np.float32(0.1) == 0.1, np.float32(0.1) + 0.2, 1 + np.float32(0.1), [np.int64(1), np.float32(2.5)], {np.int64(1): "a"}[1], hash(np.int64(5)) == hash(5), str(np.float32(1e10)), repr(np.float64(1e-7)), f"{np.float32(2.5)!r:>20}", "%d %.2f" % (np.int64(3), np.float32(1.239)), round(np.float32(2.567), 2), divmod(np.int64(-7), 2), np.int64(2) ** 70 if False else 0, sum(np.array([1, 2])), max(np.array([3.5, 1])), np.float64(3).is_integer(), np.int64(5).bit_count() if hasattr(np.int64(5), "bit_count") else 2)
#### torch more
import torch, torch.nn as nn, torch.nn.functional as F
x = torch.arange(12.0).view(3, 4)
print(x[:, [0, -1]], x[x > 5], x[..., None, :].shape, x[[0, 2], [1, 3]], x[1:, ::2], x[torch.tensor([True, False, True]), 1], x[None, :, -1], x.masked_fill(x > 8, -1), torch.where(x > 5, x, 0.0), x.index_put((torch.tensor([0]), torch.tensor([1])), torch.tensor(9.0)), x.take(torch.tensor([0, 5])), x.narrow(1, 1, 2), x.select(0, 1), x.unbind(1)[0], x.split([1, 3], dim=1)[1].shape, x.view(2, 6).T, x.sum((0, 1)), x.norm(dim=1), x.argmax(), x.std(0, unbiased=False), torch.cat([x, x], -1).shape, x.expand(2, 3, 4).shape, x.permute(1, 0)[0], x.movedim(0, 1).shape, x.swapaxes(0, 1).shape, x.diagonal(), torch.diag(torch.ones(2)), torch.outer(x[0], x[1]), x.clamp(min=3, max=7), x.remainder(3), torch.lerp(x, x + 1, 0.5)[0], x.softmax(-1).sum(-1), x.log1p(), x.sigmoid()[0], x.tril(), x.triu(1), x.nonzero()[:2], x.any(), x.all(1), x.prod(1), x.cumsum(0), x.flip([0, 1]), x.roll((1, 1), (0, 1)), x.gather(1, torch.tensor([[0], [1], [2]])), x.scatter(1, torch.tensor([[0], [1], [2]]), -1.0), x.topk(2, largest=False), x.sort(0, descending=True).values[0], torch.stack(list(x)).equal(x), x.dist(x + 1), x.T @ x, x.mv(x[0]), torch.bmm(x[None], x.T[None]).shape, torch.linalg.matrix_norm(x), torch.baddbmm(torch.zeros(1, 3, 3), x[None], x.T[None]).shape, x.float().half().dtype, x.long(), x.bool(), x.to(torch.int8), x.numel(), x.stride(), x.is_contiguous(), x.t().is_contiguous(), x.shape[-1], *x.shape, x.size(0), x.tolist()[0], x.mean().item(), float(x[0, 1]), int(x[1, 1]), bool(x[0, 1] == 1), len(x), [r.sum().item() for r in x], x[0] == x[1], (x == x).all().item(), x.eq(3).nonzero(), torch.isin(x, torch.tensor([1.0, 2])), torch.unique(x // 5, return_inverse=True), x.bincount if False else 0, torch.histogram(x, 3), x.mode(0), x.median(1), x.quantile(0.5, dim=1), x.var_mean if False else 0, torch.corrcoef(x[:2]), torch.cov(x[:2]), F.pad(x, (1, 1), value=9)[0], F.normalize(x, dim=1)[1], F.layer_norm(x, (4,))[0], F.gelu(x)[0], F.softplus(x)[0], F.cosine_similarity(x, x + 1), F.one_hot(torch.tensor([0, 2])), F.interpolate(x[None, None], scale_factor=2).shape, F.embedding(torch.tensor([1]), x), F.dropout(x, 0.0)[0], F.scaled_dot_product_attention(x[None], x[None], x[None]).shape, F.unfold(x[None, None], 2).shape, sep="\n")
#### torch modules
import torch, torch.nn as nn
torch.manual_seed(1)
class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(3, 2); self.register_buffer("b", torch.ones(2)); self.p = nn.Parameter(torch.zeros(2)); self.ls = nn.ModuleList([nn.Linear(2, 2, bias=False)]); self.d = nn.ModuleDict({"x": nn.ReLU()})
    def forward(self, x, *, s=1.0):
        x = self.l(x) * s + self.b + self.p
        for l in self.ls: x = l(x)
        return self.d["x"](x)
m = M(); x = torch.ones(1, 3)
print(m, m(x), m(x, s=2.0), [n for n, _ in m.named_parameters()], list(m.state_dict()), sum(p.numel() for p in m.parameters()), m.training, m.eval().training, [type(c).__name__ for c in m.children()], [n for n, _ in m.named_modules()], m.l.weight.shape, m.double()(x.double()).dtype, m.float().l.weight.dtype, dict(m.named_buffers()), m.get_submodule("ls.0"), m.get_parameter("p"), [n for n, _ in m.named_children()], m.requires_grad_(False).p.requires_grad, m.l.extra_repr(), isinstance(m, nn.Module), hasattr(m, "zzz"))
try: m.zzz
except AttributeError as e: print(e)
try: m(torch.ones(1, 4))
except RuntimeError as e: print(e)
h = m.l.register_forward_hook(lambda mod, i, o: o * 0); print(m(x)); h.remove(); s = m.state_dict(); s["p"] = torch.ones(2); print(m.load_state_dict(s), m.p)
try: m.load_state_dict({"p": torch.ones(2)})
except RuntimeError as e: print(e)
m.apply(lambda k: nn.init.constant_(k.weight, 0.5) if isinstance(k, nn.Linear) else None); print(m.l.weight, m(x)); q = nn.Sequential(nn.Linear(2, 2), nn.Tanh()); print(q[0].weight.shape, len(q), q[-1], [type(k).__name__ for k in q]); q.append(nn.Dropout(0.1)); print(q)
with torch.no_grad(): q[0].weight.fill_(1.0); q[0].bias.zero_()
opt = torch.optim.SGD(q.parameters(), lr=0.1, momentum=0.9); l = q.eval()(torch.ones(1, 2)).sum(); l.backward(); print(q[0].weight.grad); opt.step(); opt.zero_grad(); print(q[0].weight, q[0].weight.grad, opt)
#### shared memory and keys
import torch, numpy as np, json, re
from collections import deque
a = np.ones(3); t = torch.as_tensor(a); t += 1; u = torch.asarray(a); u[0] = 9; c = torch.as_tensor(a, dtype=torch.float32); c += 5; d = torch.tensor(a); d += 7; print(a, t, c)
x = torch.ones(2, 3); print({(2, 3): "found"}[x.shape], {x.shape: 1}[(2, 3)], hash(x.shape) == hash((2, 3)), x.shape in {(2, 3)}, callable(x), callable(a), callable(x.shape), callable(torch.float32), callable(torch.nn.ReLU()))
w = torch.tensor([2.0, 3.0], requires_grad=True); w.data += 1; y = w * w; y.sum().backward(); print(w.grad, w, w.data.requires_grad)
for f in [lambda: torch.nn.functional.embedding(torch.ones(2), torch.ones(3, 2)), lambda: torch.autograd.grad((w * 2).sum(), [w, torch.ones(1, requires_grad=True)])]:
    try: print(f())
    except RuntimeError as e: print(e)
y = w.exp(); y += 1
try: y.sum().backward()
except RuntimeError as e: print(e)
print(torch.unravel_index(torch.tensor([5, 7], dtype=torch.int32), (3, 4)), json.dumps({"a": np.float64(0.5), "b": [np.mean([1.0, 2.0])], "s": x.shape}))
for v in [np.float32(1), np.int64(2), x]:
    try: json.dumps(v)
    except TypeError as e: print(e)
def kind(v):
    match v:
        case [a, *rest]: return a, rest
        case int(): return "int"
    return "none"
print(kind(deque([1, 2])), kind(x.shape), kind(3))
class P: __match_args__ = ("x",)
for f in [lambda v: int(1, 2), lambda v: P(1, 2)]: pass
def two(v):
    match v:
        case int(a, b): return a
def three(v):
    match v:
        case P(a, b): return a
for f, v in [(two, 1), (three, P())]:
    try: print(f(v))
    except TypeError as e: print(e)
try: iter(5, 6)
except TypeError as e: print(e)
#### sets of numbers are gone through as CPython goes through them
a = set(range(300)) | set(range(1000)); [a.discard(i) for i in range(3, 1000)]; a.update([4000, -90, 9000]); print(a); a.clear(); a.update([9, 8, 1]); print(a, list(a))
a, b, L = {97, 8, 32, 15, 63, 57, 60, 83, 48, 26}, {12, 62, 3, 49, 55, 77, 97, 98, 0, 89, 57, 34, 92, 29}, [75, 13, 40, 3, 2, 3, 83, 69, 1, 48, 87, 27, 54, 92]; c = a & b; print((a, b, set(L), c))
a, b = {25778, 38600, 55921, 2262, 31472, 15908, 48741, 52258, 26495, 27152, 43564, 11338, 24059, 35966}, {57850, 46074, 50845, 44203, 48379, 24556, 5666, 28767, 43500}; a &= b; a.update(b); print((a, list(a)))
a, b, L = {23382, 27159, 22680, 103, 35289, 35396, 40861, 51540}, {40137, 21701, 30025, 39312, 1833, 52728, 15047, 41639, 11613, 36094, 38303, 11847, 56427, 6003}, [52326, 36112, 52238, 55789, 53506, 16730, 2127, 55164, 44113, 4617, 5454, 56890, 1093, 29687]; c = a & b; print((a, b, set(L), c))
a, L = {329, 508, 485, 116, 24, 319, 395, 351}, [442, 836, 998, 21, 230, 18, 406, 149, 36, 736, 982, 164]; a.update(L); a.add(1003); print(a)
a, b, L = {15377, 4280, 47544, 2647, 5549, 8717, 11121, 10915, 59702, 35272, 13957, 17564, 49749}, {21773, 39335, 33153, 55124, 16730, 24124, 22206, 22300, 7465}, [19085, 15413, 56847, 39582, 51087, 46865, 58147, 32033, 8870]; c = set(L) | set(b); print((a, b, set(L), c))
a, L = {36062, 14661}, [58770, 18165, 7060, 51577, 2998, 54248, 19381, 811, 40217, 43936]; a |= set(L); print(a)
a, b, L = {99, 69, 88, 60, 84, 45, 33, 23, 26, 39, 25, 31, 46}, {10, 35, 11, 96, 57, 83, 73, 82, 43, 29}, [49, 39, 5, 41, 23, 40, 74, 38, 31, 42]; c = a | b; print((a, b, set(L), c))
a, b = {10104, 6614, 32861, 50970, 52100, 21501, 5053, 33375, 43597, 11353, 11768, 50869, 9801, 9275}, {53841, 56724, 20957, 20029, 7004, 46486, 33708, 54702, 39445, 19234, 8277, 58573, 13548, 9285}; a &= b; a.update(b); print((a, list(a)))
a, b, L = {407, 577, 410, 176, 627, 91, 239, 497, 7, 181, 541, 324, 512, 914}, {664, 942, 448, 952, 702}, [654, 748, 231, 244, 320]; c = a.copy(); print((a, b, set(L), c))
a, L = {718, 754, 475}, [256, 436, 222, 964, 583, 736, 775, 801, 53, 506, 697, 403]; a.update(L); a.add(1003); print(a)
a, b, L = {74, 96, 32, 87, 57}, {21, 69, 45, 62, 53}, [15, 98, 26, 73, 49]; c = a ^ b; print((a, b, set(L), c))
a, L = {318, 447, 515, 693, 365, 776, 541, 331, 0, 126}, [115, 663, 939, 386, 391, 208, 570, 3, 284, 650, 612, 739, 902]; a |= set(L); print(a)
a, b, L = {13, 17, 9, 4, 14, 19}, {8, 15, 5, 14, 1}, [8, 16, 3, 18, 13]; c = a | b; print((a, b, set(L), c))
a, b = {571, 754, 50, 172, 304, 668, 752, 730}, {834, 569, 276, 364, 624, 757, 237, 401, 574}; a &= b; a.update(b); print((a, list(a)))
a, b, L = {54910, 17994, 7737, 40189, 45392, 11317}, {6241, 14553, 26195, 15284, 32441, 29479, 24765, 49192, 11049, 15185, 15449}, [53749, 18588, 30315, 35849, 38006, 25532, 13887, 29602, 46853, 16900, 21634]; c = a.copy(); print((a, b, set(L), c))
a, L = {97, 82, 19, 3, 1, 49, 18}, [72, 48, 32]; a.update(L); a.add(103); print(a)
a, b, L = {15, 16, 11, 3, 10, 0, 2, 8, 14, 7, 13, 6, 19, 17}, {16, 8, 2, 18, 10, 1, 4, 0, 6}, [1, 8, 10, 4, 8, 12, 3, 9, 3]; c = frozenset(a) | b; print((a, b, set(L), c))
a, L = {37677, 4250, 2855, 19693, 53408, 52360}, [27367, 19550, 20892]; a |= set(L); print(a)
a, b, L = {658, 379, 412, 314, 475, 612}, {348, 544, 519, 171, 29, 151, 256, 703, 226, 576, 136, 928, 115}, [189, 784, 420, 961, 745, 634, 51, 831, 101, 558, 697, 272, 731]; c = a | b; print((a, b, set(L), c))
a, b = {24124}, {58983, 55550, 31894, 46548, 52917, 18595, 14413, 58411, 13132, 39195}; a &= b; a.update(b); print((a, list(a)))
a, b, L = {18, 1, 11, 13, 12, 4, 10}, {0, 2, 18, 19, 12, 4, 7, 14, 5, 10, 13, 11}, [12, 14, 3, 15, 11, 4, 13, 4, 0, 5, 8, 11]; c = sorted(a) == sorted(set(a)); print((a, b, set(L), c))
a, L = {17, 13, 11, 1, 3, 19, 8, 10, 6}, [15, 1, 6, 2]; a.update(L); a.add(23); print(a)
a, b, L = {8, 19, 7, 13}, {4, 19, 8, 6, 13, 17, 10, 9, 0}, [17, 19, 16, 4, 13, 8, 8, 15, 9]; c = a.union(L); print((a, b, set(L), c))
a, L = {27, 40, 79, 63, 61, 42, 15, 16, 17, 89, 32}, [39, 54, 41, 0, 99, 2, 39, 78, 28, 10, 95, 28, 35]; a |= set(L); print(a)
a, b, L = {945, 822}, {809, 656, 741, 863, 128, 620}, [949, 891, 277, 414, 93, 695]; c = set(L) | set(b); print((a, b, set(L), c))
a, b = {412, 725, 106, 762, 382, 70, 670, 557}, {371, 557, 568}; a &= b; a.update(b); print((a, list(a)))
a, b, L = {0, 1, 3, 4, 11, 8, 16, 12, 9, 10, 5}, {15, 7, 18, 3, 11, 13, 2, 1, 0, 5, 6, 10}, [8, 1, 19, 13, 13, 12, 11, 9, 10, 14, 7, 19]; c = set(L) & a; print((a, b, set(L), c))
a, L = {41392, 54647, 11449, 26033}, [16067, 51414, 44354, 30232, 48692, 30878, 24218]; a.update(L); a.add(60003); print(a)
a, b, L = {43, 84, 30, 9, 99, 68, 71, 20, 22, 48, 74}, {2, 65, 27}, [54, 30, 5]; c = list(a & set(L)); print((a, b, set(L), c))
a, L = {40, 98, 68, 81, 57, 64, 53, 70, 21}, [92, 79, 10, 93, 46, 43, 18, 33, 32, 32, 44, 49]; a |= set(L); print(a)
from collections import OrderedDict
o = OrderedDict(a=1); print(o.keys(), o.values(), o.items(), type(o.keys()).__name__, {"a": 1}.keys(), isinstance(o.keys(), type({}.keys())) in (True, False))
def g(a=1, *, b=2): pass
try: g(1, 2)
except TypeError as e: print(e)
#### sets are gone through as in CPython, whatever became of them
import random
def value():
    kind = random.random()
    if kind < 0.6: return random.randrange(random.choice([10, 40, 300, 10000]))
    if kind < 0.8: return random.randrange(12), random.randrange(12)
    if kind < 0.9: return random.randrange(-100, 100) / 4
    return random.choice([frozenset(), frozenset([1]), frozenset([3, 5, (1, 2)]), 2**40, 2**70, -1, True, 1e300, 0.1, 3 + 4j, ()])
class Own:
    def __init__(self, n): self.n = n
    def __hash__(self): return self.n * 8
    def __eq__(self, other): return self.n == other.n
    def __repr__(self): return f"Own({self.n})"
for seed in range(25):
    random.seed(seed)
    sets = [set() for _ in range(3)]
    for step in range(40):
        a, b, c = random.sample(range(3), 3) if random.random() < 0.9 else (0, 0, 1)
        which = random.choice("add add many more take pop -= ^= |= &= - ^ | & copy list clear dict".split())
        if which == "add": sets[a].add(value())
        elif which == "many": [sets[a].add(value()) for _ in range(random.randrange(60))]
        elif which == "more": sets[a].update([value() for _ in range(random.randrange(30))], {value()})
        elif which == "take": sets[a].discard(random.choice(list(sets[a]) or [0]))
        elif which == "pop": print(sets[a].pop() if sets[a] else None)
        elif which == "-=": sets[a] -= sets[b]
        elif which == "^=": sets[a] ^= sets[b]
        elif which == "|=": sets[a] |= sets[b]
        elif which == "&=": sets[a] &= sets[b]
        elif which == "-": sets[c] = sets[a] - sets[b]
        elif which == "^": sets[c] = sets[a] ^ sets[b]
        elif which == "|": sets[c] = sets[a] | sets[b]
        elif which == "&": sets[c] = sets[a] & sets[b]
        elif which == "copy": sets[a] = set(frozenset(sets[b]))
        elif which == "list": sets[a] = sets[b].difference([value() for _ in range(9)]).symmetric_difference([3, value(), 3]).intersection(range(200))
        elif which == "clear" and random.random() < 0.2: sets[a].clear()
        elif which == "dict": sets[a] = set({value(): 1 for _ in range(random.randrange(40))}) if random.random() < 0.5 else set(dict.fromkeys(sets[b]).keys())
    print([list(one) for one in sets], hash(frozenset(sets[0])) == hash(frozenset(sets[0])))
large = set(range(60000)); large -= set(range(0, 60000, 3)); large ^= {i * i for i in range(3000)}; print(len(large), hash(tuple(large)), hash(frozenset([1, 2, 3])), hash(frozenset()), hash((frozenset([4]), 0.5, -1, 2**80)))
print({Own(5), Own(1), Own(9)}, {(Own(2), 1)} == {(Own(2), 1)}, [next(iter(large - {i})) for i in range(3)])
s = set(range(9)); it = iter(s); next(it); s.remove(8); s.add(100)
print(list(it))
#### what is no number is an object
import math, torch
import numpy as np
a, b, t = float("nan"), float("nan"), torch.tensor([float("nan"), 1.0])
print([a] == [a], [a] == [b], a in [a], a in [b], (a, 1) == (a, 1), {1: a} == {1: a}, {1: a} == {1: b}, [a, b].index(b), [a].count(b), len({a, b, a}), {a: 1}.get(b), a is a, a is b)
print(t.tolist() == t.tolist(), [t[0].item()] == [t[0].item()], [a + 1] == [a + 1], [a * 1] == [a], [-a] == [a], [abs(a)] == [a], [math.nan] == [math.nan], [float(a)] == [a], [+a] == [a], [max(a, 1)] == [a], [math.inf - math.inf] == [math.nan])
print(torch.tensor([a, -a, b + 1], dtype=torch.float64).view(torch.int64).tolist(), np.array([a]).view(np.int64), sorted([3.0, 1.0]), math.copysign(1, a), a.hex(), [x == x for x in (a, b)], (a,) < (a, 1))
#### functions of the program's own gradients
import torch
class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, at, scale=2.0):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return (x > at).to(x.dtype)
    @staticmethod
    def backward(ctx, gradient):
        x, = ctx.saved_tensors
        return gradient * ctx.scale * (x.abs() < 1).to(x.dtype), None, None
class Pair(torch.autograd.Function):
    @staticmethod
    def forward(a, b): return a * b, a + b, (a > b)
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.mark_non_differentiable(output[2])
    @staticmethod
    def backward(ctx, product, total, which):
        a, b = ctx.saved_tensors
        print(ctx.needs_input_grad, product, total, which)
        return product * b + total, product * a + total
class Same(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x
    @staticmethod
    def backward(ctx, gradient): return -gradient
class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x
    @staticmethod
    def backward(ctx, gradient):
        x, = ctx.saved_tensors
        return 2 * x * gradient
x = torch.tensor([0.5, -2.0, 0.2, 3.0], requires_grad=True)
y = Step.apply(x, 0.3)
(y * torch.arange(4.0)).sum().backward()
print(y.detach(), x.grad, y.requires_grad, y.is_leaf, y.grad_fn.name(), Step.apply(x.detach(), 0.3).requires_grad)
a, b = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0, 4.0], requires_grad=True)
p, s, w = Pair.apply(a, b)
p.sum().backward(retain_graph=True); print(a.grad, b.grad, w)
(s * 2).sum().backward(); print(a.grad, b.grad)
try: (s * 2).sum().backward()
except RuntimeError as e: print(str(e)[:60])
z = Same.apply(a); z.sum().backward(); print(a.grad, z is a)
g = torch.autograd.grad(Square.apply(x).sum(), x, create_graph=True)[0]; print(g.detach(), torch.autograd.grad((g ** 2).sum(), x)[0])
with torch.no_grad(): print(Square.apply(x).requires_grad)
class Wrong(Square):
    @staticmethod
    def backward(ctx, gradient): return gradient, gradient
class Broken(Square):
    @staticmethod
    def backward(ctx, gradient): raise ValueError("broken")
class Misshapen(Square):
    @staticmethod
    def backward(ctx, gradient): return torch.ones(7)
for one in (Wrong, Broken, Misshapen, torch.autograd.Function):
    try: one.apply(x).sum().backward()
    except Exception as e: print(type(e).__name__, e)
print(torch.func.grad(lambda v: Square.apply(v).sum())(torch.ones(2)) if False else "")
#### sequences of several lengths, subscripts as numbers, random numbers apart, a leaf that is copied
import copy, torch
from torch.nn.utils.rnn import pad_sequence, unpad_sequence
parts = [torch.ones(2, 2), torch.zeros(3, 2), torch.full((1, 2), 5.0)]
print(pad_sequence(parts).shape, pad_sequence(parts, batch_first=True, padding_value=-1.0), pad_sequence([torch.arange(2), torch.arange(3)], True, padding_side="left"))
print(unpad_sequence(pad_sequence(parts, True), torch.tensor([2, 3, 1]), True))
a, b = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(3, 4)
print(torch.einsum(a, [0, 1], b, [1, 2], [0, 2]), torch.einsum(a, [0, 1]), torch.einsum(a, [..., 0], a, [..., 0], [...]), torch.einsum(a, [30, 1], [1, 30]))
torch.manual_seed(1)
with torch.random.fork_rng():
    torch.manual_seed(5); print(torch.rand(2))
print(torch.rand(2), {}.fromkeys("ab", 0), {"x": 1}.fromkeys([3]))
leaf = torch.ones(3, requires_grad=True); made = leaf * 2
for one in (leaf, made, torch.nn.Parameter(torch.ones(2)), torch.zeros(2)):
    other = copy.copy(one)
    print(type(other).__name__, other is one, other.requires_grad, other.is_leaf, other.data_ptr() == one.data_ptr() if hasattr(other, "data_ptr") and False else "")
plain = torch.zeros(2); other = copy.copy(plain); other[0] = 7; print(plain)
#### NumPy's functions of tensors give tensors
import numpy as np
import torch
t = torch.tensor([[4.0, 1.0], [0.25, 9.0]])
print(np.sqrt(t), np.abs(t), np.add(t, 1), np.add(t.numpy(), t), np.greater(t, 1), np.sign(torch.tensor(-2.5)), np.floor_divide(t, 2))
print(np.cumsum(t), np.clip(t, 1, 4), np.round(t), np.argsort(t), np.matmul(t, t), type(np.sinc(t)).__name__, type(np.mean(t.numpy())).__name__)
print(type(np.asanyarray(t)).__name__, type(np.sqrt(t.numpy())).__name__, np.sqrt(t, subok=False), np.multiply.reduce(t.numpy()))
#### What arguments of NumPy's functions ask for is done
import numpy as np
a = np.array([[3, 1, 2], [6, 5, 4]])
print(np.ravel(a, order="F"), a.flatten("F"), a.ravel(), np.ravel(a.T), a.T.flatten(order="C"))
print(np.all([[True, True], [False, True]], where=[[True], [False]]), np.any([[True, False], [False, False]], where=[[False], [True]]))
b = np.array([1.5, -2.0, 7.0])
np.clip(b, 0, 5, out=b)
print(b, np.clip(b, 1, 2, dtype=np.float32).dtype, np.nansum(np.array([1, np.nan]), dtype=np.float32).dtype)
c = np.array([1.0, np.nan, np.inf])
np.nan_to_num(c, copy=False, posinf=9.0)
print(c, np.cumsum(b, out=np.zeros(3)), np.median(a, axis=1, out=np.zeros(2)), np.trace(a, dtype=np.float64), np.round(b, 1, np.zeros(3)))
n = np.array([[10.0, np.nan, 4.0], [3.0, 2.0, 1.0]])
print(np.nanmedian(n, axis=1, keepdims=True), np.nanpercentile(n, 50, axis=1, keepdims=True), np.nanquantile(n, [0.25, 0.5], axis=1), np.nanargmax(n, axis=1, keepdims=True))
print(np.intersect1d([1, 1, 2, 3, 4], [2, 1, 4, 6], return_indices=True), np.setdiff1d([3, 1, 2], [1], assume_unique=True))
print(np.choose([2, 4, 1, 0], [[0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23], [30, 31, 32, 33]], mode="clip"), np.choose([2, 4, 1, 0], [[0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23], [30, 31, 32, 33]], mode="wrap"))
print(np.unravel_index([31, 41, 13], (7, 6), order="F"), np.ravel_multi_index([[3, 6, 6], [4, 5, 1]], (7, 6), order="F"), np.ravel_multi_index([[3, 6, 6], [4, 5, 1]], (4, 6), mode="clip"))
print(np.meshgrid([1, 2], [3, 4, 5], sparse=True), np.indices((2, 3), sparse=True), np.arange(0, 5, 0.5, dtype=int), np.arange(0, 3, 1.5, dtype=np.int32))
z = np.zeros((3, 3, 3), int)
np.fill_diagonal(z, 4)
print(z.sum(), z[0, 0, 0], z[0, 0, 1], np.reciprocal(np.array([1, 2, -1])), np.reciprocal(np.array([2.0, 4.0])))
print(np.trim_zeros(np.array([[0, 0, 0], [0, 2, 0], [0, 3, 0]])), np.trim_zeros(np.array([0, 1, 0, 2, 0]), "f"), np.compress([True, False], a, axis=0, out=np.zeros((1, 3), int)))
print(np.vstack([a, a], dtype=np.float32).dtype, np.hstack([a, a], dtype=np.float64, casting="unsafe").dtype, np.prod(a, axis=0, out=np.zeros(3, int)))
#### Tuples of tensors in named results, and numbers that are truth values
import torch
import torch.nn.functional as F
print(torch.histogramdd(torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]), bins=[2, 2]))
print(F.pad(torch.tensor([True, False]), (1, 1), value=True), F.leaky_relu(torch.tensor([-1.0]), True), torch.dropout(torch.ones(2), True, False), torch.iinfo(torch.int64), torch.iinfo(torch.int8), torch.iinfo(torch.int32))
