#### dataclasses: inheritance, overriding and order of fields
from __future__ import annotations
from dataclasses import dataclass, field, fields, MISSING, is_dataclass
import dataclasses
@dataclass
class A:
    x: int = 1
    y: str = 'y'
@dataclass
class B(A):
    z: float = 2.0
    x: int = 10
    def __repr__(self): return 'own repr ' + str(self.x)
class C(B):
    w: int = 5
b = B()
print(b, [f.name for f in fields(B)], [f.default for f in fields(B)], B.x, A.x, B(z=3).z, B('a', 'b', 'c').z)
print(C(), is_dataclass(C), [f.name for f in fields(C)], C.__match_args__, C() == C(), C() == B(), A() == A(), A() != A(2))
print(fields(A)[0].name, fields(A)[0].type, fields(A)[1].default_factory is MISSING, fields(b)[0].init, fields(A)[0].kw_only)
class D(A):
    def __init__(self, x, extra):
        super().__init__(x)
        self.extra = extra
d = D(4, 'e')
print(d, d.extra, D.__init__.__qualname__, A.__init__.__qualname__, A.__init__.__name__, A.__eq__.__qualname__, A.__repr__.__name__)
@dataclass
class E(A):
    def __post_init__(self):
        self.y = self.y.upper()
    v: list = field(default_factory=lambda: [1])
@dataclass
class F(E):
    def __post_init__(self):
        super().__post_init__()
        self.v.append(len(self.y))
print(E(y='abc'), F(y='abc'), F().v is F().v)
A.__init__(d, 9)
print(d.x, vars(d), vars(b))
#### dataclasses: arguments that do not fit
from dataclasses import dataclass, field, KW_ONLY
@dataclass
class P:
    x: int
    y: int
    z: int = 3
@dataclass
class Q:
    a: int
    _: KW_ONLY
    b: int
    c: int = 2
    d: int
@dataclass
class N: pass
@dataclass
class One:
    self: int
for f in (lambda: P(), lambda: P(1), lambda: P(1, 2, 3, 4), lambda: P(1, 2, w=3), lambda: P(1, 2, x=3), lambda: P(*range(3)), lambda: P(**{'x': 1, 'y': 2}),
          lambda: Q(), lambda: Q(1), lambda: Q(1, b=2), lambda: Q(1, 2), lambda: Q(1, b=2, d=4), lambda: Q(1, 2, b=3, d=1), lambda: N(), lambda: N(1), lambda: N(a=1), lambda: One(self=3), lambda: One(4)):
    try: print(f())
    except TypeError as e: print(e)
#### dataclasses: eq, order, hash and frozen
from dataclasses import dataclass, field, FrozenInstanceError
nan = float('nan')
@dataclass(order=True)
class O:
    a: int
    b: object = field(default=0, compare=False)
    c: float = nan
print(O(1) == O(1), O(1, 5) == O(1, 6), O(1) < O(2), O(2) <= O(1), O(3) > O(2), O(1) >= O(1), O(1, c=1.0) < O(1, c=2.0))
for f in (lambda: O(1) < 3, lambda: O(1) == 3, lambda: O(1) != (1, nan), lambda: O('a') < O(1), lambda: hash(O(1))):
    try: print(f())
    except TypeError as e: print(e)
class Sub(O): pass
print(Sub(1) == O(1), Sub(1) == Sub(1), O(1).__eq__(Sub(1)), O(1).__lt__(3))
@dataclass(frozen=True)
class Z:
    a: int
    b: list = field(default_factory=list, hash=False)
    c: int = field(default=3, init=False)
z = Z(1)
print(z, hash(z) == hash((1, 3)), {Z(2): 'two'}[Z(2)], z.c, 'c' in vars(z))
for f in (lambda: setattr(z, 'a', 2), lambda: setattr(z, 'nothing', 2), lambda: delattr(z, 'a'), lambda: delattr(z, 'other')):
    try: f()
    except FrozenInstanceError as e: print(type(e).__name__, e, e.args)
class Open(Z): pass
o = Open(1)
o.more = 5
print(o, o.more)
try: o.a = 3
except AttributeError as e: print(e)
@dataclass(unsafe_hash=True)
class H:
    a: int
    b: int = field(default=2, hash=True, compare=False)
    c: list = field(default_factory=list, hash=False)
print(hash(H(1)) == hash((1, 2)), H(1) == H(1, 3), hash(H(1)) == hash(H(1, 3)))
@dataclass(eq=False)
class I:
    a: int
print(I(1) == I(1), hash(I(1)) != 0 or True)
@dataclass
class Own:
    a: int
    def __eq__(self, other): return 'own eq'
    def __hash__(self): return 7
print(Own(1) == 2, hash(Own(1)))
@dataclass
class Kept:
    a: int
    def __hash__(self): return 8
print(hash(Kept(1)), Kept(1) == Kept(1))
#### dataclasses: what cannot be made
from dataclasses import dataclass, field, InitVar, KW_ONLY, replace, asdict, astuple, fields
from typing import ClassVar
def attempt(make):
    try: print(make())
    except Exception as e: print(type(e).__name__, e)
def order():
    @dataclass
    class A:
        x: int = 1
        y: int
def mutable(kind):
    def make():
        @dataclass
        class A:
            x: object = kind()
    return make
def overwrite():
    @dataclass(order=True)
    class A:
        x: int
        def __lt__(self, other): return True
def frozen_setattr():
    @dataclass(frozen=True)
    class A:
        x: int
        def __setattr__(self, name, value): pass
def thaw():
    @dataclass(frozen=True)
    class A:
        x: int
    @dataclass
    class B(A):
        y: int
def freeze():
    @dataclass
    class A:
        x: int
    @dataclass(frozen=True)
    class B(A):
        y: int
def no_annotation():
    @dataclass
    class A:
        x = field(default=1)
def both():
    field(default=1, default_factory=list)
def unordered():
    @dataclass(order=True, eq=False)
    class A: pass
def rehash():
    @dataclass(unsafe_hash=True)
    class A:
        def __hash__(self): return 1
def twice():
    @dataclass
    class A:
        _: KW_ONLY
        x: int
        __: KW_ONLY
def factory():
    @dataclass
    class A:
        x: ClassVar[list] = field(default_factory=list)
def positional():
    field(3)
def unknown():
    @dataclass(fast=True)
    class A: pass
def weak():
    @dataclass(weakref_slot=True)
    class A: pass
def slots():
    @dataclass(slots=True)
    class A:
        __slots__ = ('x',)
        x: int
@dataclass
class R:
    a: int
    b: int = field(default=2, init=False)
    c: InitVar[int] = 3
    d: InitVar[int] = field(default=4, kw_only=True)
    def __post_init__(self, c, d): self.seen = (c, d)
@dataclass
class S:
    a: int
    b: InitVar[int]
    def __post_init__(self, b): pass
class Eq:
    def __eq__(self, other): return True
for make in (order, mutable(list), mutable(dict), mutable(set), mutable(tuple), mutable(Eq), overwrite, frozen_setattr, thaw, freeze, no_annotation, both,
             unordered, rehash, twice, factory, positional, unknown, weak, slots,
             lambda: replace(R(1), a=5), lambda: replace(R(1), b=5), lambda: replace(3), lambda: replace(R), lambda: replace(S(1, 2), a=3), lambda: replace(S(1, 2), b=3), lambda: replace(R(1), q=1),
             lambda: asdict(R), lambda: astuple([R(1)]), lambda: fields(3), lambda: fields(list), lambda: asdict(), lambda: R(1, c=5, d=6).seen):
    attempt(make)
#### dataclasses: repr
from __future__ import annotations
from dataclasses import dataclass, field, MISSING
@dataclass
class A:
    a: int
    b: str = field(default='x', repr=False)
    class Inner: pass
@dataclass
class Outer:
    @dataclass
    class Nested:
        v: object
    n: object = None
o = Outer.Nested([A(1), {'k': A(2, 'q')}])
print(o, str(o), f'{o}', [o], A('text'))
o.v.append(o)
print(o)
def local():
    @dataclass
    class L:
        x: int
    return L(3)
print(local())
class Bad:
    def __repr__(self): raise ValueError('no repr')
try: repr(A(Bad()))
except ValueError as e: print(e)
w = A(Bad()); w.a = 5
print(w, A.__dataclass_params__)
print(repr(A.__dataclass_fields__['b']).replace(repr(MISSING), 'MISSING').replace('mappingproxy({})', '{}'))
class Sub(A): pass
print(Sub(1))
#### dataclasses: exports
from dataclasses import dataclass, field, asdict, astuple
from collections import namedtuple, OrderedDict, defaultdict
@dataclass
class P:
    x: int
    y: object = None
