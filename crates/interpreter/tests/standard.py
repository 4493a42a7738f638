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
#### moments in parts
import logging, sys, time
from datetime import datetime, timezone
print(time.gmtime(1_700_000_000.9), time.asctime(time.gmtime(0)), time.gmtime(-1).tm_year, isinstance(time.gmtime(0), time.struct_time))
print(time.strftime("%d %b %Y, %H:%M:%S, %j %a", time.gmtime(951_782_400)), time.strftime("%F", (2024, 2, 29, 1, 2, 3, 3, 60, 0)))
print(datetime(2024, 2, 29).timetuple()[:6], type(datetime(2024, 2, 29).timetuple()) is time.struct_time)
now, counted, parts = time.time(), time.time_ns(), time.gmtime()
print(0 <= counted / 1e9 - now < 5, parts == time.gmtime(now) or parts > time.gmtime(now), len(time.ctime()), len(time.asctime()))
print(0 <= datetime.now(timezone.utc).timestamp() - now < 5, type(datetime.now()), type(datetime.now().today()), datetime.now().tzinfo)
for style, text in (("%", "%(asctime)s|%(msecs)d|%(message)s"), ("{", "{asctime} {message}"), ("$", "${asctime} $message")):
    for dates in (None, "%H h %M"):
        f = logging.Formatter(text, dates, style)
        f.converter = time.gmtime
        record = logging.LogRecord("n", 20, "/a/b.py", 7, "hi", (), None)
        print(0 <= record.created - now < 5, 0 <= record.msecs < 1000, record.relativeCreated >= 0, f.usesTime())
        record.created, record.msecs = 951_782_400.25, 250
        print(f.format(record))
print(logging.Formatter("%(message)s").usesTime())
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
#### what made an object is in its repr
import itertools, operator, re, functools
print(re.I, repr(re.I | re.M), str(re.A | re.I), re.NOFLAG, f"{re.S}", re.RegexFlag(2 | 512), type(re.I), re.X == 64, re.I & re.M, [flag for flag in re.I | re.S], ~re.I & re.I, isinstance(re.I, int), re.compile("a", re.I | re.M), re.compile("a", re.I).flags)
count = itertools.count(3); next(count)
again = itertools.repeat("a", 3); next(again)
print(count, itertools.count(1.5, 0.5), itertools.count(1, 2), again, itertools.repeat(2), [itertools.count()])
print(operator.itemgetter(1), operator.itemgetter(1, "a"), operator.attrgetter("a.b", "c"), operator.methodcaller("f", 1, k=[2]), operator.methodcaller("f", k=2), operator.methodcaller("f"), functools.partial(operator.itemgetter(0), 1))
kept = []; loop = operator.methodcaller("f", kept); kept.append(loop); print(loop)
print(re.sub("A", "b", "aA", flags=re.I), re.findall("^a", "a\na", re.M), hash(re.I) == hash(2), {2: 1}[re.I])
#### paths
from pathlib import Path, PurePath, PurePosixPath as P, PosixPath
import pathlib
print(P("a/b/../c.tar.gz"), P("//a//b/./c"), P("///x"), repr(P()), P("/"), bool(P()), Path("runs") / "layer_3" / "x.pt", "base" / Path("x"), Path("a", "/b", "c"), Path(Path("a"), "b"))
p = Path("out/layer_3.tar.gz")
print(p.name, p.stem, p.suffix, p.suffixes, p.parent, list(p.parents), p.parents[-1], p.parents[:1], len(p.parents), p.parts, p.with_suffix(".pt"), p.with_name("x"), p.with_stem("y"), p.is_absolute(), repr(p.root), p.anchor == "", Path(".rc").suffix, Path("x.").suffix)
print(P("/a/b/c").relative_to("/a"), P("/a").is_relative_to("/b"), P("a/b/c.py").match("*.py"), P("a/b/c.py").match("b/*.py"), P("ab1").match("ab[0-9]"), P("abx").match("ab[!0-9]"), P("/a").match("/*"), P("/a b/ü").as_uri(), bytes(P("ä")), P("a").joinpath("b", "c"))
print(P("a") == Path("a"), P("a") == "a", sorted([P("b"), P("a/c"), P("a")]), {P("a"): 1}[P("a")], type(Path("x")).__name__, isinstance(Path("x"), PurePath), f"{Path('a/b')!s:>5}", type(PurePath("a")).__name__)
for wrong in (lambda: P(3), lambda: P("a") / 3, lambda: P("/").with_name("x"), lambda: P("a").with_name("x/y"), lambda: P("a").with_suffix("x"), lambda: P("a/b").relative_to("x"), lambda: P("a").match(""), lambda: P("a").as_uri(), lambda: P("a/b").parents[5]):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__, e)
#### warnings are told as lines, where the program stands, as its filters say
import warnings, contextlib, io
def old():
    warnings.warn("old() is old", FutureWarning, stacklevel=2)
