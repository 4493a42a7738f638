#### math of integers
import math
print(math.floor(2.7), math.ceil(2.1), math.trunc(-2.7), math.floor(-3), math.floor(1e20))
print(math.factorial(20), math.factorial(30), math.comb(10, 3), math.perm(10, 3), math.perm(5))
print(math.gcd(12, 18), math.gcd(), math.gcd(-4), math.lcm(4, 6), math.lcm(), math.isqrt(10**30 + 1))
print(math.prod([1, 2, 3.5]), math.prod([], start=5), math.fsum([0.1] * 10), sum([0.1] * 10))
#### math of floats
import math
from math import pi, sqrt as root
print(pi, math.e, math.tau, math.inf, math.nan, root(2))
for name in 'sin cos tan exp log log2 log10 log1p expm1 sqrt fabs atan sinh cosh tanh asinh degrees radians exp2'.split():
    print(name, getattr(math, name)(0.7))
print(math.pow(2, 0.5), math.atan2(1, -2), math.hypot(3, 4), math.hypot(1, 2, 3), math.dist([1, 2], [4, 6]))
print(math.fmod(-7, 3), math.remainder(7, 4), math.copysign(3, -0.0), math.modf(-2.5), math.frexp(10.0), math.ldexp(0.5, 4))
print(round(math.cbrt(27), 9), math.isclose(1, 1 + 1e-10), math.isnan(math.nan), math.isinf(-math.inf), math.isfinite(1))
print(math.log(8, 2), math.log(10**400), math.log2(2**2000), math.log10(1000), math.log(2.0), math.erf(0.5), math.erfc(0.5))
print(math.nextafter(1.0, 2.0), math.ulp(1.0), math.acosh(2), math.asin(1), math.acos(-1), math.atanh(0.5))
#### math errors
import math
for f in [lambda: math.sqrt(-1), lambda: math.log(0), lambda: math.exp(1000), lambda: math.factorial(-1),
          lambda: math.sqrt('x'), lambda: math.floor(math.inf), lambda: math.floor(math.nan), lambda: math.isqrt(-1),
          lambda: math.pow(0, -1), lambda: math.acos(2), lambda: math.gcd(1.5), lambda: math.sqrt(), lambda: math.log(1, 1),
          lambda: math.fmod(1, 0), lambda: math.pow(10, 400)]:
    try:
        print(f())
    except Exception as e:
        print(type(e).__name__, e)
try:
    math.nothing
except AttributeError as e:
    print(e)
class F:
    def __floor__(self): return 'floored'
    def __ceil__(self): return 'ceiled'
    def __trunc__(self): return 'cut'
print(math.floor(F()), math.ceil(F()), math.trunc(F()))
#### functools.partial
from functools import partial
def f(a, b, c=3, *args, **kw): return (a, b, c, args, kw)
p = partial(f, 1, c=5)
print(p(2), p(2, c=6, d=7), p.func is f, p.args, p.keywords)
q = partial(p, 9, e=1)
print(q(), q.args, q.keywords, q.func is f)
print(partial(int, base=2)('101'), repr(partial(print, 1, sep='x')))
try:
    partial()
except TypeError as e:
    print(e)
try:
    partial(3)
except TypeError as e:
    print(e)
print(list(map(partial(pow, 2), range(5))), isinstance(p, partial))
#### functools.reduce
from functools import reduce
import operator
print(reduce(lambda a, b: a * b, [1, 2, 3, 4]), reduce(lambda a, b: a + [b], 'abc', []), reduce(max, (3, 1, 4)))
try:
    reduce(lambda a, b: a, [])
except TypeError as e:
    print(e)
#### functools.wraps
from functools import wraps, update_wrapper
def logged(f):
    @wraps(f)
    def inner(*args, **kwargs):
        """inner doc"""
        print('calling', f.__name__)
        return f(*args, **kwargs)
    return inner
@logged
def add(a, b):
    """Adds."""
    return a + b
add.extra = 1
print(add(1, 2), add.__name__, add.__doc__, add.__wrapped__(3, 4))
#### functools.lru_cache
from functools import lru_cache, cache, cached_property
calls = []
@lru_cache(maxsize=2)
def square(x, y=0):
    calls.append(x)
    return x * x + y