T = namedtuple('T', 'u v')
class L(list): pass
shared = [1]
v = P(1, [P(2), (P(3), 4), {'k': P(5), P: 6}, T(P(7), 8), OrderedDict(a=P(9)), L([P(10)]), {1, 2}, shared])
d = asdict(v)
print(d, d['y'][7] is shared, type(d['y'][3]).__name__, type(d['y'][4]).__name__, type(d['y'][5]).__name__)
print(astuple(v), asdict(P(1, 2), dict_factory=list), astuple(P(1, 2), tuple_factory=list), asdict(P(1, P(2)), dict_factory=lambda pairs: dict(reversed(pairs))))
v.y = v
try: asdict(v)
except RecursionError as e: print('RecursionError')
@dataclass(frozen=True)
class K:
    a: int
print(asdict(P(K(1), {K(2): K(3)}['x'] if False else [K(4)])))
#### dataclasses: slots, keyword only and match
from dataclasses import dataclass, field, fields
@dataclass(slots=True)
class S:
    x: int
    y: int = 5
    z: list = field(default_factory=list)
    def total(self): return self.x + self.y
s = S(1)
print(s, s.total(), S.__slots__, hasattr(s, '__dict__'), s == S(1), S.__qualname__, S.__module__)
try: s.other = 3
except AttributeError as e: print(e)
@dataclass(slots=True)
class U(S):
    w: int = 7
print(U(1), U.__slots__, U(1).w, U.__mro__[1] is S)
@dataclass(kw_only=True)
class K:
    a: int = 1
    b: int
    c: int = field(kw_only=False)
print(K(3, b=2), K.__match_args__, [f.kw_only for f in fields(K)])
@dataclass(match_args=False)
class M:
    a: int
print(hasattr(M, '__match_args__'))
@dataclass(init=False)
class NoInit:
    a: int
    b: int = 4
    def __init__(self): self.a = 9
print(NoInit(), NoInit().b)
match K(3, b=2):
    case K(c): print('matched', c)
match S(1, 2):
    case S(x=1, y=y): print(y)
@dataclass()
class Called:
    a: int = 1
print(Called())
#### dataclasses: functions that make classes and fields
from dataclasses import make_dataclass, field, dataclass, fields, is_dataclass, asdict, replace, MISSING, Field
C = make_dataclass('C', ['x', ('y', int), ('z', int, field(default=5))], namespace={'double': lambda self: self.x * 2})
print(C(1, 2), C(3, 4).double(), C.__name__, [f.name for f in fields(C)], is_dataclass(C), asdict(C(1, 2)))
class Base: tag = 'base'
D = make_dataclass('D', [('a', int, 1)], bases=(Base,), frozen=True)
print(D(), D.tag, hash(D()) == hash((1,)))
for bad in (lambda: make_dataclass('E', ['1a']), lambda: make_dataclass('E', ['a', 'a'])):
    try: bad()
    except TypeError as e: print(e)
f = field(default=3, metadata={'unit': 'ms'})
print(f.default, f.metadata['unit'], f.name, f.init, f.compare, f.hash, f.kw_only is MISSING, isinstance(f, Field), f.default_factory is MISSING)
@dataclass
class G:
    """Says what it is."""
    a: int = f
print(G(), fields(G)[0].metadata['unit'], G.__doc__, G.a, replace(G(1), a=2))
class Plain: pass
print(dataclass(Plain) is Plain, Plain() == Plain(), Plain())
#### dataclasses: properties, descriptors and hooks of classes
from dataclasses import dataclass, field
from typing import ClassVar
import typing, dataclasses
@dataclass
class A:
    n: int
    count: typing.ClassVar[int] = 0
    other: ClassVar[int] = 1
    scale: dataclasses.InitVar[int] = 1
    def __post_init__(self, scale):
        A.count += 1
        self.n *= scale
    @property
    def double(self): return self.n * 2
    @classmethod
    def of(cls, text): return cls(int(text))
    @staticmethod
    def helper(): return 'helped'
    def __setattr__(self, name, value):
        print('set', name, value)
        super().__setattr__(name, value)
print(A(2, 3).double, A.of('4'), A.helper(), A.count, A.other, A.scale, [f.name for f in dataclasses.fields(A)])
class Registered:
    known = []
    def __init_subclass__(cls): Registered.known.append(cls.__name__)
@dataclass
class R(Registered):
    a: int = 1
print(Registered.known, R())
class Up:
    def __set_name__(self, owner, name): self.name = '_' + name
    def __get__(self, object, owner): return 3 if object is None else getattr(object, self.name)
    def __set__(self, object, value): setattr(object, self.name, value * 10)
@dataclass
class W:
    v: int = Up()
print(W(2).v, W().v)
def fail(): raise KeyError('factory')
@dataclass
class Failing:
    a: int = field(default_factory=fail)
try: Failing()
except KeyError as e: print(e)
@dataclass
class Post:
    a: int
    def __post_init__(self):
        if self.a < 0: raise ValueError('negative')
print(Post(1))
try: Post(-1)
except ValueError as e: print(e)
#### dataclasses: fields whose comparison fails show the program's lines
from dataclasses import dataclass
class V:
    def __eq__(self, other): raise ValueError('cannot compare')
@dataclass
class A:
    v: object
def compare(a, b):
    return a == b
try: compare(A(V()), A(V()))
except ValueError as e: print(e)
print(A(1).missing)
#### namedtuple
from collections import namedtuple
from typing import NamedTuple
import collections
P = namedtuple('P', ['x', 'y'])
Q = namedtuple('Q', 'a, b c', defaults=(1, 2), module='elsewhere')
print(P._fields, Q._field_defaults, Q(0), Q(0, 5), Q.__module__, P.__module__, P.__doc__, P.x.__doc__, Q.__name__, P.__match_args__)
p = P(1, y=2)
print(p, repr(p), p.x, p[1], p[-1], p[:1], len(p), p == (1, 2), p != (1, 2), p < P(1, 3), hash(p) == hash((1, 2)), tuple(p), [*p], p.index(2), p.count(1), 2 in p, p * 2, (0,) + p)
print(p._replace(y=[3]), p._asdict(), P._make('ab'), P._make(iter([1, 2]))._replace(), isinstance(p, tuple), issubclass(P, tuple), type(p) is P)
def attempt(f):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
for f in (lambda: P(), lambda: P(1), lambda: P(1, 2, 3), lambda: P(1, 2, z=3), lambda: P(1, x=2), lambda: P._make([1]), lambda: P._make(3), lambda: p._replace(z=3, w=1),
          lambda: namedtuple('A', 'a a'), lambda: namedtuple('A', '_a'), lambda: namedtuple('A', 'for'), lambda: namedtuple('1', 'a'), lambda: namedtuple('class', 'a'), lambda: namedtuple('A', [1]),
          lambda: namedtuple('A', 'a', defaults=[1, 2]), lambda: namedtuple('A', 'b a _c def a', rename=True)._fields, lambda: namedtuple('A', '')(), lambda: namedtuple('A', ()), lambda: namedtuple('A'),
          lambda: namedtuple('A', 'x', verbose=True), lambda: p.z, lambda: delattr(p, 'x'), lambda: setattr(p, 'x', 1), lambda: Q(), lambda: Q(b=3)):
    attempt(f)
class Sub(P):
    scale = 3
    def __new__(cls, x, y=7):
        return super().__new__(cls, x * cls.scale, y)
    @property
    def total(self): return self.x + self.y
    def __repr__(self): return f'Sub<{super().__repr__()}>'
s = Sub(1)
print(s, s.total, s._replace(x=5), type(s._replace(x=5)).__name__, Sub._make([1, 2]))
class N(NamedTuple):
    """A point."""
    a: int
    b: str = 'dflt'
    def both(self): return (self.a, self.b)
    @classmethod
    def origin(cls): return cls(0)
print(N(1), N(2, b='z').both(), N.origin(), N._field_defaults, N.__doc__, N(1) == (1, 'dflt'), N.a.__doc__)
def wrong():
    class W(NamedTuple):
        a: int = 1
        b: int
attempt(wrong)
attempt(lambda: N())
attempt(lambda: N(1, 2, 3))
V = NamedTuple('V', [('x', int), ('y', str)])
print(V(1, 'a'), V._fields)
match P(1, 2):
    case P(x, 2): print('matched', x)
a, b = P(5, 6)
print(a, b, sorted([P(2, 1), P(1, 9)]), max(P(1, 2), P(1, 3)), {P(1, 2): 'k'}[(1, 2)], '%s %s' % P(1, 2))
loop = P([], 1)
loop.x.append(loop.x)
print(loop)
class Index(namedtuple('Index', 'layer head')):
    __slots__ = ()
    def __str__(self): return f'L{self.layer}H{self.head}'
    def __getitem__(self, key): return 'own'
i = Index(1, 2)
print(i, str(i), i[0], i.layer, i.head, list(i), i._asdict())
#### ChainMap
from collections import ChainMap
c = ChainMap({'a': 1}, {'a': 2, 'b': 3})
print(c, c['a'], c['b'], len(c), list(c), dict(c), 'b' in c, c.get('z'), c.get('z', 5), bool(ChainMap()), list(c.items()), list(c.values()), list(c.keys()))
c['n'] = 4
del c['a']
print(c, c['a'], c.new_child({'a': 9})['a'], c.parents, c.copy() == c, c | {'q': 1}, c.pop('n'), c.setdefault('s', 6), c.maps)
c.update(x=1)
for f in (lambda: c['zz'], lambda: c.__delitem__('b'), lambda: c.pop('b'), lambda: ChainMap().popitem()):
    try: print(f())
    except KeyError as e: print(e)
