#### the dict of an object is the object's
class C:
    def __init__(self, **kw):
        self.__dict__.update(kw)
c = C(a=1, b=2)
print(c.a, c.b, c.__dict__)
vars(c)['x'] = 5
print(c.x, sorted(vars(c)))
d = c.__dict__
c.y = 7
print(d, d is c.__dict__, d is vars(c))
del d['a']
print(hasattr(c, 'a'))
del c.b
print(d)
d.clear()
print(c.__dict__, d)
d[3] = 'not a name'
print(c.__dict__)
#### a dict may become the dict of an object
class C: pass
c, shared = C(), {'a': 1}
c.__dict__ = shared
shared['b'] = 2
c.z = 3
print(c.a, c.b, shared)
e = C()
e.__dict__ = shared
e.a = 'both'
print(c.a)
try:
    c.__dict__ = 5
except TypeError as error:
    print(type(error).__name__)
#### borg
class Borg:
    _shared = {}
    def __init__(self):
        self.__dict__ = self._shared
a, b = Borg(), Borg()
a.x = 1
print(b.x, Borg._shared)
#### attributes set through the dict win over the class and lose to properties
class C:
    kind = 'class'
    @property
    def p(self): return 'property'
c = C()
c.__dict__['kind'] = 'own'
c.__dict__['p'] = 'own'
print(c.kind, c.p, c.__dict__['p'])
#### iterating over the dict of an object that grows
class C: pass
c = C()
c.a = 1
try:
    for name in c.__dict__:
        setattr(c, name + name, 1)
except RuntimeError as e:
    print(e)
print(list(vars(c).items()))
#### copy and equality by dict
class P:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return self.__dict__ == other.__dict__
    def __repr__(self): return f"P({self.__dict__})"
a, b = P(1), P(1)
print(a == b, a, {**vars(a), 'y': 2}, dict(vars(b)) == vars(b))
copied = P(0)
copied.__dict__.update(a.__dict__)
copied.x += 1
print(a, copied)
#### the dict of a class is for reading
class A:
    x = 1
    def f(self): return 2
print(type(A.__dict__).__name__, A.__dict__['x'], 'f' in A.__dict__, A.__dict__.get('nothing', 'default'))
try:
    A.__dict__['y'] = 1
except TypeError as e:
    print(e)
view = A.__dict__
A.y = 5
print(view['y'], [n for n in view if not n.startswith('__')], view.keys() >= {'x', 'y'})
try:
    view['nothing']
except KeyError as e:
    print('KeyError', e)
print({k: v for k, v in vars(A).items() if isinstance(v, int)})
#### a function's dict is the function's
def f(): pass
f.__dict__['a'] = 1
print(f.a)
f.b = 2
print(f.__dict__, vars(f))
#### a metaclass of the program's own is type
class A(metaclass=type):
    x = 1
from abc import ABCMeta
class B(metaclass=ABCMeta):
    y = 2
print(A.x, B.y, type(A) is type)
#### complex numbers are themselves
print((1+2j) is -1.0, (1+2j) in [-1.0], [1+2j] == [-1.0], (1+2j,) == (-1.0,), {1+2j: 'a'}.get(-1.0))
z = 1+2j
print(z is z, z in [z], [0j] == [0.0], 0j in [0], {0j, 0, 0.0, False})
#### slices are evaluated from left to right
it = iter([1, 5, 9, 2, 8, 3])
def a(): return next(it)
print(list(range(10))[a():next(it)])
print(list(range(10))[next(it)::a()] if True else 0)
order = []
def step(name, value):
    order.append(name)
    return value
print('abcdefgh'[step('start', 1):step('stop', 7):step('step', 2)], order)
def gen():
    x = 'abcdef'[(yield 'a'):(yield 'b'):(yield 'c')]
    yield x
g = gen()
print(next(g), g.send(0), g.send(5), g.send(2))
d = {}
def key(n):
    order.append(n)
    return n