print([square(i) for i in (1, 2, 1, 3, 1, 2)], calls, square.cache_info(), square(1, y=2), square.__name__)
square.cache_clear()
print(square.cache_info(), square.cache_info().hits)
@cache
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
print(fib(60), fib.cache_info())
@lru_cache
def plain(x): return x
print(plain(1), plain(1), plain.cache_info())
try:
    plain([])
except TypeError as e:
    print(e)
class C:
    @lru_cache(None)
    def m(self, x): print('computing'); return x + 1
    @cached_property
    def p(self): print('once'); return 42
c = C()
print(c.m(1), c.m(1), c.p, c.p, c.__dict__)
#### functools.total_ordering and cmp_to_key
from functools import total_ordering, cmp_to_key
for name in ['__lt__', '__le__', '__gt__', '__ge__']:
    class V:
        def __init__(self, v): self.v = v
        def __eq__(self, other): return self.v == other.v
    op = {'__lt__': lambda a, b: a.v < b.v, '__le__': lambda a, b: a.v <= b.v,
          '__gt__': lambda a, b: a.v > b.v, '__ge__': lambda a, b: a.v >= b.v}[name]
    setattr(V, name, op)
    V = total_ordering(V)
    for a, b in [(1, 2), (2, 1), (1, 1)]:
        x, y = V(a), V(b)
        print(name, a, b, x < y, x <= y, x > y, x >= y)
print(sorted([3, 1, 2], key=cmp_to_key(lambda a, b: b - a)))
#### itertools combinatorics
import itertools
from itertools import product, permutations, combinations, combinations_with_replacement
print(list(product('ab', [1, 2])), list(product([0, 1], repeat=3)), list(product()), list(product('a', [])))
print(list(permutations([1, 2, 3])), list(permutations('abc', 2)), list(permutations('ab', 3)), list(permutations([], 0)))
print(list(combinations('abcd', 2)), list(combinations([1, 2], 0)), list(combinations([1], 2)))
print(list(combinations_with_replacement('ab', 3)), list(combinations_with_replacement('', 1)))
#### itertools slices and chains
from itertools import chain, islice, count, cycle, repeat, accumulate, pairwise, zip_longest, starmap, takewhile, dropwhile
from itertools import filterfalse, compress, tee, groupby
print(list(chain([1], (2,), 'x')), list(chain.from_iterable([[1, 2], [3]])), list(chain()))
print(list(islice(count(), 5)), list(islice(count(10, -2), 1, 8, 3)), list(islice('abcdef', 2, None)), list(islice('abc', 0)))
print(list(islice(cycle('ab'), 5)), list(repeat(7, 3)), list(islice(repeat(1), 2)), list(cycle([])))
print(list(accumulate([1, 2, 3])), list(accumulate([1, 2, 3], lambda a, b: a * b, initial=10)), list(accumulate([])))
print(list(pairwise('abcd')), list(zip_longest('ab', [1, 2, 3], fillvalue='-')), list(starmap(pow, [(2, 3), (3, 2)])))
print(list(takewhile(lambda x: x < 3, [1, 2, 3, 1])), list(dropwhile(lambda x: x < 3, [1, 2, 3, 1])))
print(list(filterfalse(None, [0, 1, 2, ''])), list(compress('abcd', [1, 0, 1])))
a, b = tee([1, 2, 3])
print(next(a), list(b), list(a))
it = iter(range(10))
print(list(islice(it, 3)), next(it))
for i, x in zip(count(1), 'ab'):
    print(i, x)
try:
    islice([1], -1)
except ValueError as e:
    print(e)
try:
    chain(1).__class__
    list(chain(1))
except TypeError as e:
    print(e)
#### itertools.groupby
from itertools import groupby
data = [('a', 1), ('a', 2), ('b', 3), ('a', 4)]
for k, g in groupby(data, key=lambda t: t[0]):
    print(k, list(g))
print([k for k, g in groupby('AAABBC')], [(k, len(list(g))) for k, g in groupby([1, 1, 2])])
g = groupby([1, 1, 2])
k, first = next(g)
k2, second = next(g)
print(k, k2, list(first), list(second))
#### iterators run user code
from itertools import chain, accumulate, islice
class Up:
    def __init__(self, n): self.n, self.i = n, 0
    def __iter__(self): return self
    def __next__(self):
        if self.i == self.n: raise StopIteration
        self.i += 1
        return self.i