c.clear()
print(c, {**c}, c.new_child())
#### statistics: averages
import statistics as st
from math import inf, nan
def attempt(f):
    try: print(repr(f()))
    except Exception as e: print(type(e).__name__, e)
for d in ([1], [1, 2], [True, False, True], [1.5, 2], (1, 2, 3, 4), range(7), {1: 'a', 4: 'b'}, iter([2, 4]), [inf, 1], [inf, -inf], [nan, 1], [-0.0, 0.0], [10**20, 1], [1e300, 1e300, -1e300], [0.1, 0.2, 0.3, 10**15], [5e-324, 5e-324], [1e308] * 3, []):
    d = d if hasattr(d, '__len__') else list(d)
    special = inf in d or -inf in d or nan in d
    for f in (st.mean, st.fmean, st.median, st.pvariance, st.variance) + (() if special else (st.pstdev, st.stdev)):
        attempt(lambda: f(d))
for d in (['a'], [None], [1, 'b'], 'ab', 3, [[1]], [1j], b'ab'):
    for f in (st.mean, st.variance):
        try: print(f(d))
        except TypeError as e: print('TypeError')
print(st.variance([1, 2, 3, 4], 2.5), st.pvariance([1, 2, 3, 4], mu=2.5), st.stdev([1.0, 2.0], xbar=1.5), st.pstdev([1, 2, 3], 2), st.pvariance([1, 2], 1), st.variance([1, 2, 9], xbar=4))
print(st.fmean([1, 2, 3], [1, 0, 1]), st.fmean([1, 2], weights=[3, 1]), st.fmean(iter([1, 2])))
for f in (lambda: st.fmean([1, 2], [1]), lambda: st.fmean([1], [0]), lambda: st.fmean([]), lambda: st.mean(), lambda: st.mean([1], 2), lambda: st.stdev([1]), lambda: st.pstdev([]), lambda: st.variance([3], 3), lambda: st.geometric_mean([0]), lambda: st.geometric_mean([])):
    attempt(f)
print(st.geometric_mean([54, 24, 36]), st.StatisticsError.__mro__[1], issubclass(st.StatisticsError, ValueError))
#### statistics: order and counts
import statistics as st
def attempt(f):
    try: print(repr(f()))
    except Exception as e: print(type(e).__name__, e)
for f in (lambda: st.median([3, 1, 2]), lambda: st.median([1, 2, 3, 4]), lambda: st.median_low([1, 2, 3, 4]), lambda: st.median_high([1, 2, 3, 4]), lambda: st.median(x for x in (3, 1)), lambda: st.median('abc'), lambda: st.median('abcd'), lambda: st.median_low('badc'), lambda: st.median([]), lambda: st.median_low([]), lambda: st.median_high(()),
          lambda: st.mode([1, 1, 2]), lambda: st.mode('abcab'), lambda: st.mode([]), lambda: st.mode([[1]]), lambda: st.multimode([]), lambda: st.multimode('aabbc'), lambda: st.mode(iter([3])), lambda: st.multimode([1, True, 2]),
          lambda: st.quantiles([1, 2, 3, 4, 5, 6]), lambda: st.quantiles([3, 1, 2], n=10), lambda: st.quantiles([1, 2], n=3, method='inclusive'), lambda: st.quantiles([1.5, 2.5, 9], n=1), lambda: st.quantiles([1]), lambda: st.quantiles([1, 2], n=0), lambda: st.quantiles([1, 2], method='x'), lambda: st.quantiles(range(100), n=4, method='inclusive'), lambda: st.quantiles(range(10), n=100)[:3],
          lambda: st.correlation([1, 2, 3], [2, 4, 7]), lambda: st.covariance([1, 2, 3], [1, 5, 7]), lambda: st.correlation([1, 1], [1, 2]), lambda: st.correlation([1], [2]), lambda: st.covariance([1, 2], [1])):
    attempt(f)
#### contextlib: managers of generators
from contextlib import contextmanager, nullcontext, suppress, closing, ExitStack, ContextDecorator, AbstractContextManager
import contextlib
def attempt(f):
    try: print(f())
    except BaseException as e: print(type(e).__name__, e, repr(e.__cause__), e.__suppress_context__)
@contextmanager
def tracked(name, *more, **options):
    """Says when."""
    print('in', name, more, options)
    try:
        yield name
    except KeyError as e:
        print('handled', e)
    else:
        print('clean', name)
    finally:
        print('out', name)
print(tracked.__name__, tracked.__doc__, tracked.__wrapped__.__name__)
with tracked('a', 1, k=2) as a, tracked('b') as b: print(a, b)
with tracked('c'): raise KeyError('k')
@contextmanager
def never():
    if False: yield
@contextmanager
def twice():
    yield 1
    yield 2
@contextmanager
def again():
    try: yield
    except ValueError: yield 3
@contextmanager
def other():
    try: yield
    except ValueError as e: raise KeyError('other') from e
@contextmanager
def stops():
    yield
@contextmanager
def early():
    try: yield
    except ValueError: return
def use(manager, error=None):
    with manager as value:
        if error: raise error
        return value
attempt(lambda: use(never())); attempt(lambda: use(twice())); attempt(lambda: use(again(), ValueError('v'))); attempt(lambda: use(other(), ValueError('v')))
attempt(lambda: use(stops(), StopIteration('s'))); attempt(lambda: use(early(), ValueError('v'))); attempt(lambda: use(stops(), RuntimeError('r'))); attempt(lambda: use(stops(), GeneratorExit('g')))
attempt(lambda: use(tracked('x'), ValueError('through')))
one = tracked('once')
attempt(lambda: use(one)); attempt(lambda: use(one))
@tracked('deco')
def f(x, y=1):
    """f doc"""
    return x + y
print(f(1), f(2, y=5), f.__name__, f.__doc__)
@tracked('failing')
def g(): raise KeyError('inside')
attempt(g)
class K:
    n = 3
    @contextmanager
    def method(self, by): yield self.n * by
    @staticmethod
    @contextmanager
    def static(v): yield v
    @classmethod
    @contextmanager
    def of(cls, v): yield (cls.__name__, v)
with K().method(2) as r, K.static(4) as s, K.of(5) as t: print(r, s, t)
def count():
    with tracked('gen'):
        yield 1
        yield 2
for i in count(): print(i)
g = count(); next(g); g.close()
with tracked('return'):
    for i in range(3):
        with tracked(i):
            if i == 1: break
print(isinstance(tracked('z'), AbstractContextManager), isinstance(tracked('z'), ContextDecorator))
#### contextlib: other managers
from contextlib import nullcontext, suppress, closing, ExitStack, ContextDecorator, AbstractContextManager, contextmanager
class R:
    def __init__(self, name): self.name = name
    def __enter__(self): print('enter', self.name); return self.name
    def __exit__(self, *raised): print('exit', self.name, raised[0] and raised[0].__name__); return self.name == 'swallow'
    def close(self): print('close', self.name)
with nullcontext() as n, nullcontext(3) as m, nullcontext(enter_result=4) as k: print(n, m, k)
with suppress(): print('nothing')
with suppress(LookupError): [][1]
s = suppress(KeyError, ZeroDivisionError)
for e in (KeyError('a'), 1):
    with s:
        if e == 1: 1 / 0
        raise e
with closing(R('c')) as c: print(c.name)
try:
    with closing(R('c')): raise ValueError('v')
except ValueError as e: print(e)
with ExitStack() as stack:
    print(stack.enter_context(R('one')), stack.enter_context(R('two')), stack.push(R('three')).name)
    stack.callback(print, 'called', sep='-', end='!\n')
    print(stack.callback(lambda: print('last')) is not None)
    stack.callback(lambda: 'true')
with ExitStack() as stack:
    stack.enter_context(R('outer')); stack.enter_context(R('swallow')); stack.enter_context(R('inner'))
    raise ValueError('v')
print('swallowed')
kept = ExitStack()
with ExitStack() as stack:
    stack.enter_context(R('kept'))
    kept = stack.pop_all()
print('still open'); kept.close()
try:
    with ExitStack() as stack:
        stack.push(lambda *raised: 1 / 0)
        stack.enter_context(R('sees'))
        raise ValueError('v')
except ZeroDivisionError as e: print(e, repr(e.__context__))
try:
    with ExitStack() as stack: stack.enter_context(3)
except TypeError as e: print(e)
class Mine(ContextDecorator):
    def __enter__(self): print('mine'); return self
    def __exit__(self, *raised): print('done'); return False
@Mine()
def h(x): return x * 2
print(h(4))
class Base(AbstractContextManager):
    def __exit__(self, *raised): print('base exit')
with Base() as b: print(isinstance(b, AbstractContextManager))
#### contextlib: what is raised shows the program's lines
from contextlib import contextmanager
@contextmanager
def m():
    try:
        yield
    finally:
        print('cleaned')