order.clear()
d[key(1)], d[key(2)] = key(3), key(4)
print(order, d)
#### order of evaluation
order = []
def f(x):
    order.append(x)
    return x
f(1) + f(2) * f(3) - f(4)
print(order); order.clear()
[f(1), *[f(2)], f(3)]
{f('a'): f('b'), **{f('c'): f('d')}, f('e'): f('f')}
print(order); order.clear()
def g(*args, **kw): return None
g(f(1), *[f(2)], k=f(3), **{'z': f(4)})
print(order); order.clear()
f(1) < f(2) < f(0) < f(5)
print(order); order.clear()
class Box: pass
def box(n):
    order.append(n)
    return Box()
box('object').attribute = f('value')
print(order); order.clear()
xs = [0] * 3
xs[f(0)] = xs[f(1)] = f(2)
print(order, xs); order.clear()
f('yes') if f(0) else f('no')
print(order); order.clear()
print(f"{f('a')}{f('b'):>{f(5)}}", order); order.clear()
assert f(1), f('message')
print(order); order.clear()
x = [f(i) for i in [f(1), f(2)] if f(i)]
print(order, x); order.clear()
def h(a=f('default'), *, b=f('keyword')) -> None: pass
print(order); order.clear()
@(f(lambda fn: fn))
def decorated(p=f('default')): pass
print(len(order))
del xs[f(0)], xs[f(0)]
print(xs)
#### ordered dicts and counters are equal where they are in CPython
from collections import OrderedDict, Counter
print(OrderedDict(a=1, b=2) == OrderedDict(b=2, a=1), OrderedDict(a=1, b=2) == {'b': 2, 'a': 1})
print({'b': 2, 'a': 1} == OrderedDict(a=1, b=2), OrderedDict(a=1) != OrderedDict(a=1), OrderedDict() == OrderedDict())
print(Counter(a=0) == Counter(), Counter(a=1, b=0) == Counter(a=1), Counter(a=1) == Counter(a=2), Counter(a=0) == {})
print(Counter(a=1) == {'a': 1}, Counter(a=1) != Counter(a=1, b=0), Counter() == OrderedDict())
class K:
    def __init__(self, n): self.n = n
    def __eq__(self, other): return self.n == other.n
    def __hash__(self): return hash(self.n)
print(OrderedDict([(K(1), 1), (K(2), 2)]) == OrderedDict([(K(2), 2), (K(1), 1)]))
print(OrderedDict([(K(1), 1), (K(2), 2)]) == OrderedDict([(K(1), 1), (K(2), 2)]))
print(Counter([K(1)]) == Counter([K(1), K(1)]), Counter([K(1)]) == Counter([K(1)]))
od = OrderedDict(a=1, b=2)
od.move_to_end('a')
print(list(od), od == OrderedDict(b=2, a=1))
#### isinstance wants classes
from typing import Optional, Union
for check in [lambda: isinstance(None, None), lambda: isinstance(1, (int, None)), lambda: isinstance('a', (int, None)),
              lambda: isinstance(None, int | None), lambda: isinstance(1, int | None), lambda: isinstance('', int | None),
              lambda: isinstance(None, Optional[int]), lambda: isinstance(1, 5), lambda: isinstance(None, type(None))]:
    try:
        print(check())
    except TypeError as e:
        print(e)
#### length of what is too long
for r in [range(-2**63, 2**63 - 1), range(2**62)]:
    try:
        print(len(r))
    except OverflowError as e:
        print(e)
#### notes of exceptions
e = ValueError('bad')
e.add_note('first')
e.add_note('second\nlines')
print(e.__notes__)
try:
    e.add_note(5)
except TypeError as error:
    print(error)
def f():
    raise e
f()
#### notes of causes
class Trouble(Exception):
    pass