def gen():
    yield 1
    raise KeyError('inside')
print(list(chain(Up(2), Up(1))), list(islice(Up(5), 2, 4)))
it = accumulate(gen())
print(next(it))
next(it)
#### typing
from typing import List, Dict, Optional, Union, Any, Callable, Tuple, TypeVar, Generic, cast, TYPE_CHECKING, NamedTuple
import typing
print(List[int], Dict[str, int], list[int], dict[str, list[int]], Callable[[int], str], typing.Any)
print(int | None, Tuple[int, ...], cast(int, 'x'), TYPE_CHECKING)
T = TypeVar('T')
class Box(Generic[T]):
    def __init__(self, x: T): self.x = x
    def get(self) -> T: return self.x
print(Box(3).get(), Box[int](4).get(), T)
def f(x: Optional[int] = None, *rest: 'Anything') -> Union[int, str]: return x
print(f(2), isinstance(1, int | str), isinstance('a', (int, List)))
x: List[int] = [1]
print(x, typing.get_origin(List[int]), typing.get_args(Dict[str, int]))
from collections.abc import Sequence, Mapping, Iterable, Callable
print(isinstance([], Sequence), isinstance({}, Mapping), isinstance(3, Iterable), isinstance(len, Callable), isinstance('', Sequence))
#### abc
from abc import ABC, abstractmethod
class Base(ABC):
    @abstractmethod
    def run(self): ...
    @property
    @abstractmethod
    def name(self): ...
class Real(Base):
    def run(self): return 'ran'
    name = 'real'
print(Real().run(), isinstance(Real(), Base), Real().name)
#### operator
import operator
from operator import itemgetter, attrgetter, methodcaller
print(operator.add(1, 2), operator.mul('a', 3), operator.lt(1, 2), operator.neg(3), operator.not_([]), operator.truth('x'))
print(operator.getitem([1, 2], 1), operator.contains('abc', 'b'), operator.matmul.__name__, operator.is_(None, None), operator.xor(5, 3))
print(sorted([(2, 'a'), (1, 'b')], key=itemgetter(0)), itemgetter(1, 0)('xy'), itemgetter('k')({'k': 5}), itemgetter(slice(1, 3))([1, 2, 3, 4]))
class A: pass
a = A(); a.b = A(); a.b.c = 7; a.d = 8
print(attrgetter('b.c')(a), attrgetter('d', 'b.c')(a), methodcaller('split', ',')('a,b'), methodcaller('format', 1, x=2)('{} {x}'))
x = [1]
y = operator.iadd(x, [2])
print(x is y, x, operator.index(5), operator.countOf([1, 2, 1], 1), operator.floordiv(7, 2), operator.concat([1], [2]))
#### collections dicts
from collections import OrderedDict, Counter, defaultdict
import collections.abc, collections
d = OrderedDict(a=1, b=2)
d.move_to_end('a')
print(d, list(d), d.popitem(last=False), d == {'a': 1})
c = Counter('abracadabra')
print(c, c.most_common(2), c['z'], c + Counter('az'), c - Counter('aaaaaa'), sorted(c.elements()), c.total())
c.update('zz'); c.subtract({'a': 1})
print(c['z'], c['a'], Counter(a=1, b=2) & Counter(a=5), dict(Counter([1, 1, 2])))
e = defaultdict(list)
e['x'].append(1); e['y'].append(2)
print(e, dict(e), e.get('q'), 'q' in e)
n = defaultdict(lambda: defaultdict(int))
n['a']['b'] += 1
print(n['a']['b'], isinstance(e, dict), isinstance(e, collections.abc.Mapping), type(c).__name__)
try:
    defaultdict(None)['k']
except KeyError as err:
    print('KeyError', err)