def inner():
    with m():
        raise KeyError('deep')
with m():
    inner()
#### functools: wrappers
from functools import wraps, update_wrapper, partial, WRAPPER_ASSIGNMENTS
def attempt(f):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
def f(a, b: int = 2):
    """f doc"""
    return a + b
f.tag = 'tagged'
def deco(function):
    @wraps(function)
    def inner(*args, **kwargs):
        """inner doc"""
        return function(*args, **kwargs)
    inner.own = 1
    return inner
g = deco(f)
print(g(1), g.__name__, g.__qualname__, g.__doc__, g.__module__, g.tag, g.own, g.__wrapped__ is f, sorted(vars(g)))
def plain(): pass
print(update_wrapper(plain, f, assigned=('__doc__',), updated=()) is plain, plain.__name__, plain.__doc__, hasattr(plain, 'tag'), plain.__wrapped__ is f)
class Callable:
    """Callable doc"""
    def __init__(self, function): update_wrapper(self, function)
    def __call__(self, *args): return self.__wrapped__(*args) * 10
c = Callable(f)
print(c(1), c.__name__, c.__doc__, c.tag)
@wraps(partial(f, 1))
def from_partial(): """own"""
print(from_partial.__name__, from_partial.__wrapped__(), hasattr(from_partial, 'func'))
@wraps(len)
def from_builtin(x): return len(x)
print(from_builtin.__name__, from_builtin.__qualname__, from_builtin('abc'))
attempt(lambda: wraps()); attempt(lambda: update_wrapper(f))
print(WRAPPER_ASSIGNMENTS)
#### functools: caches
from functools import lru_cache, cache, cached_property
def attempt(f):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
@lru_cache(maxsize=3, typed=True)
def f(*args, **kwargs):
    """f doc"""
    print('run', args, kwargs)
    return len(args) + len(kwargs)
for args, kwargs in (((1,), {}), ((1.0,), {}), ((1,), {}), ((True,), {}), ((), {'a': 1}), ((), {'a': 1.0}), ((1,), {})):
    f(*args, **kwargs)
info = f.cache_info()
print(info, info.hits, info[1], tuple(info), info._fields, info == (1, 2, 3, 4), f.cache_parameters(), f.__name__, f.__doc__, f.__wrapped__(7))
f.cache_clear(); print(f.cache_info())
@lru_cache(0)
def none(x): return x
print(none(1), none(1), none.cache_info())
@lru_cache(-5)
def negative(x): return x
print(negative(1), negative.cache_info(), negative.cache_parameters())
@cache
def add(a, b=1): return a + b
print(add(1), add(1, 1), add(a=1), add(1, b=1), add.cache_info(), cache(lambda: 3)())
attempt(lambda: add([])); attempt(lambda: lru_cache('x')); attempt(lambda: lru_cache(1.5)); attempt(lambda: add()); attempt(lambda: cache())
@lru_cache
def fails(x): raise ValueError(x)
attempt(lambda: fails(1)); attempt(lambda: fails(1)); print(fails.cache_info())
class C:
    count = 0
    def __init__(self, v): self.v = v
    @lru_cache
    def m(self, x): C.count += 1; return self.v + x
    @staticmethod
    @lru_cache
    def s(x): C.count += 1; return x
    @classmethod
    @cache
    def k(cls, x): C.count += 1; return cls.__name__ * x
    @property
    @cache
    def p(self): C.count += 1; return self.v
    @cached_property
    def lazy(self):
        """lazy doc"""
        C.count += 1
        return [self.v]
a, b = C(1), C(2)
print(a.m(1), b.m(1), a.m(1), C.s(3), a.s(3), C.k(2), a.k(2), a.p, a.p, a.lazy is a.lazy, a.lazy, b.lazy, C.count, C.m.cache_info())
a.lazy = 'set'; print(a.lazy); del a.lazy; print(a.lazy, C.lazy.__doc__, type(C.lazy).__name__, C.lazy.attrname)
class S:
    __slots__ = ()
    @cached_property
    def x(self): return 1
attempt(lambda: S().x)
n = cached_property(lambda self: 1)
attempt(lambda: n.__get__(C(1)))
@cache
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
print(fib(100), fib(300) % 1000007)
outer = cache(fib)
print(outer(5), outer(5), outer.cache_info(), outer.__wrapped__ is fib)
#### functools: order and partial
from functools import total_ordering, cmp_to_key, partial, partialmethod, reduce
def attempt(f):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
@total_ordering
class V:
    def __init__(self, v): self.v = v
    def __eq__(self, other): return self.v == other.v if isinstance(other, V) else NotImplemented
    def __lt__(self, other): return self.v < other.v if isinstance(other, V) else NotImplemented
    def __repr__(self): return f'V{self.v}'
print(sorted([V(3), V(1), V(2)], reverse=True), max(V(1), V(5)), V(1) >= V(1), V(2) > V(3), V(1) <= V(0), V.__le__.__name__, V.__ge__(V(1), V(2)))
attempt(lambda: V(1) <= 3); attempt(lambda: V(1).__ge__(3))
@total_ordering
class W(V):
    def __le__(self, other): print('own le'); return True
print(W(1) <= W(0), W(1) > W(0))
def none():
    @total_ordering
    class N: pass
attempt(none)
key = cmp_to_key(lambda a, b: (a > b) - (a < b))
print(key(1) < key(2), key(1) == key(1), key(3) >= key(2), key(1) != key(2), key(5).obj, sorted('bca', key=key), max([3, 9, 4], key=cmp_to_key(lambda a, b: b - a)), min([3, 9, 4], key=key))
attempt(lambda: sorted([2, 1], key=cmp_to_key(lambda a, b: 1 / 0)))
p = partial(dict, a=1)
print(p(b=2), p(a=3), p.func, p.args, p.keywords, partial(p, b=4)(), repr(partial(max, 1, key=abs)) == f'functools.partial({max!r}, 1, key={abs!r})')
p.note = 'kept'; print(p.note, callable(p))
class M:
    def set(self, k, v): return (k, v)
    on = partialmethod(set, 'power', v=True)
    half = partial(pow, 2)
print(M().on(), M().on(v=3), M().half(3))
attempt(lambda: partialmethod(3)); attempt(lambda: partial(3)); attempt(lambda: reduce(max, [])); attempt(lambda: reduce(max, 3)); attempt(lambda: reduce(max, [], 4)); attempt(lambda: reduce(max))
#### functools: dispatch by the type of an argument
from functools import singledispatch, singledispatchmethod
@singledispatch
def show(x, *more):
    """show doc"""
    return f'object {x}'
@show.register(int)
def _(x): return f'int {x}'
@show.register(list)
def of_list(x, *more): return f'list of {len(x)} {more}'
show.register(str, lambda x: f'str {x}')
class A: pass
class B(A): pass
show.register(A, lambda x: 'an A')
print(show(1), show(True), show(1.5), show([1, 2], 3), show('s'), show(B()), show(None), show.__name__, show.__doc__, of_list([1]), show.dispatch(int)(3), sorted(t.__name__ for t in show.registry))
try: show()
except TypeError as e: print(e)
class C:
    @singledispatchmethod
    def m(self, x): return 'object'
    @m.register(int)
    def _(self, x): return f'int {x}'
print(C().m(1), C().m('a'))
#### enum: members
from enum import Enum, IntEnum, StrEnum, auto, unique
import enum
def attempt(f):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
class Color(Enum):
    """Color doc"""
    RED = 1
    GREEN = 'g'
    BLUE = (1, 2)
    CRIMSON = 1
    NONE = None
    _private = 5
    def hello(self): return f'hello {self.name}'
    @property
    def loud(self): return self.name + '!'
    @staticmethod
    def helper(): return 'helped'
    @classmethod
    def pick(cls, value): return cls(value)
    plain = lambda self: self.value
print(Color.RED, repr(Color.GREEN), Color.BLUE.value, Color.CRIMSON, Color.CRIMSON is Color.RED, Color((1, 2)), Color(None), Color['NONE'], Color._private, Color.__doc__, Color.__name__)
print(list(Color), len(Color), [c.name for c in Color], dict(Color.__members__), Color.RED in Color, Color.RED.hello(), Color.RED.loud, Color.helper(), Color.pick('g'), Color.GREEN.plain(), Color.RED.CRIMSON)
print(Color.RED == 1, Color.RED == Color.RED, Color.RED != Color.GREEN, Color.RED is Color(1), {Color.RED: 'r', Color.GREEN: 'g'}[Color.GREEN], f'{Color.RED}', '%s' % Color.RED, str(Color.RED), bool(Color.NONE), isinstance(Color.RED, Color), type(Color.RED) is Color)
for f in (lambda: Color(9), lambda: Color['no'], lambda: Color.RED < Color.GREEN, lambda: Color('G'), lambda: Color([1])):
    attempt(f)
def extend():
    class More(Color):
        PINK = 7