try:
    try:
        raise KeyError('k')
    except KeyError as error:
        error.add_note('of the cause')
        raise Trouble('t') from error
except Trouble as error:
    error.add_note('of the effect')
    raise
#### a cache that tells types apart
from functools import lru_cache, cache
calls = []
@lru_cache(typed=True)
def typed(x, y=None):
    calls.append(x)
    return x
print(typed(1), typed(1.0), typed(True), typed(1), typed(1, y=2), typed(1, y=2.0), calls, typed.cache_info())
calls.clear()
@lru_cache(maxsize=None)
def plain(x):
    calls.append(x)
    return x
print(plain(1), plain(1.0), plain(True), calls, plain.cache_info())
@lru_cache(2, True)
def small(x): return x
print([small(x) for x in (1, 1.0, 2, 1)], small.cache_info(), small.cache_parameters() if hasattr(small, 'cache_parameters') else '')
#### descriptors
class Checked:
    def __set_name__(self, owner, name): self.name = '_' + name
    def __get__(self, obj, owner=None):
        if obj is None: return self
        return getattr(obj, self.name, 'unset')
    def __set__(self, obj, value):
        if value < 0: raise ValueError('negative')
        setattr(obj, self.name, value)
    def __delete__(self, obj): delattr(obj, self.name)
class P:
    x = Checked()
    y = Checked()
p = P()
print(p.x, p.__dict__)
p.x, p.y = 1, 2
print(p.x, p.y, p.__dict__, type(P.x).__name__)
try:
    p.x = -1
except ValueError as e:
    print(e)
del p.x
print(p.x)
p.__dict__['x'] = 'shadow'
print(p.x)
#### non-data descriptors
class Lazy:
    def __init__(self, f): self.f = f
    def __set_name__(self, owner, name): self.name = name
    def __get__(self, obj, owner):
        if obj is None: return self
        value = obj.__dict__[self.name] = self.f(obj)
        return value
class T:
    n = 0
    @Lazy
    def heavy(self):
        T.n += 1
        return 'computed'
t = T()
print(t.heavy, t.heavy, T.n, t.__dict__)
#### getattr and setattr hooks
class Proxy:
    def __init__(self, target):
        object.__setattr__(self, 'target', target)
    def __getattr__(self, name): return getattr(self.target, name)
    def __setattr__(self, name, value): setattr(self.target, name, value)
    def __delattr__(self, name): delattr(self.target, name)
class Real: pass
real = Real()
p = Proxy(real)
p.a = 1
print(real.a, p.a, list(p.__dict__))
del p.a
try:
    p.a
except AttributeError as e:
    print(e)
#### getattribute
class Loud:
    x = 1
    def __getattribute__(self, name):
        if name == 'y': return 'made up'
        return object.__getattribute__(self, name)
l = Loud()
print(l.x, l.y)
#### super and cooperation
class A:
    def f(self): return ['A']
class B(A):
    def f(self): return ['B'] + super().f()
class C(A):
    def f(self): return ['C'] + super().f()
class D(B, C):
    def f(self): return ['D'] + super().f()
print(D().f(), [k.__name__ for k in D.__mro__])
#### init_subclass and class keywords
class Base:
    registry = {}
    def __init_subclass__(cls, /, name=None, **kw):
        super().__init_subclass__(**kw)
        Base.registry[name or cls.__name__] = cls
class One(Base, name='first'): pass
class Two(Base): pass
print(sorted(Base.registry), Base.registry['first'] is One)
#### new
class Single:
    made = None
    def __new__(cls, *args):
        if cls.made is None:
            cls.made = super().__new__(cls)
        return cls.made
    def __init__(self, value): self.value = value
a, b = Single(1), Single(2)
print(a is b, a.value)
class Celsius(float):
    def __new__(cls, value): return super().__new__(cls, value + 0.5)