#### deque
from collections import deque
d = deque([1, 2, 3], maxlen=3)
d.append(4); print(d, d.maxlen); d.appendleft(0); print(d, len(d), d[0], d[-1], 2 in d, list(d))
e = deque('abc')
e.rotate(1); print(e); e.rotate(-2); print(e); e.extend('xy'); e.extendleft('pq'); print(e, e.pop(), e.popleft())
e.insert(1, 'I'); e.remove('x'); e.reverse(); print(e, e.count('I'), e.index('I'), e.copy() == e, e == list(e))
e[0] = 'Z'; del e[1]; print(e, deque([1, 2]) < deque([1, 3]), deque([1]) + deque([2]), deque([1]) * 2, type(e).__name__)
e += [1]; e.clear(); print(e, bool(e), isinstance(e, deque), deque(), deque(range(5), 2))
for f in (lambda: e.pop(), lambda: e[3], lambda: e.remove(1), lambda: hash(e), lambda: deque([1], -1), lambda: deque([1])['x']):
    try: f()
    except Exception as x: print(type(x).__name__, x)
try:
    for x in d: d.append(x)
except RuntimeError as x: print(x)
q = deque([deque([1]), [2]])
print(q)
#### namedtuple
from collections import namedtuple
P = namedtuple('P', 'x y', defaults=[5])
p = P(1)
print(p, p.x, p.y, p[0], len(p), list(p), p == (1, 5), p._asdict(), p._replace(x=9), P._fields, P._make([3, 4]), P._field_defaults)
x, y = p
print(x, y, hash(p) == hash((1, 5)), {p: 1}[(1, 5)], isinstance(p, tuple), p + (1,), P(y=1, x=2), str(p), f'{p}')
for f in (lambda: P(), lambda: P(1, 2, 3), lambda: P(1, z=2), lambda: namedtuple('Q', 'a a'), lambda: namedtuple('Q', '1a'), lambda: P(1, x=1), lambda: P._make([1])):
    try: f()
    except Exception as e: print(type(e).__name__, e)
class Sub(namedtuple('Sub', ['a', 'b'])):
    def total(self): return self.a + self.b
s = Sub(1, 2)
print(s, s.total(), s._replace(b=5).total(), sorted([Sub(2, 1), Sub(1, 2)]), namedtuple('R', 'a class', rename=True)._fields)
try:
    p.x = 3
except AttributeError as e:
    print('AttributeError')
match p:
    case P(x=a, y=b): print('matched', a, b)
from typing import NamedTuple
class N(NamedTuple):
    a: int
    b: str = 'dflt'
    def both(self): return (self.a, self.b)
print(N(1), N(2, 'z').both(), N(a=3)._asdict(), N._fields)
#### imports that this server refuses are ordinary errors
try:
    import nosuchmodule
except ModuleNotFoundError:
    print('none')
try:
    from math import nosuchname
except ImportError as e:
    print(type(e).__name__)
#### copy
import copy
a = [1, [2, 3], {'k': [4]}, (5, [6]), {7}]
b, c = copy.copy(a), copy.deepcopy(a)
a[1].append('x'); a[2]['k'].append('y'); a[3][1].append('z')
print(b, c, c[4] is a[4])
loop = [1]; loop.append(loop)
d = copy.deepcopy(loop)
print(d[1] is d, d is loop)
shared = [0]
e = copy.deepcopy([shared, shared, (1, 2)])
print(e[0] is e[1], copy.deepcopy((1, 2)) == (1, 2))
class C:
    def __init__(self, v): self.v = v
class D(C):
    def __copy__(self): return D('copied')
    def __deepcopy__(self, memo): return D(copy.deepcopy(self.v, memo) + ['deep'])
x = C([1]); y = copy.copy(x); z = copy.deepcopy(x)
print(y.v is x.v, z.v is x.v, z.v, copy.copy(D([1])).v, copy.deepcopy(D([1])).v, copy.deepcopy([D([2])])[0].v)
class L(list): pass
l = L([[1]]); l.tag = 't'
m = copy.deepcopy(l)
print(m, m.tag, type(m).__name__, m[0] is l[0])
from collections import OrderedDict, defaultdict, deque
print(copy.deepcopy(OrderedDict(a=[1])), copy.deepcopy(defaultdict(list, {'q': [1]})), copy.copy(deque([1], 3)))
#### string
import string
print(string.ascii_letters, string.digits, string.punctuation, repr(string.whitespace), string.hexdigits, string.capwords('hello  WORLD'), len(string.printable))
#### contextlib
from contextlib import nullcontext, suppress, contextmanager, closing
with nullcontext(5) as x: print(x)
with nullcontext(): print('in')
with suppress(KeyError, ValueError):
    {}['x']
    print('never')