attempt(extend)
class Base(Enum):
    def shared(self): return (type(self).__name__, self.value)
class One(Base):
    A = 'a'
print(One.A.shared(), list(Base), issubclass(One, Base))
class Num(IntEnum):
    ONE = 1
    TWO = auto()
    TEN = 10
    ELEVEN = auto()
print(Num.ONE + 1, Num.TWO, repr(Num.TEN), f'{Num.ELEVEN}', Num.TWO == 2, Num.ONE < Num.TWO, [5, 6, 7][Num.ONE], sorted([Num.TEN, Num.ONE]), max(Num), sum(Num), Num(2), {1: 'x'}[Num.ONE], hash(Num.ONE) == hash(1), isinstance(Num.ONE, int), '%d' % Num.TEN, Num.TEN.bit_length(), range(Num.TWO), Num.ONE in (1, 2), int(Num.TEN), Num.TEN.name, Num.TEN.value, -Num.ONE, Num.TWO * 'ab')
class S(StrEnum):
    A = auto()
    B = 'bee'
print(S.A, repr(S.A), S.B == 'bee', S.B.upper(), f'{S.A}', S('bee'), S.A + 'x', {'a': 1}[S.A], ','.join(S), S.A.value, S.B in ('bee',), len(S.B))
def wrong():
    class W(StrEnum):
        A = 1
attempt(wrong)
class Mode(str, Enum):
    X = 'x'
    Y = 'y'
print(Mode.X, Mode.X == 'x', Mode('y'), Mode.X.value, Mode.X.upper(), str(Mode.X), 'x' == Mode.X, Mode.X in ['x'], repr(Mode.Y))
class F(float, Enum):
    HALF = 0.5
print(F.HALF * 2, F.HALF == 0.5, repr(F.HALF), F(0.5))
#### enum: values that members make
from enum import Enum, IntEnum, auto, unique, member, nonmember
def attempt(f):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
class Planet(Enum):
    EARTH = (5.9, 6.3)
    MARS = (0.6, 3.3)
    def __init__(self, mass, radius): self.mass, self.radius = mass, radius
    @property
    def density(self): return round(self.mass / self.radius, 2)
print(Planet.EARTH.mass, Planet.MARS.density, Planet((0.6, 3.3)), Planet.EARTH.value, vars(Planet.MARS)['mass'])
class Own(Enum):
    A = 'a'
    B = 'b'
    def __new__(cls, text):
        made = object.__new__(cls)
        made._value_ = ord(text)
        made.text = text
        return made
print(Own.A.value, Own.A.text, Own(98), list(Own))
class Coord(bytes, Enum):
    def __new__(cls, value, label):
        made = bytes.__new__(cls, [value])
        made._value_ = value
        made.label = label
        return made
    PX = (0, 'P.X')
    PY = (1, 'P.Y')
print(Coord.PY.value, Coord.PY.label, Coord(0).name, Coord.PX == b'\x00')
class Named(Enum):
    def _generate_next_value_(name, start, count, last_values): return (name.lower(), start, count, last_values)
    ONE = auto()
    TWO = auto()
print(Named.ONE.value, Named.TWO.value)
class Auto(Enum):
    A = auto()
    B = 7
    C = auto()
    D = auto()
print([m.value for m in Auto])
class Missing(Enum):
    A = 1
    @classmethod
    def _missing_(cls, value):
        if value == 'bad': return 3
        if value == 'raise': raise KeyError('own')
        return cls.A if isinstance(value, str) else None
print(Missing('anything'))
attempt(lambda: Missing(2)); attempt(lambda: Missing('bad')); attempt(lambda: Missing('raise'))
class Marked(Enum):
    _ignore_ = 'tmp other'
    tmp = 3
    other = 4
    A = 1
    N = nonmember(5)
    F = member(6)
print(list(Marked), Marked.N, Marked.F, hasattr(Marked, 'tmp'))
def duplicates():
    @unique
    class U(Enum):
        A = 1
        B = 2
        C = 1
        D = 2
attempt(duplicates)
@unique
class Fine(IntEnum):
    A = 1
    B = 2
print(list(Fine))
Animal = Enum('Animal', 'ANT BEE, CAT')
print(list(Animal), Animal.BEE, Animal(3), Animal['ANT'].value)
print(list(Enum('P', ['X', 'Y'], start=5)), list(Enum('Q', {'A': 'a', 'B': 'b'})), list(Enum('R', [('A', 1), ('B', 4)])), IntEnum('I', 'A B').B + 1)
class Call(Enum):
    ADD = 1
    SUB = 2
    def __call__(self, a, b): return a + b if self is Call.ADD else a - b
    def __str__(self): return 'own ' + self.name
    def __eq__(self, other): return 'compared'
    def __hash__(self): return 3
print(Call.ADD(1, 2), Call.SUB(5, 1), str(Call.ADD), f'{Call.SUB}', Call.ADD == 1, hash(Call.ADD))
class Ordered(Enum):
    LOW, HIGH = 1, 2
    def __lt__(self, other): return self.value < other.value
print(sorted([Ordered.HIGH, Ordered.LOW]), min(Ordered), Ordered.LOW < Ordered.HIGH)
match Auto.B:
    case Auto.A: print('A')
    case Auto.B: print('B')
import copy
print(copy.deepcopy([Auto.A])[0] is Auto.A)
#### copy: containers and objects
import copy
from collections import OrderedDict, defaultdict, Counter, deque, namedtuple
from dataclasses import dataclass
from enum import Enum
inner = [1]
P = namedtuple('P', 'a b')
@dataclass
class D:
    x: list
class L(list): pass
class M(dict): pass
class Slotted:
    __slots__ = ('a', 'b')
class E(Exception):
    def __init__(self, *args): super().__init__(*args); self.extra = inner
class K(Enum):
    A = 1
s = Slotted(); s.a = inner
l = L([inner]); l.tag = inner
for x in ([inner], (inner,), {'k': inner}, OrderedDict(k=inner), defaultdict(list, k=inner), deque([inner], 3), P(inner, 2), D(inner), l, M(k=inner), frozenset([1]), {1}, (1, 2), (), 'text', 3, None, len, int, D, K.A, lambda: 0, Counter("aab"), range(3), b'b', 1.5, 2j):
    a, b = copy.copy(x), copy.deepcopy(x)
    print(type(x).__name__, a is x, b is x, type(a) is type(b) is type(x), a == x, b == x)
print(copy.copy([inner])[0] is inner, copy.deepcopy([inner])[0] is inner, copy.deepcopy(P(inner, 2)).a is inner, copy.deepcopy(D(inner)).x is inner, copy.copy(D(inner)).x is inner, copy.deepcopy(l)[0] is inner, copy.deepcopy(l).tag is inner, copy.copy(s).a is inner, copy.deepcopy(s).a is inner, hasattr(copy.copy(s), 'b'))
print(copy.deepcopy(defaultdict(list, k=inner))['new'], copy.deepcopy(deque([inner], 3)).maxlen, copy.deepcopy(deque([inner]))[0] is inner, list(copy.copy(OrderedDict(b=1, a=2))))
e = copy.deepcopy(E('message', 3))
print(repr(e), e.args, e.extra, e.extra is inner, copy.copy(E('m')).extra is inner)
#### copy: what holds itself, and hooks
import copy
a = [1]; a.append(a); t = ([],); t[0].append(t); d = {}; d['d'] = d
x, y, z = copy.deepcopy(a), copy.deepcopy(t), copy.deepcopy(d)
print(x[1] is x, y[0][0] is y, z['d'] is z, copy.deepcopy([a, a])[0] is not a)
class Node:
    def __init__(self): self.peer = None
n, m = Node(), Node()
n.peer, m.peer = m, n
c = copy.deepcopy(n)
print(c.peer.peer is c, c.peer is not m)
class H:
    def __init__(self, v): self.v = v
    def __copy__(self): return H(('copy', self.v))
    def __deepcopy__(self, memo):
        memo['seen'] = True
        return H(('deep', copy.deepcopy(self.v, memo), type(memo).__name__))
print(copy.copy(H(1)).v, copy.deepcopy(H([1])).v, copy.deepcopy([H(1)])[0].v)
shared = H(1)
p, q = copy.deepcopy([shared, shared])
print(p is q)
memo = {}
one = [[1]]
two = copy.deepcopy(one, memo)
print(copy.deepcopy(one, memo) is two, copy.deepcopy(x=one) == one, issubclass(copy.Error, Exception))
class Bad:
    def __deepcopy__(self, memo): raise ValueError('no copies')
try: copy.deepcopy({'k': [Bad()]})
except ValueError as e: print(e)
deep = []
for i in range(400): deep = [deep]
print(len(copy.deepcopy(deep)))
memo = {}
one = [[1], H(2)]
copy.deepcopy(one, memo)
print(memo[id(one)][0] == [1], memo[id(memo)][-1] is one, 'seen' in memo)
rows = [{'name': str(i), 'tags': [i], 'box': (i, [i])} for i in range(3000)]
rows.append(rows[7])
new = copy.deepcopy(rows)
print(new == rows, new[7] is new[-1], new[7] is not rows[7], new[5]['box'][1] is not rows[5]['box'][1], len({id(x) for x in new}))
class Meets:
    def __deepcopy__(self, memo): return copy.deepcopy(one, memo)