print(Celsius(1), Celsius(1) * 2, isinstance(Celsius(1), float))
class Pair(tuple):
    def __new__(cls, a, b): return super().__new__(cls, (a, b))
    @property
    def first(self): return self[0]
print(Pair(1, 2), Pair(1, 2).first, Pair(1, 2) == (1, 2), len(Pair(1, 2)))
#### containers by special methods
class Grid:
    def __init__(self): self.cells = {}
    def __getitem__(self, key): return self.cells.get(key, 0)
    def __setitem__(self, key, value): self.cells[key] = value
    def __delitem__(self, key): del self.cells[key]
    def __contains__(self, key): return key in self.cells
    def __len__(self): return len(self.cells)
    def __iter__(self): return iter(sorted(self.cells))
    def __bool__(self): return True
    def __reversed__(self): return reversed(sorted(self.cells))
g = Grid()
g[1, 2] = 3
g[0, 0] += 5
print(g[1, 2], g[9, 9], (1, 2) in g, len(g), bool(g))
print(list(g), list(reversed(g)))
#### operators by special methods
class V:
    def __init__(self, *xs): self.xs = xs
    def __repr__(self): return f"V{self.xs}"
    def __add__(self, o): return V(*[a + b for a, b in zip(self.xs, o.xs)]) if isinstance(o, V) else NotImplemented
    def __radd__(self, o): return self if o == 0 else NotImplemented
    def __mul__(self, k): return V(*[a * k for a in self.xs])
    __rmul__ = __mul__
    def __neg__(self): return self * -1
    def __abs__(self): return sum(x * x for x in self.xs) ** 0.5
    def __matmul__(self, o): return sum(a * b for a, b in zip(self.xs, o.xs))
    def __iadd__(self, o):
        self.xs = (self + o).xs
        return self
    def __eq__(self, o): return isinstance(o, V) and self.xs == o.xs
    def __lt__(self, o): return abs(self) < abs(o)
    def __hash__(self): return hash(self.xs)
    def __round__(self, n=0): return V(*[round(x, n) for x in self.xs])
    def __divmod__(self, k): return 'divmod', k
    def __index__(self): return 2
v = V(1, 2)
print(v + V(3, 4), 3 * v, -v, abs(V(3, 4)), v @ v, sum([v, v]), v == V(1, 2), v != V(1, 2), {v: 1}[V(1, 2)])
w = v
v += V(1, 1)
print(v, w is v, min(V(3, 3), V(1, 1)), sorted([V(3, 3), V(1, 1)]), round(V(1.26, 2.1), 1), divmod(v, 3), [0, 1, 2, 3][V(0)], hex(V()))
for bad in [lambda: v + 1, lambda: 1 + v, lambda: v < 1, lambda: v - v]:
    try:
        print(bad())
    except (TypeError, AttributeError) as e:
        print(type(e).__name__, e)
#### generators clean up
log = []
def numbers():
    try:
        for i in range(3):
            yield i
    finally:
        log.append('closed')
for n in numbers():
    log.append(n)
g = numbers()
next(g)
g.close()
g.close()
print(log)
def swallow():
    while True:
        try:
            yield 1
        except ValueError as e:
            yield f'caught {e}'
g = swallow()
print(next(g), g.throw(ValueError('x')), next(g))
def returns():
    yield 1
    return 'value'
def delegating():
    result = yield from returns()
    yield result
print(list(delegating()))
try:
    next(returns().__iter__().__next__ and iter([]))
except StopIteration as e:
    print('stop', e.value)
#### comprehension scopes
x = 'outer'
print([x for x in range(3)], x)
print([[y * x for y in range(x)] for x in range(3)], x)
fs = [lambda: i for i in range(3)]
print([f() for f in fs])
fs = [lambda i=i: i for i in range(3)]
print([f() for f in fs])
class C:
    n = 3
    xs = [i for i in range(n)]
    try:
        ys = [n for i in range(2)]
    except NameError as e:
        ys = str(e)