print('after')
try:
    with suppress(KeyError): 1 / 0
except ZeroDivisionError as e: print(e)
@contextmanager
def managed(name, swallow=False):
    print('enter', name)
    try:
        yield name.upper()
    except ValueError as e:
        print('caught', e)
        if not swallow: raise
    finally:
        print('exit', name)
with managed('a') as v: print(v)
with managed('b', swallow=True): raise ValueError('swallowed')
try:
    with managed('c'): raise ValueError('through')
except ValueError as e: print('outside', e)
@managed('deco')
def f(x): return x + 1
print(f(1), f(2))
class K:
    @contextmanager
    def m(self, v):
        yield (self is k, v)
k = K()
with k.m(3) as r: print(r)
class R:
    def close(self): print('closed')
with closing(R()) as r: print('using')
with managed('d'): raise KeyError('traced')
#### types and warnings
from types import SimpleNamespace, FunctionType
import types, warnings
n = SimpleNamespace(a=1, b='x')
n.c = [2]
print(n, n.a, n == SimpleNamespace(a=1, b='x', c=[2]), n != SimpleNamespace(), vars(n), isinstance(lambda: 0, FunctionType))
warnings.simplefilter('ignore')
warnings.warn('nobody reads this')
with warnings.catch_warnings():
    warnings.filterwarnings('ignore')
print(isinstance(n, types.SimpleNamespace))
#### dataclasses
from dataclasses import dataclass, field, asdict, astuple, replace, fields, is_dataclass, FrozenInstanceError, InitVar, KW_ONLY
from typing import List, ClassVar
@dataclass
class P:
    x: int
    y: int = 2
    tags: List[str] = field(default_factory=list)
    hidden: int = field(default=0, repr=False, compare=False)
    count: ClassVar[int] = 7
    def norm(self): return self.x + self.y
p = P(1)
print(p, p.norm(), P(1, 3, ['a']), p == P(1, hidden=9), p == P(2), P.count, asdict(P(1, tags=['q'])), astuple(p))
print(replace(p, x=5), [f.name for f in fields(P)], is_dataclass(P), is_dataclass(3), p.tags is P(1).tags, P.y)
for f in (lambda: P(), lambda: P(1, 2, 3, 4, 5), lambda: P(1, z=3), lambda: P(1, x=1), lambda: hash(p), lambda: p < p, lambda: asdict(3)):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
@dataclass(frozen=True, order=True)
class F:
    a: int
    b: str = 'z'
f = F(1)
print(f, F(1) < F(2), sorted([F(2), F(1, 'a'), F(1)]), {F(1): 'one'}[F(1)], hash(F(1)) == hash((1, 'z')))
try: f.a = 3
except FrozenInstanceError as e: print(type(e).__name__, e)
try: del f.a
except AttributeError as e: print(e)
@dataclass
class Child(P):
    z: float = 0.5
    w: InitVar[int] = 10
    def __post_init__(self, w): self.total = self.x + w
c = Child(1, z=2.5, w=100)
print(c, c.total, Child(3).total, isinstance(c, P), c == Child(1, z=2.5))
@dataclass
class Nested:
    inner: P
    many: list
    table: dict
print(asdict(Nested(P(1), [P(2)], {'k': P(3)})), Nested(p, [], {}).inner is p)
@dataclass(kw_only=True)
class K:
    a: int
    b: int = 1
print(K(a=1))
try: K(1)
except TypeError as e: print(e)
try: K()
except TypeError as e: print(e)
@dataclass
class M:
    a: int
    _: KW_ONLY
    b: int = 3
print(M(1, b=2))
try:
    @dataclass
    class Bad:
        x: list = []
except ValueError as e: print(e)
try:
    @dataclass
    class Bad2:
        x: int = 1
        y: int
except TypeError as e: print(e)
match P(4, 5):
    case P(a, b): print(a, b)
@dataclass
class Node:
    child: object = None
n = Node(); n.child = n
print(n)
@dataclass(repr=False, eq=False)
class Bare:
    x: int
print(Bare(1) == Bare(1), Bare(1).x)
#### enum
from enum import Enum, IntEnum, auto, unique
class Color(Enum):
    RED = 1
    GREEN = 2
    CRIMSON = 1
    def describe(self): return self.name.lower()
    @classmethod
    def first(cls): return cls.RED
