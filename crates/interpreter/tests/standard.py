#### random
import random
random.seed(5)
print([random.random(), random.randint(1, 100), random.choice("abc"), random.sample(range(100), 10), random.gauss(0, 1), random.gauss(0, 1), random.normalvariate(1, 2), random.choices("abcd", [1, 2, 3, 4], k=5), random.expovariate(2), random.betavariate(1, 2), random.gammavariate(0.5, 1), random.triangular(1, 5, 2), random.vonmisesvariate(1, 2), random.paretovariate(2), random.weibullvariate(1, 2), random.randrange(0, 100, 7), random.getrandbits(70), random.getrandbits(8), random.uniform(1, 2), random.randbytes(5)])
x = list(range(20)); random.shuffle(x); print(x)
r = random.Random(2**70); print(r.random(), r.getrandbits(128))
state = random.getstate(); a = random.random(); random.setstate(state); print(a == random.random())
for wrong in (lambda: random.choice([]), lambda: random.sample([1], 2), lambda: random.randrange(5, 5), lambda: random.sample({1}, 1)):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__, e)
#### fractions and decimals
from fractions import Fraction as F
from decimal import Decimal as D, getcontext, localcontext, ROUND_UP
print(F(1, 3) + F("2/6"), F(0.5), F(3) / 2, F(7, 2) // 1, F(-7, 3) % 2, F(1, 3) ** -2, round(F(7, 2)), float(F(1, 3)), F("1.25e-2"), F(1, 2) < 0.6, {F(1, 2): 1}[F(2, 4)], sum([F(1, 3)] * 3), F(3.14159).limit_denominator(100), F(1, 2) == 0.5, 1 - F(1, 4))
print(D("0.1") + D("0.2"), D(1) / 3, D("2").sqrt(), D("1.005").quantize(D("0.01")), round(D("2.675"), 2), D("1E+5") * 3, D("-0.0"), f"{D('1234.5'):,.2f}", D(7) // 2, D(7) % 4, D("1.10") == D("1.1"), D("NaN"), max(D(1), D(2)), D(0.1), int(D("3.7")), D("2") ** 10)
with localcontext() as c:
    c.prec = 5
    print(D(1) / 7)
print(D("sNaN"), D("snan").is_snan(), D("sNaN").is_nan(), D("NaN").is_qnan(), D("NaN") + 1, D("sNaN").as_tuple())
for wrong in (lambda: D("x"), lambda: D(1) / 0, lambda: F(1, 0), lambda: F("a"), lambda: D("sNaN") + 1, lambda: 2 * D("sNaN")):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__)
#### datetime
from datetime import date, datetime, timedelta, timezone
print(datetime(2024, 5, 6, 7, 8, 9) + timedelta(days=30, hours=5), date(2024, 2, 29).replace(year=2023, day=28), datetime.strptime("2024-03-04 05:06", "%Y-%m-%d %H:%M"), datetime(2024, 1, 1, tzinfo=timezone.utc).isoformat(), (date(2024, 3, 1) - date(2024, 2, 1)).days, f"{datetime(2024, 1, 2):%d %b %Y}", timedelta(seconds=3661), repr(timedelta(1.5)), date.fromisoformat("2024-05-06").strftime("%A"))
try:
    date(2024, 2, 30)
except ValueError as e:
    print(e)
#### text
import textwrap, pprint, string, inspect, logging
print(textwrap.fill("The quick brown fox-trot jumped over the lazy dogs, again and again." * 2, 40), textwrap.dedent("   a\n     b\n"), textwrap.shorten("hello there world", 12), textwrap.indent("a\nb", "> "))
pprint.pprint({"b": list(range(40)), "a": {"x": "y" * 60, "z": (1, 2)}, "c": None})
print(pprint.pformat([["abc"] * 10] * 3, width=40, compact=True))
def f(a, /, b, c=2, *args, d, e=5, **kw):
    return a
print(inspect.signature(f), list(inspect.signature(f).parameters), inspect.signature(f).parameters["c"].default, inspect.signature(f).parameters["d"].kind.name)
b = inspect.signature(f).bind(1, 2, d=4, z=3); b.apply_defaults(); print(b.args, b.kwargs)
class C:
    def m(self, x, y=1): pass
print(inspect.signature(C().m), inspect.isfunction(f), inspect.isclass(C), inspect.ismethod(C().m))
print(inspect.signature(lambda x, *, y: 0))
#### quiet bars and clocks
from time import perf_counter
start = perf_counter()
print(perf_counter() - start < 5)
#### modules that are made
import types
made = types.ModuleType('made', 'what it is for')
made.value, made.function = 3, lambda x=2: x * 2
print(made.value, made.function(), made.function(5), made.__name__, made.__doc__, isinstance(made, types.ModuleType), repr(made))
made.value += 1
print(made.value, hasattr(made, 'other'), getattr(made, 'other', 'none'))
try:
    made.other
except AttributeError as error:
    print(error)
#### texts that are written as files are
import io, sys, gc, string
f = io.StringIO("one\ntwo\nthree")
print(f.read(2), f.readline(), f.tell(), list(f), repr(f.read()), f.seek(0), f.readlines(), f.getvalue())
f.seek(0); f.write("ONE"); print(f.getvalue(), f.tell(), f.truncate(), f.getvalue())
g = io.StringIO()
print("a", 1, sep="-", file=g); print("b", end="", file=g); g.writelines(["c", "d\n"]); g.seek(12); g.write("end")
print(repr(g.getvalue()), g.closed)
with io.StringIO("x") as h:
    print(h.read())
for wrong in (lambda: h.read(), lambda: g.write(5), lambda: g.seek(-1), lambda: io.StringIO(3), lambda: g.seek(1, 1)):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__, e)
print(sys.maxsize, sys.float_info.epsilon, sys.float_info.max, sys.version_info >= (3, 11), sys.byteorder, sys.maxunicode, sys.intern("a"), sys.int_info.bits_per_digit)
print(sys.float_info)
sys.stdout.write("written\n"); print("told", file=sys.stdout); sys.stdout.flush()
print(gc.isenabled(), gc.disable(), gc.isenabled(), gc.enable(), gc.collect() >= 0)
t = string.Template("$who likes ${what} for $$5 and $x")
print(t.substitute(who="a", what="b", x=1), t.safe_substitute(who="a"), t.template, t.get_identifiers(), t.is_valid(), string.Template("$").is_valid())
for wrong in (lambda: t.substitute(who=1), lambda: string.Template("a\n$ b").substitute()):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__, e)
#### bytes that are padded and taken apart
for b in (b"abc", bytearray(b"abc"), b""):
    print(b.center(8, b"*"), b.center(9), b.ljust(5) + b"|", b.rjust(5, b"-"), b.zfill(5), b.title(), b.partition(b"b"), b.rsplit(b"b"), b.isalpha(), b.center(2), b.removeprefix(b"a"), b.rpartition(b"z"))
print(b"a\nb\r\nc".splitlines(), b"a\n\nb".splitlines(True), b"aXbX".replace(b"X", b"--", 1), b"ab".replace(b"", b"."), b"ab".replace(b"", b".", 2), b"\xe9a".title(), b"\xc3\xa9".isalpha(), b"-42".zfill(5))
for wrong in (lambda: b"a".center(5, b"xy"), lambda: b"a".ljust(5, "x"), lambda: b"a".rindex(b"z"), lambda: b"a".partition(b"")):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__)