new = copy.deepcopy({'a': one, 'b': Meets()})
print(new['a'] is new['b'])
#### heapq and bisect
import heapq, bisect
def attempt(f):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
h = []
for x in (5, 3, 8, 1, 9, 2, 7): heapq.heappush(h, x); print(h)
print(heapq.heappushpop(h, 0), heapq.heappushpop(h, 4), h, heapq.heapreplace(h, 0), h, heapq.heappushpop([], 3))
print([heapq.heappop(h) for _ in range(len(h))], h)
w = [(2, 'b'), (1, 'z'), (2, 'a'), (1, 'c')]
heapq.heapify(w); print(w, heapq.nsmallest(2, w), heapq.nlargest(2, w, key=lambda t: t[1]), heapq.nlargest(0, w), heapq.nlargest(-1, w), heapq.nsmallest(9, [3, 1]))
print(list(heapq.merge([1, 4, 9], [2, 4, 6], [])), list(heapq.merge(['bb', 'a'], ['cc', 'd'], key=len, reverse=True)), list(heapq.merge([9, 3], [8, 1], reverse=True)), list(heapq.merge()))
big = [(i * 7919) % 1009 for i in range(300)]
heapq.heapify(big); print(big[:20], heapq.nsmallest(5, big), [heapq.heappop(big) for _ in range(300)] == sorted((i * 7919) % 1009 for i in range(300)))
for f in (lambda: heapq.heappop([]), lambda: heapq.heapreplace([], 1), lambda: heapq.heapify((1, 2)), lambda: heapq.heappush({}, 1), lambda: heapq.heappush([1], 'a'), lambda: heapq.nlargest(2, 5)):
    attempt(f)
class Task:
    def __init__(self, n): self.n = n
    def __lt__(self, other): return self.n > other.n
    def __repr__(self): return f'T{self.n}'
t = [Task(1), Task(5), Task(3)]
heapq.heapify(t); print(t, heapq.heappop(t))
a = [1, 2, 2, 2, 5, 8]
print(bisect.bisect(a, 2), bisect.bisect_left(a, 2), bisect.bisect_right(a, 0), bisect.bisect(a, 9), bisect.bisect_left(a, 2, 2), bisect.bisect_left(a, 2, lo=0, hi=1), bisect.bisect([], 1), bisect.bisect_left([5, 3, 1], -3, key=lambda x: -x), bisect.bisect is bisect.bisect_right)
bisect.insort(a, 3); bisect.insort_left(a, 2.0); bisect.insort(a, 0, 2); print(a)
r = ['a', 'bb', 'cccc']; bisect.insort(r, 'ddd', key=len); bisect.insort_left(r, 'e', key=len); print(r)
attempt(lambda: bisect.bisect(a, 1, -1)); attempt(lambda: bisect.bisect(a, 'x')); attempt(lambda: bisect.insort((1, 2), 3))
#### types, string and warnings
import types, string, warnings
from types import SimpleNamespace
n = SimpleNamespace(b=1, a=[2])
n.c = n.a
class Sub(SimpleNamespace):
    def total(self): return self.b + len(self.a)
s = Sub(b=2, a='xy')
print(n, s, s.total(), n == SimpleNamespace(b=1, a=[2], c=[2]), n == 3, n != s, vars(n), s == SimpleNamespace(b=2, a='xy'), SimpleNamespace(), repr(Sub()), hasattr(n, 'z'))
n.me = n; n.s = s; s.n = n
print(n)
del n.b
for f in (lambda: SimpleNamespace(1), lambda: hash(SimpleNamespace())):
    try: print(f())
    except AttributeError as e: print(e)
    except TypeError as e: print('TypeError')
print([isinstance(x, t) for x, t in ((lambda: 0, types.FunctionType), (lambda: 0, types.LambdaType), (len, types.BuiltinFunctionType), (s.total, types.MethodType), ((x for x in ()), types.GeneratorType), (None, types.NoneType), (..., types.EllipsisType), (NotImplemented, types.NotImplementedType), (3, types.FunctionType))])
print(string.capwords('hello  big WORLD'), string.capwords('a-b', '-'), string.capwords('  x '), string.octdigits, string.ascii_uppercase, repr(string.punctuation), repr(string.printable))
with warnings.catch_warnings(record=True) as caught: print(caught)
with warnings.catch_warnings(): warnings.simplefilter('ignore')
warnings.filterwarnings('ignore', category=UserWarning, message='x'); warnings.resetwarnings()
print(issubclass(UserWarning, Warning))
#### abc
from abc import ABC, ABCMeta, abstractmethod
import abc
def attempt(f):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
class Base(ABC):
    @abstractmethod
    def run(self): return 'base run'
    @property
    @abstractmethod
    def name(self): ...
    @classmethod
    @abstractmethod
    def make(cls): ...
    @staticmethod
    @abstractmethod
    def help(): ...
    def plain(self): return 'plain ' + self.run()
class Half(Base):
    def run(self): return 'ran ' + super().run()
    name = 'half'
class Whole(Half):
    @classmethod
    def make(cls): return cls()
    @staticmethod
    def help(): return 'helped'
    def __init__(self, x=1): self.x = x
for c in (Base, Half): attempt(c)
w = Whole.make()
print(w.run(), w.plain(), w.name, w.help(), w.x, isinstance(w, Base), sorted(Half.__abstractmethods__), Whole(5).x, Whole.__abstractmethods__)
class One(ABC):
    @abstractmethod
    def only(self): ...
attempt(One)
class Made(One):
    def __new__(cls, *args): return super().__new__(cls)
    def only(self): return 1
class Lost(One):
    def __new__(cls, *args): return super().__new__(cls)