print(Color.RED, repr(Color.GREEN), Color.RED.name, Color.RED.value, Color(2), Color['RED'], Color.CRIMSON is Color.RED)
print(Color.RED.describe(), Color.first(), Color.RED == Color.RED, Color.RED == 1, {Color.RED: 'r'}[Color.RED], isinstance(Color.RED, Color))
print([c.name for c in Color], len(Color), Color.RED in Color, list(Color), f'{Color.RED}')
try: Color(9)
except ValueError as e: print(e)
try: Color['NO']
except KeyError as e: print('KeyError', e)
class Level(IntEnum):
    LOW = auto()
    HIGH = auto()
print(Level.LOW, Level.LOW < Level.HIGH, Level.HIGH + 1, repr(Level.LOW), Level(2), [1, 2, 3][Level.LOW], sorted(Level))
class Mode(str, Enum):
    A = 'a'
    B = 'b'
print(Mode.A == 'a', Mode('b'), Mode.A.value, Mode.A.upper(), {'a': 1}[Mode.A])
class Planet(Enum):
    EARTH = (5.9, 6.3)
    MARS = (0.6, 3.3)
    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius
print(Planet.EARTH.mass, Planet.MARS.radius, Planet.EARTH)
try:
    @unique
    class U(Enum):
        A = 1
        B = 1
except ValueError as e: print(e)
match Color.GREEN:
    case Color.RED: print('red')
    case Color.GREEN: print('green')
#### objects that hold themselves are written
from types import SimpleNamespace
from functools import partial
n = SimpleNamespace(a=1); n.me = n
print(n)
#### json.dumps
import json
v = {'a': [1, 2.5, None, True, False], 'b': {'c': 'é"\\\n\x01'}, 1: (1, 2), None: 1e20, 2.5: -0.0, True: 10**20}
print(json.dumps(v)); print(json.dumps(v, indent=2)); print(json.dumps([[], {}, [[]]], indent=1)); print(json.dumps({'b': 1, 'a': 2}, sort_keys=True))
print(json.dumps(v, separators=(',', ':'), ensure_ascii=False), json.dumps('\U0001f600'), json.dumps([float('inf'), float('nan')]))
print(json.dumps({1, 2}, default=list), json.dumps([3], indent='--'), json.dumps('x'), json.dumps(3))
loop = []; loop.append(loop)
for f in (lambda: json.dumps({1, 2}), lambda: json.dumps(loop), lambda: json.dumps({(1,): 2}), lambda: json.dumps(float('nan'), allow_nan=False), lambda: json.dumps(object)):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
#### json.loads
import json
print(json.loads('{"a": [1, 2.5, null, true, false, -3e2, "x\\u00e9\\n\\ud83d\\ude00"], "b": {}}'), json.loads(' [ ] '), json.loads('"q"'), json.loads(b'[1]'))
print(json.loads('[NaN, Infinity, -Infinity, 12345678901234567890, 0, -0, -0.0, 1E5]'), json.loads('{"a":1,"a":2}'))
for t in ['', '[1,', '[1 2]', '{"a" 1}', '{a: 1}', '"abc', '[1]]', '01', '"\\x"', '"\n"', '{"a":1,}', 'nul', '\n\n  [1,\n x]', '-', '"\\u12"']:
    try: print(json.loads(t))
    except json.JSONDecodeError as e: print(type(e).__name__, e, e.pos, e.lineno, e.colno)
    except ValueError as e: print('ValueError', e)
try: json.loads(3)
except TypeError as e: print(e)
print(json.loads(json.dumps({'k': [1, {'z': None}]})))
#### statistics
import statistics as st
data = [2.75, 1.75, 1.25, 0.25, 0.5, 1.25, 3.5]
ints = [1, 2, 3, 4, 4]
for d in (data, ints, [0.1] * 10, [1e30, 1, -1e30], [3, 3], [1, 2], [0.1, 0.2, 0.3], [1e-310, 3e-310], [2**60, 1.5]):
    print(st.mean(d), st.fmean(d), st.median(d), st.median_low(d), st.median_high(d), st.stdev(d), st.pstdev(d), st.variance(d), st.pvariance(d))