print(C.xs, C.ys)
print({k: v for k, v in zip('abc', range(3)) if v}, sorted({c for c in 'aab'}), sum(i for i in range(4) if i % 2))
if (n := 10) > 5:
    print(n, [last := i for i in range(3)], last)
#### star expressions
a, *b = 'xyz'
*a, b = [1]
print(a, b)
print([*range(3), *'ab'], {*[1, 2], *(2, 3)}, (*[1], 2), {**{'a': 1}, 'b': 2, **{'a': 3}})
def f(*args, **kw): return args, kw
print(f(*[1, 2], 3, *(4,), k=1, **{'z': 2}, **{'w': 3}))
for first, *rest in [(1, 2, 3), 'ab']:
    print(first, rest)
try:
    f(**{'a': 1}, **{'a': 2})
except TypeError as e:
    print(e)
try:
    f(*5)
except TypeError as e:
    print(e)
#### matching
from collections import namedtuple
from dataclasses import dataclass
Point = namedtuple('Point', 'x y')
@dataclass
class Circle:
    r: float
    color: str = 'red'
def describe(thing):
    match thing:
        case 0 | 1: return 'bit'
        case int(n) if n < 0: return f'negative {n}'
        case int() | float(): return 'number'
        case 'a' | 'b' as letter: return f'letter {letter}'
        case str(): return 'text'
        case []: return 'empty'
        case [x]: return f'one {x}'
        case [x, [y, *_]]: return f'nested {x} {y}'
        case Point(x=0, y=y): return f'on axis {y}'
        case (x, y): return f'pair {x} {y}'
        case [first, *middle, last]: return f'{first} {middle} {last}'
        case {'kind': 'a', **rest}: return f'a {rest}'
        case {'kind': k}: return f'kind {k}'
        case Circle(r, color='blue'): return f'blue {r}'
        case Circle(r): return f'circle {r}'
        case None | True | False: return 'singleton'
        case _: return 'other'
for thing in [0, 1, -5, 7, 2.5, 'a', 'zz', [], [1], [1, [2, 3]], Point(0, 3), (4, 5), [1, 2, 3, 4], {'kind': 'a', 'n': 1}, {'kind': 'z'}, {}, Circle(1), Circle(2, 'blue'), None, True, range(2), {1}, b'ab']:
    print(describe(thing))
#### exceptions carry what caused them
def convert(x):
    try:
        return int(x)
    except ValueError as e:
        raise RuntimeError('cannot convert') from e
try:
    convert('x')
except RuntimeError as e:
    print(repr(e), repr(e.__cause__), e.__suppress_context__, e.__context__ is e.__cause__)
try:
    try:
        1 / 0
    except ZeroDivisionError:
        {}['k']
except KeyError as e:
    print(repr(e.__context__), e.__cause__, e.args)
try:
    raise ValueError from None
except ValueError as e:
    print(e.__suppress_context__, e.__context__)
class Custom(Exception):
    def __init__(self, code):
        super().__init__(f'code {code}')
        self.code = code
try:
    raise Custom(5)
except Exception as e:
    print(e, e.code, e.args, isinstance(e, Custom))
def cleanup():
    try:
        return 'try'
    finally:
        print('finally')
print(cleanup())
def override():
    for i in range(3):
        try:
            continue
        finally:
            if i == 1:
                break
    return i
print(override())
#### exception groups are refused or work
try:
    raise ExceptionGroup('g', [ValueError(1)])
except Exception as e:
    print(type(e).__name__ in ('ExceptionGroup', 'NameError'))
#### dataclasses
from dataclasses import dataclass, field, replace, asdict, astuple, fields
@dataclass(order=True)
class P:
    x: int
    y: int = 0
    tags: list = field(default_factory=list, compare=False)
    def __post_init__(self): self.z = self.x + self.y