print(Made(3).only()); attempt(Lost)
class Free(ABC): pass
attempt(lambda: Free(1)); print(Free() is not None, Base.run.__isabstractmethod__)
class Hooked(ABC):
    def __init_subclass__(cls, tag=None, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.tag = tag
class Tagged(Hooked, tag='t'):
    @abstractmethod
    def f(self): ...
print(Tagged.tag); attempt(Tagged)
#### enum: flags
from enum import Flag, IntFlag, Enum, auto
import copy
def attempt(f):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
class Perm(Flag):
    R = auto()
    W = auto()
    X = auto()
    RW = R | W
    NONE = 0
rx = Perm.R | Perm.X
print(rx, repr(rx), rx.name, rx.value, rx is Perm.X | Perm.R, Perm.RW, Perm.R | Perm.W is Perm.RW, list(Perm), len(Perm), Perm(5) is rx)
print(~rx, ~Perm.R, Perm.R in rx, Perm.W in rx, list(rx), len(rx), bool(rx), bool(Perm.NONE), Perm(0), Perm.R & Perm.W, Perm.RW ^ Perm.R, rx == Perm(5), {rx: 1}[Perm(5)])
print(Perm['RW'], list(Perm.__members__), Perm(7), repr(~Perm.NONE), isinstance(rx, Perm), rx & ~Perm.X, copy.deepcopy([rx])[0] is rx)
for bad in (lambda: Perm(8), lambda: Perm('R'), lambda: Perm.R | 1, lambda: 1 in Perm.R, lambda: Perm(-9), lambda: Perm(-1)): attempt(bad)
class Bits(IntFlag):
    A = 1
    B = 4
ab = Bits.A | Bits.B
print(ab, repr(ab), ab + 1, ab == 5, Bits.A | 8, repr(Bits.A | 8), repr(Bits(2)), repr(~Bits.A), Bits.A & 3, isinstance(ab, int), list(ab), 8 | Bits.A, f'{ab}', repr(Bits(0)))
class Gaps(Flag):
    LOW = 3
    HIGH = 8
print(list(Gaps), Gaps(3), repr(Gaps(11)), Gaps.LOW | Gaps.HIGH, ~Gaps.HIGH)
attempt(lambda: Gaps(1))
attempt(lambda: Gaps(4))
class Color(Enum):
    RED = 1
    ALIAS = 1
print(list(Color), Color(1))
match rx:
    case Perm.R: print('R')
    case x if Perm.X in x: print('has X')
#### print to an object
class Lines:
    def __init__(self):
        self.pieces, self.flushed = [], 0
    def write(self, text):
        self.pieces.append(text)
        return len(text)
    def flush(self):
        self.flushed += 1
lines = Lines()
print('a', 1, None, file=lines)
print(file=lines, end='')
print('x', 'y', sep='', end=None, file=lines, flush=True)
print([2.5], 'z', sep=None, file=lines, flush=0)
print(lines.pieces, lines.flushed)
print('shown', file=None, flush=True)
class Closed:
    def write(self, text):
        raise OSError('closed')
class Silent:
    pass
for file, options in ((Closed(), {}), (Silent(), {}), (Silent(), {'flush': True, 'end': ''}), (3, {})):
    try:
        print(1, file=file, **options)
    except Exception as error:
        print(type(error).__name__, error)
#### exceptions of a class are of its module
import dataclasses
try:
    dataclasses.replace(3)
except TypeError as error:
    print(type(error).__name__, type(error).__module__, isinstance(error, Exception))
#### enumerations: values to come, aliases and what is refused
from enum import Enum, IntEnum, Flag, IntFlag, StrEnum, auto, unique
class Pair(Enum):
    a = auto(), auto()
    b = auto(), 'text'
    c = 7, auto()
print(list(Pair))
class Dupes(Enum):
    first = primero = auto()
    second = auto()
    third = auto()
print(list(Dupes), Dupes.__members__)
class Bits(Flag):
    A = B = auto()
    C = auto()
print(list(Bits), Bits.B)
class FromNew(Enum):
    def __new__(cls, value, *args):
        made = object.__new__(cls)
        made._value_ = value
        made.args = args
        return made
    red = 1, 'r'
    green = 2, 'g'
    rouge = 1, 'x'
print(list(FromNew), FromNew.red.args, FromNew(2), FromNew.rouge)
class Counted(Enum):
    def __new__(cls):
        made = object.__new__(cls)
        made._value_ = len(cls.__members__) + 1
        return made
class Color(Counted):
    red = ()
    green = ()
    blue = ()
print(list(Color), Color(3), Color.green.value)
class Text(str, Enum):
    def __new__(cls, value, label):
        made = str.__new__(cls, value)
        made._value_ = value
        made.label = label
        return made
    ONE = 'one', 'The first'
    TWO = 'two', 'The second'
print(list(Text), Text('two').label, Text.ONE == 'one', Text.ONE.upper())
class IntNew(int, Enum):
    def __new__(cls, value, description=''):
        made = int.__new__(cls, value)
        made._value_ = value
        made.description = description
        return made
    LOW = (1, 'low')
    HIGH = (9, 'high')
print(list(IntNew), IntNew.HIGH.description, IntNew(1), IntNew.HIGH + 1)
class Made(float, Enum):
    PI = 3.25
print(Made.fromhex('0x1.ap+1'), Made(3.25))
def tried(f):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
def again():
    class Twice(Enum):
        x = 1
def sunder():
    class Sunder(Enum):
        _bad_ = 1
def two():
    class Both(str, int, Enum):
        a = 1
def order():
    class Order(Enum):
        _order_ = 'a b'
        b = 1
        a = 2
def ordered():
    class Order(Enum):
        _order_ = 'a b'
        a = 1
        b = 2
    return list(Order)
def initialised():
    class Init(Enum):
        def __init__(self, a): raise ValueError(a)
        x = 1
def extended():
    class More(Color):
        pink = ()
def mro():
    class M(Enum):
        mro = 1
for f in (sunder, order, ordered, extended): tried(f)
tried(lambda: Color['pink'])
tried(lambda: Color(9))
def assign(): Color.red = 1
tried(assign)
class Planet(Enum):
    EARTH = (5.9, 6.3)
    MARS = (0.6, 3.3)
    def __init__(self, mass, radius): self.mass, self.radius = mass, radius
    @property
    def ratio(self): return round(self.mass / self.radius, 3)
print(Planet.EARTH.ratio, Planet.MARS, Planet((0.6, 3.3)))
class Perm(IntFlag):
    X = 1
    W = 2
    R = 4
print(Perm.R | Perm.X, repr(Perm.R | Perm.X), f'{Perm.R | Perm.X}', (Perm.R | Perm.X).name, str(Perm.R), Perm.R in (Perm.R | Perm.X), ~Perm.R)
class Shape(Flag):
    A = auto(); B = auto(); AB = A | B
print(Shape.A | Shape.B, Shape.AB, list(Shape.AB), ~Shape.A, Shape(0), Shape.A in Shape.AB)
#### where a pattern's flags hold
import re
for pattern, text in [('(?a)\\w+', 'äb'), ('(?a:\\w)\\w', 'aä'), ('(?a:\\w)', 'ä'), ('(?i:a)b', 'AB'), ('(?i:a)b', 'Ab'), ('(?i)a(?-i:b)', 'AB'), ('(?i)a(?-i:b)', 'Ab'), ('(?s).', '\n'), ('(?s:.).', '\n\n'),
                      ('(?m)^b', 'a\nb'), ('(?x) a b # c', 'ab'), ('(?x: a) b', 'a b'), ('(?u:\\w)', 'ä'), ('(?i)ſ', 's'), ('(?ai)[k]', 'K'), ('(?a)\\s', '\u2003'), ('(?a)\\d', '٣'), ('\\d', '٣'), ('(?a)[^\\w]', 'ä')]:
    try:
        p = re.compile(pattern)
        print(repr(pattern), p.search(text), repr(p.flags), p)
    except re.error as e: print(repr(pattern), 'error', e)
for flags in (re.A, re.A | re.I, re.I, re.M | re.S, re.X, 0):
    p = re.compile('\\w[a-k]', flags)
    print(p.findall('äk aK kk'), p, repr(p.flags), type(p.flags))
for attempt in (lambda: re.compile('a(?i)b'), lambda: re.compile('(?au)a'), lambda: re.compile('(?a)a', re.U), lambda: re.compile('(?-i:a', 0), lambda: re.compile('(?i-i:a)'), lambda: re.compile('(?L)a'), lambda: re.compile('(?<=a+)b'), lambda: re.compile('(?<=ab|c)d'), lambda: re.compile('a**')):
    try: print(attempt())
    except Exception as e: print(type(e).__name__, e)
#### groups that match nothing, and references back
import re
for pattern, text in [('(?:(x)|(y))*', 'xy'), ('(a)|b', 'b'), ('(a*)+', 'b'), ('(?:a|(b))*', 'ab'), ('(a)?(b)?(c)', 'ac'), ('(a|b)*?c', 'abc'), 
                      ('(?P<q>[\'"]).*?(?P=q)', 'x "it\'s" y'), ('(a)\\1', 'aa'), ('(a)?\\1b', 'b'), ('(a*)\\1', 'aaa'), ('(?i)(a)\\1', 'aA'), ('(\\w+) \\1', 'the the'), ('(.)(.)\\2\\1', 'abba'), ('(?:(a)|b)\\1', 'ba'), ('^(a)?(?(1)b|c)$', 'ab'), ('^(a)?(?(1)b|c)$', 'c'), ('^(a)?(?(1)b|c)$', 'bb'), ('(?:a?)*?$', 'aa'), ('(?:)*', 'a'), ('(|a)*', 'aa'), ('(|a)+', 'aa'), ('x*', 'axb'), ('(a)(?=(b))', 'ab')]:
    try:
        m = re.search(pattern, text)
        print(repr(pattern), m and (m.group(), m.groups(), m.span(), m.lastindex))
    except re.error as e: print(repr(pattern), 'error', e)
print(re.sub('(a)|b', r'[\1]', 'ab'), re.sub('x*', '-', 'abxd'), re.split('(x)|(y)', 'axbyc'), re.findall('(a)|(b)', 'ab'), re.split('x*', 'axbc'))
#### copies as classes say how
import copy
class R:
    def __init__(self, a): self.a = a
    def __reduce__(self): return (R, (self.a + ['reduced'],))
    def __repr__(self): return f'R({self.a})'
class Same:
    def __reduce__(self): return 'Same'
class Ex:
    def __reduce_ex__(self, protocol): return (Ex, (), {'state': protocol})
class Stateful:
    def __init__(self): self.x, self.y = [1], 2
    def __getstate__(self): return {'x': self.x}
    def __setstate__(self, state): self.x, self.y = state['x'], 'set'
class Only:
    def __init__(self): self.x = [1]; self.y = 2
    def __getstate__(self): return {'x': self.x}
class Sets:
    def __init__(self): self.x = [1]
    def __setstate__(self, state): self.state = state
class New:
    def __new__(cls, a, b=0):
        made = object.__new__(cls); made.pair = (a, b); return made
    def __getnewargs__(self): return self.pair
class Items(list):
    def __reduce__(self): return (Items, (), None, iter(self), None)
class Maps(dict):
    def __init__(self, tag='t'): self.tag = tag
class Refuses:
    def __reduce_ex__(self, protocol): raise TypeError('no copies')
r = R([1])
print(copy.copy(r), copy.deepcopy(r), copy.copy([r])[0] is r, copy.deepcopy([r, r])[0])
s = Same()
print(copy.copy(s) is s, copy.deepcopy(s) is s, copy.copy(Ex()).__dict__, copy.deepcopy(Ex()).__dict__)
t = Stateful()
c, d = copy.copy(t), copy.deepcopy(t)
print(c.x is t.x, c.y, d.x is t.x, d.x, d.y)
c, d = copy.copy(Only()), copy.deepcopy(Only())
print(c.__dict__, d.__dict__)
print(copy.copy(Sets()).__dict__, copy.deepcopy(Sets()).__dict__)
n = copy.copy(New(1, 2))
print(n.pair, copy.deepcopy(New([3])).pair)
i = Items([1, [2]])
print(copy.copy(i), type(copy.copy(i)), copy.deepcopy(i)[1] is i[1])
m = Maps('u'); m['k'] = [1]
print(copy.copy(m), copy.copy(m).tag, copy.deepcopy(m), copy.copy(m)['k'] is m['k'])
for f in (copy.copy, copy.deepcopy):
    try: print(f(Refuses()))
    except Exception as e: print(type(e).__name__, e)
class HasCopy:
    def __copy__(self): return 'copied'
    def __deepcopy__(self, memo): return 'deep'
print(copy.copy(HasCopy()), copy.deepcopy(HasCopy()))
#### functions for classes of arguments, and for unions of them
from functools import singledispatch, singledispatchmethod
import collections.abc as c
import numbers
@singledispatch
def f(x): return 'base'
@f.register
def _(x: int): return 'integral'
@f.register
def _(x: float | complex): return 'inexact'
print(f([]), f({}), f('s'), f(1), f(True), f(1.5), f(2j), f(None), f((1,)), f(iter([])))
print(isinstance(1, numbers.Number), isinstance(1.5, numbers.Real), isinstance(1, numbers.Rational), isinstance(1j, numbers.Complex), isinstance(1j, numbers.Real), isinstance('1', numbers.Number), isinstance(True, numbers.Integral),
      isinstance('1', numbers.Number))
class T:
    @singledispatchmethod
    def m(self, x): return 'other'
    @m.register
    def _(self, x: int): return f'int {x}'
    @m.register(str)
    def _(self, x): return f'str {x}'
print(T().m(1), T().m('a'), T().m(2.5))
try: f.register(list[int], lambda x: 1)
except TypeError as e: print(e)
#### templates and wrapped text
from string import Template
import textwrap
class Amp(Template):
    delimiter = '&'
    idpattern = '[a-z][a-z0-9]*'
print(Amp('this &gift is for &{who} &&').substitute(gift='bud', who='you'), Amp('&gift $x').safe_substitute(), Amp('&A').safe_substitute(a=1))
class Brace(Template):
    braceidpattern = '[A-Z]+'
class Flags(Template):
    flags = 0
class Own(Template):
    pattern = r"""\<\<(?:(?P<escaped>escape)|(?P<named>[a-z]+)\>\>|(?P<braced>[A-Z]+)\>\>|(?P<invalid>))"""
for make in (lambda: Brace('$who ${WHO}').substitute(who='a', WHO='b'), lambda: Flags('$who $Who').safe_substitute(who='a'), lambda: Own('<<a>> <<B>>').substitute(a=1, B=2), lambda: Template('$').substitute(), lambda: Template('a $b ${c} $$ $1').get_identifiers(), lambda: Template('$a ${b}').is_valid(), lambda: Template('$ {a').is_valid()):
    try: print(make())
    except Exception as e: print(type(e).__name__, e)
for text in ("this-is-a-useful-feature-for-reformatting-posts-from-tim-peters'ly", "well-known e-mail -- a dash--two a-b-c--d 2-3 x-1 --option -v", "Hello there -- you goof-ball, use the -b option! 2023-01-02 foo-bar-baz"):
    for width in (10, 24, 39):
        print(textwrap.wrap(text, width), textwrap.wrap(text, width, break_on_hyphens=False))
#### pretty printing of subclasses, deques and dataclasses
from pprint import pformat
from collections import deque, OrderedDict, defaultdict, Counter, ChainMap, UserDict
from dataclasses import dataclass, field
from types import SimpleNamespace, MappingProxyType
class set2(set): pass
class set3(set):
    def __repr__(self): return 'own'
class frozen2(frozenset): pass
class list2(list): pass
class dict2(dict): pass
class tuple2(tuple): pass
@dataclass
class D1:
    txt: str
    vals: list = field(default_factory=list)
@dataclass
class D2:
    a: int = 1
    def __repr__(self): return "custom repr that doesn't fit within pprint width"
@dataclass
class D3:
    a: object = None
    b: int = 1
for value in (set2(range(7)), set3(range(7)), frozen2(range(7)), frozenset(range(7)), list2(range(10)), dict2(a=1, b=2), tuple2(range(9)), deque(), deque(maxlen=7), deque(['the', 'quick', 'brown'], maxlen=7), deque(['the', 'quick']), D1('text', list(range(9))), D2(),
              SimpleNamespace(the=0, quick=1, brown=2), b'abcdefghijklmnopqrstuvwxyz', bytearray(b'abcdefghijklmnopqrstuvwxyz'), 'a long string that is wrapped somewhere', OrderedDict([('b', 1), ('a', [1, 2, 3])]), defaultdict(list, {'a': [1, 2, 3], 'bc': []}), Counter('abracadabra'),
              [D2(), {'k': D1('x')}], {'b': 1, 'a': {2, 1}}, frozenset()):
    print(pformat(value, width=20))
d = D3(); d.a = d
print(pformat(d, width=12))
#### names of classes inside functions
from dataclasses import dataclass, make_dataclass
from collections import namedtuple
from enum import Enum
def outer():
    @dataclass
    class Inner:
        x: int = 1
        class Deep: pass
    class Level(Enum):
        LOW = 1
    class Holder:
        @dataclass
        class Kept:
            y: int = 2
    return Inner, Level, Holder
Inner, Level, Holder = outer()
print(Inner(), Inner.__qualname__, repr(Inner), Inner.Deep.__qualname__, Level.LOW, repr(Level), Holder.Kept(), [Holder.Kept(3)])
try: Level(5)
except ValueError as e: print(e)
try: Inner(1, 2)
except TypeError as e: print(e)
try: Inner(z=2)
except TypeError as e: print(e)
print(Inner(1) == Inner(1), Inner(1) == Holder.Kept(1))
#### collections: classes that derive from containers with kinds of their own
from collections import Counter, OrderedDict, defaultdict
class S(set): pass
class Z(frozenset): pass
class O(OrderedDict): pass
class D(defaultdict): pass
class C(Counter): pass
print(S([1]), S(), Z([1]), Z(), [S([1])], O(a=1), O(), D(int, a=1), D(None), C('aab'), C())
print(O(a=1) | {'b': 2}, {'b': 2} | O(a=1), O(a=1) | O(a=2), type(O(a=1) | {}) is O, D(int, a=1) | {'b': 2}, {'b': 2} | D(list, a=1))
print(O(a=1).copy(), type(O(a=1).copy()) is O, D(int, a=1).copy(), type(D(int).copy()).__name__, C('a').copy(), O.fromkeys('ab'))
o = p = O(a=1)
o |= {'b': 3}
print(o, o is p, o == OrderedDict(a=1, b=3), D(int, a=1).copy()['new'], (D(list) | {})['new'])
#### abstract classes: what is below them
import numbers, collections
import collections.abc as c
for one in (int, bool, float, complex, str, list, tuple, dict, set, frozenset, range, bytes, type(None), collections.OrderedDict, collections.deque,
            type({}.keys()), type({}.values()), type({}.items()), type(x for x in ()), type(iter([])), type(len), type(print), zip):
    print(one.__name__, [name for name in ('Hashable', 'Iterable', 'Iterator', 'Generator', 'Reversible', 'Sized', 'Container', 'Collection', 'Callable',
          'Sequence', 'MutableSequence', 'ByteString', 'Mapping', 'MutableMapping', 'Set', 'MutableSet', 'KeysView', 'ValuesView', 'ItemsView', 'MappingView')
          if issubclass(one, getattr(c, name))], [name for name in ('Number', 'Complex', 'Real', 'Rational', 'Integral') if issubclass(one, getattr(numbers, name))])
class Own:
    __hash__ = None
    def __len__(self): return 1
    def __iter__(self): return iter([1])
class Below(list): pass
print([issubclass(Own, one) for one in (c.Sized, c.Iterable, c.Hashable, c.Collection, c.Container)], isinstance(Own(), c.Hashable), isinstance(Own(), c.Sized))
print(issubclass(Below, c.MutableSequence), issubclass(Below, c.Hashable), issubclass(c.Sequence, c.Sized), issubclass(c.Sized, c.Sequence), issubclass(numbers.Integral, numbers.Number))
print(issubclass(int, (str, numbers.Real)), issubclass(float, numbers.Rational))
#### round: what is too large
for number in (1.5e308, 1.7e308, -1.5e308):
    try: print(round(number, -308))
    except OverflowError as e: print(e)
print(round(1.4e308, -308), round(1.5e308, -309), round(-1.5e308, -400))
#### abstract classes: instances of classes that derive from them
import collections.abc as c
class Own(c.Sequence):
    def __len__(self): return 2
    def __getitem__(self, index): return [5, 6][index]
class Plain:
    def __call__(self): pass
    def __contains__(self, one): return True
for one in (Own(), Plain()):
    print([name for name in ('Hashable', 'Iterable', 'Sized', 'Container', 'Collection', 'Callable', 'Sequence', 'MutableSequence', 'Reversible', 'Mapping') if isinstance(one, getattr(c, name))])