print(st.mode('aabbb'), st.mode([1, 1, 2, 2]), st.multimode('aabb'), st.median(['a', 'c', 'b']), st.mean(range(1, 101)))
for f in (lambda: st.mean([]), lambda: st.stdev([1]), lambda: st.median([]), lambda: st.mode([]), lambda: st.pstdev([]), lambda: st.variance([1])):
    try: f()
    except st.StatisticsError as e: print(type(e).__name__, e)
#### re searching
import re
m = re.search(r'(?P<word>\w+)-(\d+)', 'see abc-42 now')
print(m, m.group(), m.group(0), m.group(1, 2), m['word'], m.groups(), m.groupdict(), m.span(), m.start(2), m.end('word'), m.lastindex)
print(re.match('a', 'ba'), re.match('b', 'ba').group(), re.fullmatch('a|ab', 'ab').group(), re.fullmatch('a', 'ab'), bool(re.search('x', 'abc')))
print(re.findall(r'\d+', 'a1b22c333'), re.findall(r'(\w)(\d)', 'a1b2'), re.findall(r'(a)|b', 'ab'), re.findall('', 'ab'), re.findall('x*', 'axb'))
print([m.span() for m in re.finditer('é.', 'aéxéy')], re.split(r'[,;]\s*', 'a, b;c'), re.split('(-)', 'a-b-c', maxsplit=1), re.split('x*', 'axbc'))
p = re.compile(r'\bfoo\b', re.I | re.M)
print(p.findall('Foo foo food'), p.pattern, p.groups, p.search('a foo', 3), p.match('xfoo', 1), p.search('a foo').start())
print(re.findall(r'^\w+', 'one\ntwo', flags=re.MULTILINE), re.findall(r'a.b', 'a\nb', re.S), re.search('A', 'a', re.IGNORECASE).group(), repr(p.search('z')))
print(re.findall(r'''a  # first
  [ #]  # a class
  b''', 'a b a#b', re.X), re.compile('x').fullmatch('x').re.pattern)
#### re replacing
import re
print(re.sub(r'(\w+) (\w+)', r'\2 \1', 'hello world'), re.sub('a', lambda m: m.group().upper(), 'banana', count=2), re.subn('a', 'o', 'banana'))
print(re.sub(r'(?P<x>\d)', r'<\g<x>>\g<1>\n', 'a1'), re.sub('x*', '-', 'abxd'), re.sub('', '-', 'ab'), re.sub(r'\.', r'\\', 'a.b'))
print(re.escape('a.b*c-d e'), re.sub('(a)|(b)', r'[\1\2]', 'ab'), re.compile('b').sub('x', 'abc'))
print(re.search('(a)(b)?', 'a').groups(), re.search('(a)(b)?', 'a').groups('none'), re.match('(.)(.)', 'xy').expand(r'\2\1'))
#### re syntax
import re
for pattern, text in [(r'[]a]+', 'x]a]'), (r'[^]]+', ']ab]'), (r'[a\-z]+', 'a-z'), (r'[-a]+', 'b-a'), (r'[a-]+', 'b-a'), (r'[[]', 'a['), (r'[&&~]+', 'a&~'),
                      (r'a{2}', 'aaa'), (r'a{,2}', 'aaa'), (r'a{1,}', 'aaa'), (r'a{', 'a{'), (r'{x}', '{x}'), (r'a{2,3}?', 'aaaa'), (r'\Z', 'ab'), (r'\Aab', 'ab'),
                      (r'(?i)AB', 'xab'), (r'(?i:A)b', 'ab'), (r'(?#note)ab', 'ab'), (r'\x41\u0042', 'AB'), (r'\<', '<'), (r'\ a', ' a'), (r'[\w.]+@[\w.]+', 'me@x.org'),
                      (r'[\d\s]+', 'a1 2b'), (r'a|b|', 'b'), (r'(?:ab)+', 'ababx'), (r'\$\(', '$('), (r'[\]\\]+', r']\x'), (r'\t\n', '\t\n'), (r'.+?,', 'ab,cd,'), (r'\07', '\x07')]:
    m = re.search(pattern, text)
    print(pattern, m and m.span(), m and m.group())
