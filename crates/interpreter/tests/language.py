#### arithmetic and printing
a = 7
b = 2
print(a + b, a - b, a * b, a / b, a // b, a % b, a ** b, -a // b, -a % b)
print(a @ b if False else 'no matmul', a << b, a >> 1, a & b, a | b, a ^ b, ~a)
#### assignment targets
x, y = 1, 2
(a, b), *rest = (1, 2), 3, 4
*init, last = 'abc'
[p, [q, r]] = [1, (2, 3)]
d = {}
d['k'], d['j'] = 5, 6
class Box: pass
box = Box()
box.v, (box.w, *box.more) = 1, (2, 3, 4)
i = j = []
i.append(1)
print(x, y, a, b, rest, init, last, p, q, r, d, box.v, box.w, box.more, j)
#### augmented assignment keeps the object
a = [1]
b = a
b += [2]
a *= 2
print(a, b, a is b)
n = 10
n -= 3; n *= 2; n //= 4; n **= 3; n %= 7; n <<= 2; n |= 1; n ^= 5; n &= 14; n >>= 1
print(n)
class Holder:
    total = 0
h = Holder()
h.total += 5
d = {'x': 1}
d['x'] += 41
print(h.total, Holder.total, d)
t = (1,)
t += (2,)
print(t)
#### augmented index evaluates its parts once
calls = []
def f(x):
    calls.append(x)
    return x
xs = [0, 0]
xs[f(1)] += f(10)
print(xs, calls)
#### unpacking errors
try:
    a, b = 1, 2, 3
except ValueError as e:
    print(e)
try:
    a, b, c = [1]
except ValueError as e:
    print(e)
try:
    a, *b, c = [1]
except ValueError as e:
    print(e)
try:
    a, b = 5
except TypeError as e:
    print(e)
#### loops with else
for i in range(5):
    if i == 3:
        break
else:
    print('never')
for i in []:
    pass
else:
    print('empty', i)
n = 0
while n < 10:
    n += 1
    if n % 2: continue
    if n > 6: break
    print(n, end=' ')
else:
    print('never')
while n > 0:
    n -= 5
else:
    print('done', n)
#### conditions
def kind(x):
    if x < 0: return 'neg'
    elif x == 0: return 'zero'
    elif x < 10:
        return 'small'
    else: return 'big'
print([kind(x) for x in (-1, 0, 5, 50)])
print(1 if [] else 2, 0 or 'a', '' or 0, 1 and 2, 0 and 1, not 3, not [])
print(1 < 2 < 3, 1 < 3 < 2, 3 > 2 == 2, 1 in [1] in [[1]])
#### chained comparison evaluates each operand once
def t(x):
    print('t', x)
    return x
print(t(1) < t(0) < t(5))
#### functions and parameters
def f(a, b=2, *args, c, d=4, **kw):
    return a, b, args, c, d, kw
print(f(1, c=3), f(1, 5, 6, 7, c=8, e=9, d=0), f(*[1, 2], **{'c': 3}))
def g(a, /, b, *, c=1): return (a, b, c)
print(g(1, 2), g(1, b=3, c=4))
h = lambda x, *y, z=3, **k: (x, y, z, k)
print(h(1), h(1, 2, 3, z=4, w=5))
#### call errors
def f(a, b, *, c): pass
def g(): pass
def h(a, b=1): pass
class P:
    def m(self, x): pass
for call in (lambda: f(1), lambda: f(1, 2), lambda: f(1, 2, 3, c=1), lambda: f(1, 2, c=3, d=4), lambda: f(1, a=2, b=3, c=1),
             lambda: g(1), lambda: h(), lambda: h(1, 2, 3), lambda: P().m(), lambda: P().m(1, 2), lambda: f(), lambda: h(1, 2, 3, 4),
             lambda: P(3), lambda: f(**{'c': 1}), lambda: f(*3), lambda: f(1, 2, **{'c': 1}, c=2)):
    try:
        call()
    except TypeError as e:
        print(e)
#### positional only
def f(a, b, /, c): pass
try:
    f(1, b=2, c=3)
except TypeError as e:
    print(e)
def g(a, /, **k): return a, k
print(g(1, a=2))
#### closures and nonlocal
def counter(start):
    n = start
    def step(by=1):
        nonlocal n
        n += by
        return n
    return step
c, d = counter(0), counter(100)
print(c(), c(), d(5), c(10), d())
fs = [lambda: i for i in range(3)]
print([f() for f in fs])
fs = [lambda i=i: i for i in range(3)]
print([f() for f in fs])
#### defaults are evaluated once
def f(x, acc=[]):
    acc.append(x)
    return acc
print(f(1), f(2), f(3, []), f(4))
#### global
total = 0
def add(n):
    global total
    total += n
add(3); add(4)
print(total)
#### decorators
def twice(f):
    def wrapped(*a, **k):
        return f(*a, **k) * 2
    wrapped.__name__ = f.__name__
    return wrapped
def tag(name):
    print('make', name)
    def deco(f):
        print('apply', name)
        f.tags = getattr(f, 'tags', []) + [name]
        return f
    return deco
@twice
def three(): return 3
@tag('a')
@tag('b')
def f(): pass
print(three(), three.__name__, f.tags, f.__name__)
#### recursion
def fact(n): return 1 if n < 2 else n * fact(n - 1)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
print(fact(20), fact(30), fib(15))
#### classes
class Animal:
    """An animal."""
    count = 0
    def __init__(self, name):
        self.name = name
        Animal.count += 1
    def speak(self):
        return f'{self.name} makes {self.sound()}'
    def sound(self): return 'noise'
class Dog(Animal):
    def __init__(self, name, age=1):
        super().__init__(name)
        self.age = age
    def sound(self):
        return 'woof after ' + super().sound()
d = Dog('Rex', age=3)
print(d.speak(), d.age, Animal.count, Dog.count, Dog.__name__, Animal.__doc__, isinstance(d, Animal), issubclass(Dog, Animal))
print(Dog.speak(d), d.__dict__, type(d).__name__, type(d) is Dog, d.__class__ is Dog)
#### method resolution order
class A:
    def f(self): return ['A']
class B(A):
    def f(self): return ['B'] + super().f()
class C(A):
    def f(self): return ['C'] + super().f()
class D(B, C):
    def f(self): return ['D'] + super().f()
print(D().f(), [c.__name__ for c in D.__mro__])
try:
    class E(A, B): pass
except TypeError as e:
    print(str(e).split('\n')[0])
#### properties, static and class methods
class Temp:
    unit = 'C'
    def __init__(self, v): self._v = v
    @property
    def v(self): return self._v
    @v.setter
    def v(self, value):
        if value < 0: raise ValueError('too cold')
        self._v = value
    @v.deleter
    def v(self): self._v = None
    @staticmethod
    def parse(s): return float(s)
    @classmethod
    def of(cls, s): return cls(cls.parse(s))
    @property
    def fixed(self): return 1
t = Temp.of('3.5')
t.v = 4
print(t.v, Temp.parse('1'), t.parse('2'), t.of('5').v)
del t.v
print(t.v)
try:
    t.v = -1
except ValueError as e: print(e)
try:
    t.fixed = 2
except AttributeError as e: print(e)
#### special methods
class V:
    def __init__(self, *xs): self.xs = xs
    def __add__(self, o): return V(*[a + b for a, b in zip(self.xs, o.xs)]) if isinstance(o, V) else NotImplemented
    def __radd__(self, o): return ('radd', o)
    def __mul__(self, k): return V(*[a * k for a in self.xs])
    __rmul__ = __mul__
    def __matmul__(self, o): return sum(a * b for a, b in zip(self.xs, o.xs))
    def __neg__(self): return self * -1
    def __eq__(self, o): return isinstance(o, V) and self.xs == o.xs
    def __hash__(self): return hash(self.xs)
    def __lt__(self, o): return self.xs < o.xs
    def __len__(self): return len(self.xs)
    def __getitem__(self, i): return self.xs[i]
    def __iter__(self): return iter(self.xs)
    def __contains__(self, x): return x in self.xs
    def __call__(self, *a): return a + self.xs
    def __repr__(self): return f'V{self.xs}'
    def __bool__(self): return any(self.xs)
    def __iadd__(self, o):
        self.xs = tuple(a + 1 for a in self.xs)
        return self
a, b = V(1, 2), V(3, 4)
print(a + b, 2 * a, a * 3, a @ b, -a, a == V(1, 2), a != b, a < b, len(a), a[0], a[-1], list(a), 2 in a, a(9), bool(V(0)), 5 + a)
a += 1
print(a, {V(1): 'x'}[V(1)], sorted([b, a])[0], max(a, b))
try:
    a + 5
except TypeError as e: print(e)
#### attribute hooks
class Dyn:
    def __init__(self): self.log = []
    def __getattr__(self, name):
        if name.startswith('x'): return name.upper()
        raise AttributeError(f'no {name}')
d = Dyn()
print(d.xyz, hasattr(d, 'q'), getattr(d, 'q', 7))
class Guard:
    def __setattr__(self, name, value):
        object.__setattr__(self, name, value * 2)
    def __delattr__(self, name):
        print('del', name)
        super().__delattr__(name)
g = Guard()
g.a = 4
print(g.a)
del g.a
print(hasattr(g, 'a'))
try:
    Dyn().zed
except AttributeError as e: print(e)
try:
    [].nope
except AttributeError as e: print(e)
try:
    Guard.nope
except AttributeError as e: print(e)
#### descriptors
class Pos:
    def __set_name__(self, owner, name): self.name = '_' + name
    def __get__(self, obj, owner): return self if obj is None else getattr(obj, self.name)
    def __set__(self, obj, value):
        if value <= 0: raise ValueError('must be positive')
        setattr(obj, self.name, value)
class Item:
    n = Pos()
    def __init__(self, n): self.n = n
i = Item(3)
print(i.n, i._n)
try:
    i.n = -1
except ValueError as e: print(e)
#### classes over builtins
class Stack(list):
    def push(self, x): self.append(x)
    @property
    def top(self): return self[-1]
s = Stack([1, 2])
s.push(3)
print(s, len(s), s.top, s[0], isinstance(s, list), sum(s), s + [4])
class Attr(dict):
    def __getattr__(self, k): return self[k]
    def __setitem__(self, k, v): super().__setitem__(k, v * 10)
a = Attr(x=1)
a['y'] = 2
print(a.x, a.y, sorted(a), dict(a))
class Meters(float):
    def __repr__(self): return f'{float(self)}m'
print([Meters(2.5)], Meters(1) + 1)
class Name(str):
    def shout(self): return self.upper() + '!'
print(Name('bo').shout(), Name('x') == 'x', len(Name('abc')))
#### __new__
class One:
    inst = None
    def __new__(cls, *a):
        if cls.inst is None:
            cls.inst = super().__new__(cls)
        return cls.inst
    def __init__(self, v): self.v = v
print(One(1) is One(2), One(3).v)
#### __init_subclass__ and class attributes
class Base:
    registry = []
    def __init_subclass__(cls, tag=None, **kw):
        super().__init_subclass__(**kw)
        Base.registry.append((cls.__name__, tag))
class X(Base, tag='x'): pass
class Y(Base): pass
print(Base.registry)
class S:
    x = 1
    y = x + 1
    zs = [y for _ in range(2)] if False else [2]
    def f(self): return self.x + S.y
print(S.y, S().f())
#### comprehensions
print([x * y for x in range(3) for y in range(x) if y % 2 == 0], {x % 3 for x in range(9)}, {k: v for k, v in zip('ab', [1, 2])})
x = 'outer'
print([x for x in range(3)], x)
print([[j for j in range(i)] for i in range(3)], [(a, b) for a, (b, *c) in [(1, (2, 3))]])
print(sum(i * i for i in range(5)), max((len(w), w) for w in ['a', 'bbb', 'cc']), list(map(lambda t: t[0], {'k': 1}.items())))
print([y := 5, y ** 2], y, [z := i for i in range(3)], z)
#### generators
def gen(n):
    for i in range(n):
        got = yield i
        if got: print('got', got)
    return 'end'
g = gen(3)
print(next(g), g.send('hi'), next(g))
try:
    next(g)
except StopIteration as e: print('stop', e.value)
print(next(g, 'default'))
def chain(*its):
    for it in its:
        r = yield from it
        print('r', r)
print(list(chain(gen(2), [7, 8])))
def inf():
    n = 0
    try:
        while True:
            yield n
            n += 1
    except ValueError as e:
        yield 'caught ' + str(e)
    finally:
        print('closing')
g = inf()
print(next(g), next(g), g.throw(ValueError('boom')), list(g))
g = inf()
next(g)
g.close()
print(list(g))
e = (x for x in [3, 1, 2])
print(sorted(e), list(e))
def early():
    return
    yield
print(list(early()))
#### generator expressions are lazy
def noisy(x):
    print('n', x)
    return x
g = (noisy(x) for x in range(3))
print('made')
print(next(g))
print(any(x > 0 for x in g))
#### yield from passes on
def inner():
    try:
        x = yield 1
        print('x', x)
        y = yield 2
    except KeyError as e:
        print('inner', repr(e))
        yield 'recovered'
    return 'value'
def outer():
    r = yield from inner()
    yield r
g = outer()
print(next(g), g.send('A'), g.throw(KeyError('k')), next(g))
#### iterators of classes
class Count:
    def __init__(self, n): self.n = n
    def __iter__(self): return self
    def __next__(self):
        if self.n == 0: raise StopIteration
        self.n -= 1
        return self.n
print(list(Count(3)), [x for x in Count(2)], sum(Count(4)), 2 in Count(5))
class Seq:
    def __getitem__(self, i):
        if i > 2: raise IndexError
        return i * 10
print(list(Seq()), 20 in Seq())
class Gen:
    def __iter__(self):
        yield 1
        yield 2
a, b = Gen()
print(a, b, [*Gen(), *Gen()])
#### try and finally
def f(x):
    try:
        if x == 0: raise ValueError('zero')
        if x == 1: return 'one'
        if x == 2: 1 / 0
        if x == 3: [][1]
    except ValueError as e:
        return f'value {e}'
    except (ZeroDivisionError, KeyError) as e:
        return f'zero {e}'
    else:
        return 'else'
    finally:
        print('finally', x)
print(f(0), f(1), f(2), f(4))
try:
    f(3)
except IndexError as e: print(e)
def g():
    for i in range(3):
        try:
            continue
        finally:
            print('f', i)
    try:
        return 1
    finally:
        return 2
print(g())
try:
    e
except NameError as err: print(err)
#### nested exceptions and bare raise
def risky():
    try:
        try:
            raise KeyError('a')
        except KeyError:
            raise
    except LookupError as e:
        print('again', repr(e), type(e).__name__)
        raise RuntimeError('wrapped') from e
try:
    risky()
except RuntimeError as e:
    print(repr(e), repr(e.__cause__), e.__suppress_context__)
try:
    try:
        1 / 0
    except ZeroDivisionError:
        raise TypeError('second')
except TypeError as e:
    print(repr(e.__context__), e.__cause__)
try:
    raise
except RuntimeError as e: print(e)
#### user exceptions
class AppError(Exception):
    def __init__(self, code, msg='bad'):
        super().__init__(msg)
        self.code = code
class Sub(AppError):
    def __str__(self): return f'<{self.code}>'
try:
    raise Sub(42)
except AppError as e:
    print(e, e.code, e.args, isinstance(e, Exception))
try:
    raise AppError
except TypeError as e: print(e)
class Plain(ValueError): pass
try:
    raise Plain('x', 1)
except ValueError as e: print(e, repr(e), e.args)
try:
    raise 5
except TypeError as e: print(e)
try:
    try:
        1 / 0
    except 5: pass
except TypeError as e: print(e)
#### context managers
class CM:
    def __init__(self, name, swallow=False): self.name, self.swallow = name, swallow
    def __enter__(self):
        print('enter', self.name)
        return self.name.upper()
    def __exit__(self, t, v, tb):
        print('exit', self.name, t.__name__ if t else None, v)
        return self.swallow
with CM('a') as a, CM('b') as b:
    print(a, b)
with CM('c', True):
    raise ValueError('gone')
try:
    with CM('d') as (x, *y):
        print(x, y)
        raise KeyError('stays')
except KeyError as e: print('out', e)
def f():
    with CM('e'):
        return 'ret'
print(f())
for i in range(3):
    with CM(str(i)):
        if i == 1: break
try:
    with 5: pass
except TypeError as e: print(e)
#### assert and del
assert True
try:
    assert 1 == 2, 'math'
except AssertionError as e: print(repr(e))
try:
    assert []
except AssertionError as e: print(repr(e))
x = [1, 2, 3]
del x[0], x[-1]
y = 1
del y
d = {'a': 1, 'b': 2}
del d['a']
class O: pass
o = O(); o.p = 1
del o.p
print(x, d, hasattr(o, 'p'))
try:
    y
except NameError as e: print(e)
try:
    del d['zz']
except KeyError as e: print(e)
def f():
    z = 1
    del z
    return z
try:
    f()
except UnboundLocalError as e: print(e)
#### name errors
def f():
    print(v)
    v = 1
try:
    f()
except UnboundLocalError as e: print(e)
try:
    undefined_thing
except NameError as e: print(e)
def outer():
    def inner(): return late
    try:
        inner()
    except NameError as e: print(e)
    late = 1
    return inner()
print(outer())
#### strings and formats
w, p, x = 10, 3, 3.14159
print(f'{x:.2f}|{x:{w}.{p}f}|{"s"!r}|{w=}|{w + 1 = }|{{}}|{[1, 2]}|{x!s:>9}|' f'{w:,}' 'tail')
print('a' 'b', "it's", 'tab\tnew\\n', r'raw\n', b'bytes\x00', '\u00e9')
print('%s and %d, %.2f %r' % ('x', 3, 2.5, 'q'), '{} {name} {0}'.format(1, name='n'))
#### star arguments
def f(*a, **k): return a, k
xs, d = [1, 2], {'p': 1}
print(f(*xs, 3, *xs), f(**d, q=2), f(*'ab', **{'z': 0}), [*xs, *range(2)], {**d, 'q': 3}, (*xs,), {*xs, 9})
print(*xs, sep='-', end='!\n')
#### slices and subscripts
xs = list(range(10))
print(xs[2:5], xs[::-2], xs[-3:], xs[:-7], xs[1:8:3], 'hello'[1:-1], (1, 2, 3)[::-1])
xs[2:4] = ['a', 'b', 'c']
del xs[5:]
print(xs)
class K:
    def __getitem__(self, k): return k
print(K()[1:2, ..., None, ::3], K()[1], K()[1, 2], K()[:], K()[a:=3])
#### walrus
data = [1, 2, 3]
if (n := len(data)) > 2:
    print(n)
while (k := data.pop()) > 1:
    print('k', k)
print([last := v for v in 'xyz'], last)
#### lambda with walrus and conditional
f = lambda x: (y := x + 1) * y if x else -1
print(f(2), f(0))
#### match
def m(v):
    match v:
        case 0: return 'zero'
        case 'a' | 'b': return 'ab'
        case int(n) if n > 100: return f'big {n}'
        case [x]: return f'one {x}'
        case [x, y, *rest]: return f'seq {x} {y} {rest}'
        case {'k': kv, **others}: return f'map {kv} {others}'
        case None | True: return 'single'
        case str() as s: return f'str {s}'
        case _: return 'other'
for v in [0, 'a', 500, [1], [1, 2, 3], {'k': 1, 'z': 2}, None, True, 'hello', 2.5, (7, 8), {}]:
    print(m(v))
class Pt:
    __match_args__ = ('x', 'y')
    def __init__(self, x, y): self.x, self.y = x, y
match Pt(1, 2):
    case Pt(0, y): print('no')
    case Pt(1, y=yy): print('yes', yy)
match Pt(1, 2):
    case Pt(x=5): print('no')
    case Pt(a, b): print(a, b)
#### imports
import math
import math as m, functools
from math import sqrt, pi as PI
import collections.abc if False else None
#### imports that work
import math
import math as m, functools
from math import sqrt, pi as PI
from functools import reduce, partial
print(math.floor(2.7), m.ceil(2.1), sqrt(16.0), round(PI, 3), reduce(lambda a, b: a + b, [1, 2, 3]), partial(pow, 2)(5))
#### builtins with callbacks
print(sorted(['bb', 'a', 'ccc'], key=lambda s: -len(s)), max([1, 5, 3], key=lambda x: -x), list(filter(lambda x: x % 2, range(6))))
print(list(map(lambda a, b: a + b, [1, 2], [3, 4])), any(x > 2 for x in [1, 3]), all([]), list(zip([1, 2], 'ab')), list(enumerate('xy', 1)))
print(sum([[1], [2]], []), min('b', 'a'), list(reversed([1, 2, 3])), dict(a=1, **{'b': 2}), divmod(-7, 3), abs(-3), round(2.5), pow(2, 10, 7))
#### integers are unbounded
print(2 ** 100, -(2 ** 70) // 3, (1 << 65) - 1, 10 ** 25 % 97, int('9' * 30) + 1)
#### uncaught error in nested calls
def inner(x):
    y = x + 1
    return y / 0
def outer(x):
    return [inner(v) for v in range(x)]
outer(2)
#### uncaught error in a lambda and a method
class A:
    def go(self, f):
        return f(self)
a = A()
a.go(lambda s: s.missing)
#### chained uncaught errors
def f():
    try:
        {}['k']
    except KeyError as e:
        raise ValueError('no k') from e
try:
    f()
except ValueError:
    undefined
#### error with context while handling
try:
    try:
        1 / 0
    finally:
        [].pop()
except IndexError as e:
    raise RuntimeError('last')
#### raise an exception again later
def a():
    raise ValueError('first')
saved = None
try:
    a()
except ValueError as e:
    saved = e
raise saved
#### bare raise keeps its line
def f():
    try:
        int('x')
    except ValueError:
        print('logging')
        raise
f()
#### error in a generator
def g():
    yield 1
    raise ValueError('in gen')
total = sum(g())
#### error in a generator expression
print(list(1 // (2 - x) for x in range(5)))
#### error in the iterable of a loop
for x in 5:
    pass
#### error in an operator over several lines
x = (1 +
     2 +
     'a')
#### error in arguments over several lines
def f(*a): return a
f(1,
  2,
  1 / 0,
  3)
#### error in a chain of methods over several lines
s = 'a'
(s
 .upper()
 .nothing()
 .lower())
#### error in unpacking
for a, b in [(1, 2), (3,)]:
    pass
#### error in an attribute assignment
x = 5
x.y = 3
#### error in an item assignment
x = (1, 2)
x[0] = 3
#### error in a with statement
class CM:
    def __enter__(self): return self
    def __exit__(self, *a): raise RuntimeError('exit failed')
with CM():
    1 / 0
#### error in a comparison
if 1 < 'a':
    pass
#### error in a decorator
def bad(f): raise TypeError('no decorating')
@bad
def f(): pass
#### error in a class body
class A:
    x = 1
    y = x / 0
#### error in a property
class A:
    @property
    def p(self):
        return self.q.r
A().p
#### stop iteration inside a generator
def g():
    yield 1
    raise StopIteration('x')
list(g())
#### assertion without message
x = 3
assert x == 4
#### assertion with message
assert len([1]) == 2, f'got {len([1])}'
#### key error
d = {'a': 1}
print(d['a'])
d[('b', 1)]
#### subscript in the middle of a line
h = [1, 2]
bad = h[5] + h[0]
#### call in the middle of a line
y = 1 + int('zz') * 2
#### name in the middle of a line
z = [1, undefined_name, 3]
#### user error with str
class E(Exception):
    def __str__(self): return 'custom ' + repr(self.args)
raise E(1, 'two')
#### error without message
raise ValueError
#### error in exception init
class E(Exception):
    def __init__(self, a, b): pass
raise E(1)
#### recursion error
def f(n):
    return f(n + 1)
try:
    f(0)
except RecursionError as e:
    print('deep', str(e)[:32])
#### del in except frees the name
e = 1
try:
    raise ValueError
except ValueError as e:
    pass
print('e' in dir() if False else 'ok')
#### try in loops with break and continue
out = []
for i in range(6):
    try:
        if i == 1: continue
        if i == 4: break
        if i == 2: raise ValueError
        out.append(i)
    except ValueError:
        out.append('v')
    finally:
        out.append('f')
print(out)
#### while with nested function and loop variables
acc = []
for i in range(3):
    def f(x, i=i):
        return x * i
    acc.append(f)
print([f(10) for f in acc])
#### conditional imports and missing modules
try:
    import nonexistent_module_xyz
except ImportError as e:
    print(type(e).__name__)
try:
    from math import nonexistent_name
except ImportError as e:
    print(type(e).__name__)
#### docstrings and names
def f(a: int, b: 'str' = 'x') -> None:
    """Doc of f."""
class C:
    """Doc of C."""
    x: int = 3
    def m(self): pass
print(f.__doc__, f.__name__, C.__doc__, C.x, C.m.__name__, C().m.__func__ is C.m, C.__module__)
#### operators module order
class L:
    def __sub__(self, o): return 'L-'
class R(L):
    def __rsub__(self, o): return 'R-'
print(L() - R(), R() - L(), L() - L())
#### equality and hashing
class P:
    def __init__(self, x): self.x = x
    def __eq__(self, o): return self.x == o.x
    def __hash__(self): return hash(self.x)
s = {P(1), P(1), P(2)}
print(len(s), P(1) in s, P(3) in s, [P(1)] == [P(1)], P(1) != P(2), [P(1), P(2)].index(P(2)))
class Q:
    def __eq__(self, o): return True
try:
    {Q()}
except TypeError as e: print(e)
#### total ordering and sort stability
class T:
    def __init__(self, k, v): self.k, self.v = k, v
    def __lt__(self, o): return self.k < o.k
    def __repr__(self): return f'{self.k}{self.v}'
print(sorted([T(2, 'a'), T(1, 'b'), T(2, 'c'), T(1, 'd')]), sorted([3, 1, 2], reverse=True))
#### string of objects
class A:
    def __repr__(self): return 'A()'
class B:
    def __str__(self): return 'b!'
    def __format__(self, spec): return f'<{spec}>'
print(A(), [A()], {'k': A()}, (A(),), str(B()), f'{B():spec}', f'{B()}', repr([A()]), '%s' % A())
#### truth of objects
class Z:
    def __len__(self): return 0
class N:
    def __bool__(self): return False
print(bool(Z()), bool(N()), not N(), 1 if Z() else 2, N() or 'or', (Z() and 'and') == 'and')
#### callable objects and bound methods
class Adder:
    def __init__(self, n): self.n = n
    def __call__(self, x): return x + self.n
    def add(self, x): return self(x)
add5 = Adder(5)
m = add5.add
print(list(map(add5, [1, 2])), m(1), callable(add5), callable(3), sorted([3, 1], key=add5))
#### class with slots and constants
class Cfg:
    __slots__ = ('a', 'b')
    LIMIT = 10
    def __init__(self): self.a = 1; self.b = self.LIMIT
c = Cfg()
print(c.a, c.b)
#### nested functions and classes
def make():
    class Inner:
        def __init__(self, v): self.v = v
        def get(self): return (self.v, helper())
    def helper(): return 'h'
    return Inner
I = make()
print(I(3).get(), I.__name__, I.__qualname__)
#### super with arguments
class A:
    def f(self): return 'A'
    @classmethod
    def c(cls): return cls.__name__
class B(A):
    def f(self): return 'B' + super(B, self).f()
    @classmethod
    def c(cls): return 'b' + super().c()
print(B().f(), B.c(), B().c())
#### exception groups of types
for err in [ValueError('v'), KeyError('k'), OSError('o'), StopIteration(3), NotImplementedError(), RuntimeError(1, 2)]:
    try:
        raise err
    except (ValueError, LookupError) as e:
        print('first', repr(e), str(e))
    except RuntimeError as e:
        print('second', repr(e), str(e))
    except Exception as e:
        print('third', repr(e), str(e))
#### raise from none
try:
    try:
        1 / 0
    except ZeroDivisionError:
        raise ValueError('clean') from None
except ValueError as e:
    print(e.__cause__, e.__suppress_context__)
raise ValueError('clean') from None
#### duplicate arguments are refused
def f(a, a): pass
#### a starred return is refused
def f(i):
    return *i
#### defaults with every kind of parameter
def f(a, b=1, /, c=2, *, d, e=5, **k): return a, b, c, d, e, k
print(f(0, d=1), f(0, 9, 8, d=1, z=2), f(0, c=3, d=4, e=6))
try:
    f(0)
except TypeError as e: print(e)
try:
    f(d=1)
except TypeError as e: print(e)
#### keyword-only in lambdas and nested tuples
f = lambda *, k=3, **r: (k, r)
print(f(), f(k=1, z=2))
for (a, b), c in [((1, 2), 3)]: print(a, b, c)
#### attribute chains and calls on results
class N:
    def __init__(self, v): self.v = v; self.next = None
    def link(self, o): self.next = o; return self
n = N(1).link(N(2).link(N(3)))
print(n.next.next.v, n.link(N(9)).next.v)
n.next.v += 5
n.next.next = [1, 2, 3]
n.next.next[1:] = (7,)
print(n.next.v, n.next.next)
#### mixed return and finally order
log = []
def f():
    for i in range(3):
        try:
            log.append(i)
            if i == 1: return 'r'
        finally:
            log.append('f')
print(f(), log)
#### nested comprehension in class and function scope
class A:
    base = 10
    items = [i for i in range(3)]
    def go(self): return [self.base + x for x in self.items if x in [y for y in A.items]]
print(A.items, A().go())
#### exceptions carry attributes
class HTTPError(Exception):
    def __init__(self, status, *args):
        self.status = status
        super().__init__(f'status {status}', *args)
try:
    raise HTTPError(404, 'extra')
except HTTPError as e:
    print(e.status, e.args, str(e), repr(e))
#### large unpacking and star in the middle
first, *middle, (a, *b), last = range(5), 1, 2, [3, 4, 5], 6
print(list(first), middle, a, b, last)
#### string methods on results of formatting
print(f"{'x' * 3:-^9}".upper().strip('-'), '{:>5}|{:<5}|{:^5}'.format(1, 2, 3), f'{3.14159:.{2}f}', f'{1e10:g}', f'{255:#x}')
#### annotations change nothing
def f(x: int, *, y: 'list[undefined]' = 3) -> 'also_undefined': return x + y
z: int = 5
w: int
print(f(1), z)
#### while true with break in try
n = 0
while True:
    try:
        n += 1
        if n > 3: break
        continue
    finally:
        n += 10
print(n)
#### generator cleanup on break
def g():
    try:
        for i in range(10): yield i
    finally:
        print('cleanup')
it = g()
for x in it:
    if x == 2: break
it.close()
print(x)
#### error inside an expression in a function call
def scale(v, by): return v * by
result = scale(3, by=scale(2, by=None))
#### error in a nested attribute
class C: pass
c = C()
c.a = C()
print(c.a.b.c)
#### error in an augmented assignment
x = {'a': 1}
x['a'] += 'b'
#### error in an f-string
print(f'value: {1 + "a"}')
#### error in a default argument
def f(x=1 / 0): pass
#### error in a dict and a call over lines
config = {
    'a': 1,
    'b': int('q'),
}
#### error in a return of a method
class M:
    def run(self):
        return self.step()(1)
    def step(self):
        return 5
M().run()
#### error in a condition
if [1, 2, 3].index(7):
    pass
#### error in while condition
n = 3
while 10 / n > 1:
    n -= 1
#### error in del
d = {}
del d['x']
#### error in raise from
try:
    1 / 0
except ZeroDivisionError as e:
    raise KeyError('k') from e
#### error in unary operator
x = -'a'

#### object.__new__ and that of builtin types
class One:
    made = None
    def __new__(cls):
        if cls.made is None:
            cls.made = object.__new__(cls)
        return cls.made
class Celsius(float):
    def __new__(cls, value):
        return float.__new__(cls, value + 1)
class Words(tuple):
    def __new__(cls, *words):
        return tuple.__new__(cls, words)
print(One() is One(), type(One()).__name__, Celsius(1) + 1, Words('a', 'b'), len(Words('a')))
print(int.__new__(int, '7'), list.__new__(list), str.__new__(str, 5))
new = getattr(object, '__new__')
print(type(new(One)).__name__)
try: object.__new__(3)
except TypeError as e: print(e)
#### generators that are let go of do what is left for them
from contextlib import contextmanager
def numbers(name):
    try:
        for i in range(5): yield i
    finally:
        print('end of', name)
for i in numbers('broken'):
    if i == 2: break
print('after')
def first():
    for i in numbers('returned'): return i
x = first()
print(x)
g = numbers('deleted')
next(g)
del g
g = numbers('replaced')
next(g)
g = None
numbers('never begun')
h = numbers('exhausted')
print(list(h))
h = None
print('nothing more')
def outer():
    yield from numbers('inner')
o = outer()
next(o)
del o
def stubborn():
    try: yield 1
    finally:
        yield 2
s = stubborn()
next(s)
del s
def raises():
    try: yield 1
    except GeneratorExit: print('exit'); raise ValueError('unheard')
r = raises()
next(r)
del r
@contextmanager
def managed():
    print('in')
    try: yield
    finally: print('out')
def body():
    with managed():
        yield 1
b = body()
next(b)
del b
def chain(n):
    try: yield n
    finally:
        if n:
            inner = chain(n - 1)
            next(inner)
            del inner
        print('link', n)
c = chain(3)
next(c)
del c
try:
    for i in numbers('raised'): 1 / 0
except ZeroDivisionError: print('caught')
print([next(numbers(i)) for i in 'ab'])
for i in numbers('last'): break