p = P(1, 2)
print(p, p == P(1, 2, ['t']), p < P(1, 3), p.z, asdict(p), astuple(p), [f.name for f in fields(p)], replace(p, y=5))
print(p.__dict__)
p.__dict__['x'] = 9
print(p)
@dataclass(frozen=True)
class F:
    a: int = 1
try:
    F().a = 2
except Exception as e:
    print(type(e).__name__, e)
print(hash(F()) == hash(F(1)), {F(): 'v'}[F(1)])
#### closures and nonlocal
def counter():
    n = 0
    def step(by=1):
        nonlocal n
        n += by
        return n
    return step
a, b = counter(), counter()
print(a(), a(5), b())
def outer():
    x = 'outer'
    class Inner:
        y = x
        def get(self): return x
    x = 'changed'
    return Inner.y, Inner().get()
print(outer())
#### defaults are shared
def f(x, acc=[]):
    acc.append(x)
    return acc
f(1)
print(f(2), f.__defaults__)
#### properties
class T:
    def __init__(self): self._c = 0
    @property
    def f(self): "doc"; return self._c * 2
    @f.setter
    def f(self, v): self._c = v / 2
    @f.deleter
    def f(self): del self._c
t = T()
t.f = 10
print(t.f, t._c, T.f.__doc__ in ('doc', None), isinstance(T.f, property), property(lambda s: 1, doc="given").__doc__)
del t.f
print(t.__dict__)
class R:
    x = property(lambda self: 5)
try:
    R().x = 1
except AttributeError as e:
    print(e)
#### slots
class S:
    __slots__ = ('a', 'b')
    def __init__(self): self.a = 1
s = S()
print(s.a)
try:
    s.c = 1
except AttributeError as e:
    print(type(e).__name__)
#### class bodies
class A:
    x = 1
    def f(self): return self.x
    g = f
    y = [x, 2]
    for i in range(3): pass
    if x: z = 'set'
    class Inner:
        w = 5
    @staticmethod
    def s(a): return a
    @classmethod
    def c(cls): return cls.__name__
    print(s(3) if callable(s) else 'not callable')
print(A().g(), A.y, A.i, A.z, A.Inner.w, A.s(1), A.c(), A().c(), A.__name__, A.Inner.__qualname__)
#### truth and comparison chains
class Never:
    def __bool__(self): raise RuntimeError('asked')
try:
    if Never(): pass
except RuntimeError as e:
    print(e)
print(1 < 2 < 3, 1 < 3 < 2, 1 == 1.0 == True, not [] and 'empty', [] or 'x', 0 or None, '' and 1)
print(None is None, [] == (), (1,) < (1, 0), 'a' < 'b' <= 'b' != 'c')
#### with statements
class M:
    def __init__(self, n, swallow=False): self.n, self.swallow = n, swallow
    def __enter__(self):
        print('enter', self.n)
        return self.n
    def __exit__(self, kind, value, tb):
        print('exit', self.n, kind and kind.__name__)
        return self.swallow
with M(1) as a, M(2, True) as b:
    print(a, b)
    raise ValueError
with M(3):
    pass
try:
    with M(4):
        raise KeyError('k')
except KeyError as e:
    print('out', e)
#### del and rebinding
x = [1, 2, 3, 4]
del x[1:3], x[0]
print(x)
d = {'a': 1}
del d['a']
try:
    del d['a']
except KeyError as e:
    print(e)
def f():
    y = 1
    del y
    try:
        y
    except UnboundLocalError as e:
        print(e)
f()
#### global names
n = 0
def up():
    global n, fresh
    n += 1
    fresh = n * 10