print(re.findall(r'\w+', 'aé'), re.findall(r'\w+', 'aé', re.A), re.findall(r'\d', '٣3'), re.findall(r'\d', '٣3', re.ASCII))
for bad in ['(', '[a', 'a**', '\\', '(?P<n', r'\q', '[z-a]', '*a', 'a)', '(?P<n>a)(?P<n>b)']:
    try: re.compile(bad)
    except re.error as e: print('error')
try: re.search('a', 3)
except TypeError as e: print(e)
try: re.search(3, 'a')
except TypeError as e: print(e)
try: re.sub('a', r'\2', 'a')
except re.error as e: print(e)
try: re.search('a', 'a').group(3)
except IndexError as e: print(e)
#### classes of objects
import functools, itertools, re, types
from collections import deque, namedtuple
P = namedtuple('P', 'a')
for x in [object(), re.compile('a'), re.search('a', 'a'), {}.keys(), deque(), P(1), itertools.chain(), lambda: 0, len, [].append, re, type, P, int, None, iter([])]:
    print(type(x), x.__class__ is type(x), x.__class__.__name__, type(x).__class__, type(type(x)), isinstance(x, type(x)))
print(type(re.compile('a')) is type(re.compile('b')), type(re) == type(re.compile('b')), re.compile('a').__class__.__module__)
print({type(x): type(x).__name__ for x in [re.compile('a'), deque(), re.compile('b'), 1]}[type(re.compile('c'))])
#### heapq and bisect
import heapq, bisect, numbers
h = [5, 3, 8, 1, 9, 2]
heapq.heapify(h); print(h)
heapq.heappush(h, 0); print(h, heapq.heappop(h), heapq.heappop(h), h, heapq.heappushpop(h, 4), heapq.heapreplace(h, 7), h)
print(heapq.nlargest(2, [3, 1, 4, 1, 5]), heapq.nsmallest(2, ['ccc', 'a', 'bb'], key=len), [heapq.heappop(h) for _ in range(len(h))])
try: heapq.heappop([])
except IndexError as e: print(e)
a = [1, 2, 2, 3]
print(bisect.bisect(a, 2), bisect.bisect_left(a, 2), bisect.bisect_right(a, 9), bisect.bisect_left(a, 2, 2))
bisect.insort(a, 2.5); print(a, bisect.bisect([(1, 'a'), (2, 'b')], 1, key=lambda t: t[0]))
print(isinstance(1, numbers.Number), isinstance(1.5, numbers.Integral), isinstance('x', numbers.Number), isinstance(True, numbers.Real))
#### future
from __future__ import annotations
def f(x: Undefined) -> Missing: return x
print(f(1))
#### tracebacks as programs see them
import traceback
def inner(): raise ValueError("deep\nest")
def outer():
    try: inner()
    except ValueError as e: raise KeyError("k") from e
class M:
    def __enter__(self): return self
    def __exit__(self, kind, value, tb):
        self.seen = kind.__name__, str(value), type(tb).__name__, tb.tb_lineno, traceback.extract_tb(tb)[-1].name, traceback.format_tb(tb)
        return True
m = M()
with m: inner()
print(m.seen)
try: outer()
except KeyError as e:
    k = e
    print(traceback.format_exc(), traceback.format_exception(e), traceback.format_exception(e, chain=False), traceback.format_exception(type(e), e, e.__traceback__, limit=1), traceback.format_exc(limit=-1))
    print(traceback.format_exception_only(e), traceback.format_exception_only(type(e), e), traceback.format_exception_only(ValueError("x")))
    traceback.print_exc()
    tb = e.__traceback__
    while tb: print(tb.tb_lineno, tb.tb_frame.f_code.co_name, tb.tb_frame.f_code.co_filename); tb = tb.tb_next
    for one in traceback.extract_tb(e.__traceback__): print(one, one.line, one[1], len(one), one == tuple(one))
    print("".join(traceback.format_list(traceback.extract_tb(e.__traceback__))))
print(traceback.format_exc(), ValueError("y").__traceback__, k.__traceback__ is None, traceback.format_exception(ValueError("never")), type(k.__traceback__).__name__)
def deep(n): return deep(n - 1) if n else 1 / 0
try:
    deep(9)
except ZeroDivisionError as e: e.add_note("a note"); print(traceback.format_exc(), len(traceback.format_tb(e.__traceback__)))
traceback.print_exception(k.__cause__)