for _ in range(3):
    old()
warnings.warn("mind")
warnings.warn(UserWarning("mind", 2))
out = io.StringIO()
with contextlib.redirect_stdout(out):
    warnings.warn("not printed")
print(repr(out.getvalue()))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        old()
    warnings.filterwarnings("ignore", message="SECRET")
    warnings.warn("secret thing")
    warnings.warn("other", RuntimeWarning)
print([(str(w.message), w.category.__name__, w.lineno, w.filename) for w in caught])
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    old()
    warnings.simplefilter("error", FutureWarning)
    try:
        old()
    except FutureWarning as e:
        print("raised", e)
    warnings.filterwarnings("once", category=RuntimeWarning)
    for _ in range(2):
        warnings.warn("one time", RuntimeWarning)
    warnings.warn("one time", RuntimeWarning)
warnings.warn_explicit("explicit", UserWarning, "there.py", 5)
print(warnings.formatwarning("m", UserWarning, "f.py", 3, "  x = 1"), end="")
for wrong in (lambda: warnings.warn("x", int), lambda: warnings.simplefilter("loud"), lambda: warnings.warn("x", 3)):
    try:
        wrong()
    except Exception as e:
        print(type(e).__name__, e)
#### log lines say where they come from
import logging, sys
logging.basicConfig(format="%(levelname)-8s|%(name)s|%(filename)s:%(lineno)d|%(module)s|%(funcName)s|%(processName)s|%(message)s", level="INFO", stream=sys.stdout, force=True)
log = logging.getLogger("lab.probe")
def work(x):
    log.info("got %d of %s", x, "it")
    try:
        1 / x
    except ZeroDivisionError:
        log.exception("failed")
        log.warning("again", exc_info=True)
work(2)
work(0)
logging.warning("root"); log.debug("no"); log.error("deep", stacklevel=1)
f = logging.Formatter("{levelname}:{lineno}:{message}", style="{")
print(f.format(logging.LogRecord("n", 20, "/a/b.py", 7, "hi %s", ("x",), None)), logging.LogRecord("n", 20, "/a/b.py", 7, "hi", (), None))
#### dates, fractions and paths say what makes them anew
from datetime import date, datetime, time, timedelta, timezone
from fractions import Fraction
from decimal import Decimal
from pathlib import Path
for value in (date(2024, 2, 29), datetime(2024, 5, 6, 7, 8, 9, 123456), datetime(2024, 5, 6, tzinfo=timezone.utc), time(1, 2, 3, 70000), timedelta(days=-1, seconds=5), timezone(timedelta(hours=2), "X"), timezone.utc, Fraction(2, 6), Decimal("1.50")):
    made, arguments = value.__reduce__()[:2]
    again = made(*arguments)
    print(type(again).__name__, repr(again), again == value, getattr(again, "fold", None), again is not None)
print(datetime(b"\x07\xe8\x05\x06\x07\x08\x09\x01\xe2\x40"), date(b"\x07\xe8\x02\x1d"), time(b"\x01\x02\x03\x00\x11\x22"), Path("a/b").__reduce__()[1])