up(); up()
print(n, fresh)
#### lambda forms
f = lambda *a, k=1, **kw: (a, k, kw)
print(f(1, 2, k=3, z=4), (lambda: (yield))().__class__.__name__, (lambda x, /, y: x + y)(1, y=2))
print(sorted(['bb', 'a', 'ccc'], key=lambda s: -len(s)), list(map(lambda a, b: a + b, [1, 2], [3, 4])))
#### positional only and keyword only
def f(a, b=2, /, c=3, *, d, e=5): return a, b, c, d, e
print(f(1, d=4), f(1, 2, 3, d=4, e=6))
for call in [lambda: f(1), lambda: f(a=1, d=2), lambda: f(1, 2, 3, 4, d=5), lambda: f(1, d=1, z=2), lambda: f()]:
    try:
        print(call())
    except TypeError as e:
        print(e)
#### string methods of classes over builtins
class Name(str):
    def shout(self): return self.upper() + '!'
n = Name('ab')
print(n.shout(), n + 'c', type(n + 'c').__name__, n == 'ab', {n: 1}['ab'], f'{n:>4}', n[0], len(n))
class L(list):
    def __getitem__(self, i): return super().__getitem__(i) * 2
l = L([1, 2])
print(l[0], l, list(l), l + [3], sum(l))
class D(dict):
    def __missing__(self, key): return key * 2
d = D(a=1)
print(d['a'], d['zz'], d.get('zz'), 'zz' in d, d)
#### iterators
class Count:
    def __init__(self, n): self.n = n
    def __iter__(self): return self
    def __next__(self):
        if self.n == 0: raise StopIteration
        self.n -= 1
        return self.n
print(list(Count(3)), sum(Count(4)), 2 in Count(5), dict(zip('ab', Count(2))), max(Count(3)), tuple(Count(0)))
it = iter([1, 2, 3])
print(next(it), list(it), next(it, 'default'))
class Old:
    def __getitem__(self, i):
        if i > 2: raise IndexError
        return i * 10
print(list(Old()), 20 in Old())
print(list(iter(lambda c=[0]: c.__setitem__(0, c[0] + 1) or c[0], 4)))
#### formatting protocol
class F:
    def __format__(self, spec): return f'<{spec}>'
    def __str__(self): return 'str'
    def __repr__(self): return 'repr'
f = F()
print(f'{f}', f'{f:x>3}', f'{f!s}', f'{f!r:>6}', '{:abc}'.format(f), '%s %r' % (f, f), f'{f = }', f'{1 + 1 = }', str([f]))
#### integer and float text
print(1e16, 1e15, 1.0, 1e-5, 0.0001, 123456789.123456789, -0.0, 1e100, float('inf'), float('nan'), 5e-324, 1/3)
print(0x1F, 0b101, 0o17, 1_000_000, 10**20, -7 // 2, -7 % 3, 7 // -2, divmod(-7, 2), 2**-1, 0**0, round(2.5), round(-1.5), round(2.675, 2))
#### arguments that are accepted are obeyed
print(bytes('aé', 'ascii', 'ignore'), bytes('aé', 'ascii', errors='replace'))
p = property(lambda self: 1, doc='given')
class C:
    x = p
    @property
    def y(self):
        "of the getter"
        return 2
print(C.x.__doc__, C.y.__doc__)
class F: pass
try:
    print(F().__format__('>10'))
except TypeError as e:
    print(e)
try:
    print(format(F(), 'x'))
except TypeError as e:
    print(e)
#### hooks of classes are class methods without saying so
class Base:
    seen = []
    def __init_subclass__(cls, tag='none', **kwargs):
        super().__init_subclass__(**kwargs)
        cls.tag = tag
        Base.seen.append(cls.__name__)
    def __class_getitem__(cls, key): return (cls.__name__, key)
class Middle(Base, tag='m'):
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(tag='from middle', **kwargs)
    def __class_getitem__(cls, key): return ('middle', super().__class_getitem__(key))
class Last(Middle): pass
print(Base.seen, Middle.tag, Last.tag, Base[1], Middle['a'], Last[2], Last.__class_getitem__(3))
try:
    class Wrong(Last, unknown=1): pass
except TypeError as e: print(e)
