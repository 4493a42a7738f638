#### operators of classes
class V:
    def __init__(self, x): self.x = x
    def __add__(self, o): return V(self.x + (o.x if isinstance(o, V) else o))
    def __radd__(self, o): return V(o + self.x)
    def __iadd__(self, o): self.x += 100; return self
    def __mul__(self, o): return NotImplemented
    def __rsub__(self, o): return 'rsub'
    def __neg__(self): return V(-self.x)
    def __eq__(self, o): return isinstance(o, V) and self.x == o.x
    def __hash__(self): return hash(self.x)
    def __lt__(self, o): return self.x < o.x
    def __repr__(self): return f'V({self.x})'
    def __bool__(self): return self.x != 0
    def __len__(self): return self.x
    def __getitem__(self, k): return k
    def __contains__(self, k): return k == self.x
    def __call__(self, *a, **k): return a, k
    def __abs__(self): return abs(self.x)
    def __int__(self): return 7
    def __float__(self): return 7.5
    def __index__(self): return 3
    def __round__(self, n=None): return ('round', n)
    def __format__(self, spec): return f'<{spec}>'
    def __matmul__(self, o): return 'matmul'
    def __divmod__(self, o): return 'divmod'
a, b = V(1), V(2)
print(a + b, a + 1, 1 + a, 5 - a, -a, a == V(1), a != b, a < b, b > a, sum([a, b]))
try: a * 2
except TypeError as e: print(e)
try: a - 1
except TypeError as e: print(e)
a += 1
print(a, bool(V(0)), len(b), b[1:2], b['k'], 2 in b, 3 in b, b(1, k=2), abs(V(-3)), int(a), float(a))
print(round(b), round(b, 2), f'{b:>3}', format(b), a @ b, divmod(a, 2), hex(b), max([V(1), V(3), V(2)]), sorted([V(3), V(1)]))
d = {V(1): 'one'}
print(d[V(1)], V(1) in d, V(2) in d, {V(1), V(1), V(2)} == {V(1), V(2)}, [V(1)] == [V(1)], [V(1)].index(V(1)), (V(1), 2) in {(V(1), 2): 0})
d[V(1)] = 'uno'
print(len(d), d, d.pop(V(1)), d)
print([V(1), V(2)] == [V(1), V(3)], {'a': V(1)} == {'a': V(1)}, (V(1),) < (V(2),), [V(2)].count(V(2)))
#### iteration of classes
class It:
    def __init__(self, n): self.n = n
    def __iter__(self): return self
    def __next__(self):
        if self.n == 0: raise StopIteration
        self.n -= 1
        return self.n
class Seq:
    def __getitem__(self, i):
        if i > 3: raise IndexError(i)
        return i * 10
class Bad:
    def __iter__(self): return 5
print(list(It(3)), tuple(It(2)), sum(It(4)), max(It(3)), sorted(It(3)), set(It(2)) == {0, 1}, list(zip(It(2), It(3))))
print(list(map(str, It(2))), list(enumerate(It(2))), [x for x in It(2)], dict((i, i) for i in It(2)), 2 in It(3), 9 in It(3))
print(list(Seq()), 20 in Seq(), list(filter(None, It(3))), any(It(2)), all(It(2)), ','.join(str(x) for x in It(2)), [*It(2)])
try: list(Bad())
except TypeError as e: print(e)
try: list(5)
except TypeError as e: print(e)
it = iter([1, 2, 3]); next(it); print(list(it), list(it))
a, *b = It(3); print(a, b)
def gen():
    yield 1
    yield 2
g = gen(); print(next(g), list(g), list(g), next(g, None))
x = [1]; x.extend(It(2)); x += It(2); x[1:2] = It(2); print(x)
#### mutation during iteration
d = {1: 1, 2: 2}
try:
    for k in d: d[k + 10] = 0
except RuntimeError as e: print(e)
s = {1, 2}
try:
    for k in s: s.add(k + 10)
except RuntimeError as e: print(e)
x = [1, 2, 3]
for v in x:
    if v < 6: x.append(v + 3)
print(x)
for k in list(d): del d[k]
print(d)
x = [3, 1, 2]
try: x.sort(key=lambda v: x.append(v) or v)
except ValueError as e: print(e)
#### classes over builtin types
class L(list):
    def total(self): return sum(self)
class D(dict):
    def __missing__(self, k): return k * 2
    def __setitem__(self, k, v): super().__setitem__(k, v + 1)
class S(str):
    def shout(self): return self.upper() + '!'
class I(int):
    def double(self): return self * 2
class F(float): pass
class T(tuple): pass
l = L([1, 2]); l.append(3)
print(l, l.total(), len(l), l[0], l[1:], l + [4], isinstance(l, list), l == [1, 2, 3], sorted(l), [*l], 2 in l, list(l), type(l).__name__, repr(l))
d = D(a=1); d['b'] = 2
print(d, d['zz'], d.get('q'), len(d), list(d), 'b' in d, isinstance(d, dict), {**d}, d == {'a': 1, 'b': 3}, dict(d))
s = S('hi')
print(s, s.shout(), s + 'x', len(s), s == 'hi', {s: 1}['hi'], f'{s:>4}', s[0], 'i' in s, isinstance(s, str), '%s' % s, ','.join([s, s]), {'hi': 2}[s])
i = I(5)
print(i, i.double(), i + 1, 1 + i, i == 5, [0, 1, 2, 3, 4, 5, 6][i], range(i), f'{i:03d}', i > 3, hash(i) == hash(5), -i, int(i), i // 2)
print(F(1.5) + 1, F(1.5), T((1, 2)), T([1, 2])[0], len(T('ab')), hash(T((1,))) == hash((1,)))
#### sorting and user comparison
class P:
    def __init__(self, k, v): self.k, self.v = k, v
    def __lt__(self, o): return self.k < o.k
    def __repr__(self): return f'{self.k}{self.v}'
ps = [P(2, 'a'), P(1, 'b'), P(2, 'c'), P(1, 'd')]
print(sorted(ps), sorted(ps, reverse=True), min(ps), max(ps) if False else '', sorted(ps, key=lambda p: p.v, reverse=True))
try: sorted([object(), object()])
except TypeError as e: print(e)
try: [1, 2, 'a', 3].sort()
except TypeError as e: print(e)
class E(Exception): pass
def k(x):
    raise E(x)
try: sorted([1, 2], key=k)
except E as e: print(repr(e))
#### str and repr of classes
class A:
    def __repr__(self): return 'A!'
class B:
    def __str__(self): return 'B?'
class C:
    def __str__(self): return 5
print(A(), str(A()), [A()], f'{A()}', f'{A()!s:>4}', '%s %r' % (A(), A()), '{} {!r}'.format(A(), A()), str(B()), f'{B()}')
try: str(C())
except TypeError as e: print(e)
try: format(A(), '5')
except TypeError as e: print(e)
x = [1]; x.append(x); print(x)
y = {}; y['y'] = y; print(y)
t = ([],); t[0].append(t); print(t)
print({1: [2, (3,)], 'a': {4}}, [None, True, 1.5, 'x', b'y', 1j])
print(print(1, 2, sep='-', end='!\n'), file=None)
print('a', 'b', sep='')
print()
print(*[1, 2], sep=', ')
#### hash and keys
class K:
    def __init__(self, v): self.v = v
    def __eq__(self, o): return self.v == o.v
class H:
    def __hash__(self): return 1
    def __eq__(self, o): return self is o
try: {K(1): 2}
except TypeError as e: print(e)
try: hash(K(1))
except TypeError as e: print(e)
h1, h2 = H(), H()
d = {h1: 1, h2: 2}
print(len(d), d[h1], d[h2], h1 in {h1}, h2 in {h1}, {h1, h2} - {h1} == {h2}, {h1} | {h2} == {h1, h2})
del d[h1]
print(len(d), h1 in d)
o = object(); d = {o: 1, int: 2, len: 3, None: 4, ...: 5}
print(d[o], d[int], d[len], d[None], d[...])
try: d[object()]
except KeyError as e: print('KeyError')
#### unpacking and calls
def f(*a, **k): return a, k
print(f(*[1, 2], *'ab', **{'x': 1}, y=2))
try: f(**{1: 2})
except TypeError as e: print(e)
try: print(*5)
except TypeError as e: print(e)
a, (b, *c) = 1, (2, 3, 4); print(a, b, c)
try: a, b = 1, 2, 3
except ValueError as e: print(e)
try: a, b = [1]
except ValueError as e: print(e)
m = map(lambda x: 1 / x, [1, 0])
try: print(list(m))
except ZeroDivisionError as e: print(e)
print(list(map(lambda *a: a, [1, 2, 3], 'ab')))
print(getattr([1, 2], 'pop')(), (lambda: 0).__name__, len.__name__, [].append.__name__, 'abc'.upper.__self__)
#### errors that pass through builtins
def boom(x):
    raise ValueError(f'boom {x}')
for g in [lambda: list(map(boom, [1])), lambda: sorted([1], key=boom), lambda: max([1], key=boom), lambda: [boom(2)], lambda: any(boom(x) for x in [3]), lambda: dict((boom(4), 1) for _ in [1]), lambda: ''.join(boom(x) for x in 'a'), lambda: sum(map(boom, [5])), lambda: next(filter(boom, [6]))]:
    try: g()
    except ValueError as e: print(e)
#### uncaught in a key function
def key(x):
    return 1 / x
sorted([1, 0], key=key)
#### indices and lengths of classes
class Ix:
    def __init__(self, n): self.n = n
    def __index__(self): return self.n
class Ln:
    def __len__(self): return -1
x = [10, 20, 30, 40]
print(x[Ix(1)], x[Ix(1):Ix(3)], 'abc'[Ix(2)], (1, 2)[Ix(0)], range(10)[Ix(5)], list(range(Ix(3))), 'a' * Ix(3), [0] * Ix(2))
x[Ix(0)] = 'z'; del x[Ix(1)]; print(x)
print(chr(Ix(97)), bin(Ix(5)), int(Ix(7)), float(Ix(7)), round(1234.5678, Ix(2)))
try: len(Ln())
except ValueError as e: print(e)
#### mapping protocol
class M:
    def keys(self): return ['a', 'b']
    def __getitem__(self, k): return k * 2
print(dict(M()), {**M()}, dict(M(), c=1))
d = {}; d.update(M()); print(d)
def f(**k): return k
print(f(**M()))
#### reflected operators of subclasses
class A:
    def __add__(self, o): return 'A.add'
    def __eq__(self, o): return 'A.eq'
    def __lt__(self, o): return 'A.lt'
class B(A):
    def __radd__(self, o): return 'B.radd'
    def __eq__(self, o): return 'B.eq'
    def __gt__(self, o): return 'B.gt'
print(A() + B(), B() + A(), A() == B(), A() < B(), A() != B(), A() == 1, 1 == A())
class N:
    def __eq__(self, o): return NotImplemented
    def __add__(self, o): return NotImplemented
print(N() == N(), N() != 1, N() == 1)
try: N() + N()
except TypeError as e: print(e)
try: N() < N()
except TypeError as e: print(e)
x = N()
try: x += 1
except TypeError as e: print(e)
try: x -= 'a'
except TypeError as e: print(e)
try: x **= 2
except TypeError as e: print(e)
x = 1
try: x += 'a'
except TypeError as e: print(e)
x = 'a'
try: x += 1
except TypeError as e: print(e)
x = (1,)
try: x += [1]
except TypeError as e: print(e)
x = [1]; x += (2,); x *= 2; print(x)
x = {1}; y = x; x |= {2}; x &= {2, 3}; x ^= {5}; x -= {5}; print(x, y is x)
x = {1: 2}; y = x; x |= {3: 4}; print(y)
x = frozenset([1]); y = x; x |= {2}; print(sorted(x), sorted(y))
#### bool and truth
class T:
    def __bool__(self): return 1
class F:
    def __len__(self): return 0
try: bool(T())
except TypeError as e: print(e)
print(bool(F()), not F(), F() or 'x', [x for x in [F(), 1] if x], list(filter(None, [F(), 2])), any([F()]), all([F()]))
#### views
d = {'a': 1, 'b': 2}
k, v, i = d.keys(), d.values(), d.items()
d['c'] = 3
print(k, v, i, len(k), 'c' in k, 3 in v, ('c', 3) in i, list(k), sorted(v), k & {'a'}, sorted(k | {'z'}), sorted(k - {'a'}), k == {'a', 'b', 'c'}, k >= {'a'}, k.isdisjoint({'q'}))
print([x for x in i], max(d, key=d.get), {y: x for x, y in i}, list(reversed(d)), list(enumerate(d.values())))
for key, value in d.items(): print(key, value, end=';')
print()
#### exceptions print
try: {}['missing']
except KeyError as e: print(e, repr(e), str(e), e.args)
try: [][1]
except IndexError as e: print(e, repr(e))
try: int('q')
except ValueError as e: print(f'{e}', '%s' % e, [e])
class E(Exception):
    def __init__(self, a, b): self.a = a; super().__init__(a, b)
try: raise E(1, 'x')
except E as e: print(e, repr(e), e.a, e.args)
class G(ValueError):
    def __str__(self): return 'custom'
try: raise G(1)
except ValueError as e: print(e, repr(e))
{}['gone']
#### generators with builtins
def g():
    for i in range(3):
        yield i
def h():
    yield 1
    raise ValueError('in generator')
print(sum(g()), max(g()), sorted(g(), reverse=True), list(zip(g(), g())), dict(enumerate(g())), tuple(map(lambda x: x + 1, g())), set(g()) == {0, 1, 2}, ','.join(map(str, g())), 2 in g(), [*g()], any(g()), all(g()))
try: list(h())
except ValueError as e: print(e)
try: sum(x for x in h())
except ValueError as e: print(e)
it = iter(g()); print(next(it), next(it), list(it), next(it, 'end'))
try: next(it)
except StopIteration as e: print('stop', e.value)
a, b, c = g(); print(a, b, c)
print(next(x for x in range(10) if x > 4), list(filter(lambda x: x % 2, g())))
print(list(map(lambda x, y: x * y, g(), range(1, 10))), [list(z) for z in zip(*[g(), g()])])
#### what a delegated iterator returns and is sent
class Own:
    def __init__(self): self.sent = []
    def __iter__(self): return self
    def __next__(self):
        return self.send(None)
    def send(self, value):
        self.sent.append(value)
        if len(self.sent) > 3: raise StopIteration(('end', self.sent))
        return len(self.sent)
def outer(inner):
    got = yield from inner
    print('returned', got)
    return got
def drive(generator, *sent):
    try:
        for value in sent: print('yielded', generator.send(value))
    except StopIteration as e: print('stopped', e.value)
    except Exception as e: print(type(e).__name__, e)
drive(outer(Own()), None, 1, (2, 3), 'x')
class Plain:
    def __init__(self): self.n = 0
    def __iter__(self): return self
    def __next__(self):
        self.n += 1
        if self.n > 2: raise StopIteration(42)
        return self.n
drive(outer(Plain()), None, None, None)
drive(outer(Plain()), None, 'sent')
drive(outer([1, 2]), None, None, None)
drive(outer(range(3)), None, 'sent')
class Thrown(Plain):
    def throw(self, kind, value=None, trace=None):
        print('thrown', kind, value)
        if self.n > 1: raise StopIteration('ended by throw')
        self.n += 1
        return 'from throw'
    def close(self): print('closed')
g = outer(Thrown())
print(next(g), g.throw(ValueError('a')))
try: g.throw(ValueError('b'))
except StopIteration as e: print('stopped', e.value)
g = outer(Thrown())
next(g)
g.close()
g = outer(Plain())
next(g)
try: g.throw(KeyError('k'))
except KeyError as e: print('KeyError', e)
g = outer(Plain())
next(g)
g.close()
def tuples():
    got = None
    while True: got = yield got
def through(): yield from tuples()
g = through()
next(g)
print(g.send((1, 2, 3)), g.send(()), g.send([1]))
def raises():
    yield 1
    raise StopIteration('no')
try: list(outer(raises()))
except RuntimeError as e: print('RuntimeError', e)
#### iterators that are at their end stay there
class Sequence:
    def __init__(self): self.n = 3
    def __getitem__(self, i):
        if i >= self.n: raise IndexError(i)
        return i
s = Sequence()
i = iter(s)
print(list(i))
s.n = 9
print(list(i), next(i, 'end'))
state = [0]
def count():
    state[0] += 1
    return state[0]
i = iter(count, 4)
print(list(i), list(i), next(i, 'end'), state)
def stops():
    state[0] += 1
    if state[0] > 8: raise StopIteration
    return state[0]
i = iter(stops, 100)
print(list(i))
state[0] = 0
print(list(i), state)
class Fails:
    def __getitem__(self, i):
        if i == 1: raise ValueError(i)
        if i > 3: raise StopIteration
        return i
i = iter(Fails())
print(next(i))
try: next(i)
except ValueError as e: print('ValueError', e)
def recurses():
    global it
    if it is None: return 1
    saved, it = it, None
    try:
        list(saved)
        return 0
    finally: it = saved
l = [1, 2]
i = iter(l)
print(list(i))
l.append(3)
print(list(i))
#### keys that change while a dict is gone through
def go(d, change, view=None):
    try:
        for k in (d if view is None else view(d)):
            print(k, end=' ')
            change(d, k)
        print('ended')
    except RuntimeError as e: print('RuntimeError', e)
def put_again(d, k):
    v = d.pop(0)
    d[0] = v
go({0: 1}, put_again)
go({0: 1}, put_again, dict.items)
go({0: 1}, put_again, dict.values)
def grow(d, k): d[k, k] = 1
go({'a': 1, 'b': 2}, grow)
def shrink(d, k): d.pop('b', None)
go({'a': 1, 'b': 2}, shrink)
def same(d, k): d[k] = 5
go({'a': 1, 'b': 2}, same)
d = {1: 1, 2: 2, 3: 3}
del d[3]
print(d.popitem(), d, d.popitem(), d)
try: d.popitem()
except KeyError as e: print(e)
d[7] = 7; d[8] = 8
del d[8]
d[9] = 9
print(d, d.popitem(), list(reversed(d)), d)
s = {1, 2, 3}
try:
    for x in s: s.add(x + 10)
except RuntimeError as e: print(e)
#### keys of classes beside keys of builtin types
class Named:
    def __init__(self, name): self.name = name
    def __eq__(self, other): return self.name == (other.name if isinstance(other, Named) else other)
    def __hash__(self): return hash(self.name)
    def __repr__(self): return f'Named({self.name!r})'
d = {'a': 1, 2: 2, (1, 'x'): 3, None: 4, 2.5: 5}
print(d[Named('a')], d[Named(2)], d[Named((1, 'x'))], d[Named(None)], d[Named(2.5)], Named('z') in d, d.get(Named('b'), 'none'))
d[Named('a')] = 'new'
print(d, len(d))
e = {Named('k'): 1, Named(3): 3}
print(e['k'], e[3], e[3.0], e[True + 2], 'k' in e, 'z' in e, e.get('k'), e.pop('k'), e)
e[3] = 'three'
e.setdefault(3, 'no')
print(e, len(e), 3 in e.keys(), (3, 'three') in e.items())
del e[3]
print(e)
print({Named(1), 1, Named(2)} == {1, 2}, len({Named(1), 1, 1.0, Named(1)}), 1 in {Named(1)}, Named(1) in {1}, Named(1) in frozenset([1, 2]))
s = {Named(1), Named('b')}
s.add(1); s.add('b'); s.discard('b')
print(s, {Named('a')} | {'a'}, {Named('a')} & {'a', 'b'}, {'a', 'b'} - {Named('a')}, {Named('a')} <= {'a', 'b'}, {'a'} ^ {Named('a')})
print({Named('a'): 1} == {'a': 1}, {'a': 1} == {Named('a'): 1}, {Named('a'): 1} | {'a': 2}, dict([(Named('a'), 1), ('a', 2)]), {'a': 1, Named('a'): 3})
class Bad:
    def __eq__(self, other): raise ValueError('compared')
    def __hash__(self): return 1
for attempt in (lambda: {Bad(): 1} == {1: 1}, lambda: {1: 1}[Bad()], lambda: {Bad(): 1}[1], lambda: 1 in {Bad()}, lambda: {Bad(), 1}, lambda: {1: 2, Bad(): 1}):
    try: print(attempt())
    except ValueError as e: print('ValueError', e)
#### classes of dicts make their own kind
from collections import OrderedDict, defaultdict, Counter
class D(dict): pass
class O(OrderedDict): pass
class Given(dict):
    def __init__(self): self['first'] = 0
print(type(D.fromkeys('ab')), D.fromkeys('ab'), type(O.fromkeys('ab', 1)), type(OrderedDict.fromkeys('a')), Given.fromkeys('ab', 2))
print(type(defaultdict.fromkeys('ab')), defaultdict.fromkeys('ab'))
o, p = OrderedDict(a=1), {'b': 2}
print(o | p, p | o, o | OrderedDict(b=3), type(D(a=1) | p), type(p | D(a=1)))
print(defaultdict(int, a=1) | p, p | defaultdict(int, a=1), Counter('ab') | Counter('b'))
o |= p
print(o, dict(o) | {})
#### what int and float take
class Float:
    def __init__(self, value): self.value = value
    def __float__(self): return self.value
    def __int__(self): return self.value
class Index:
    def __init__(self, value): self.value = value
    def __index__(self): return self.value
class I(int): pass
class F(float): pass
class Doubles(int):
    def __int__(self): return 42
class DoublesFloat(float):
    def __float__(self): return 42.5
for make in (lambda: float(Float(3)), lambda: float(Float('1')), lambda: float(Float(True)), lambda: float(Float(2.5)), lambda: int(Float(2.5)), lambda: int(Float('3')),
             lambda: int(Float(7)), lambda: float(Index(3)), lambda: int(Index(3)), lambda: int(Index('a')), lambda: float(Index(2.5)), 
             lambda: type(int(I(5))), lambda: type(float(F(5))), lambda: int(Doubles(7)), lambda: float(DoublesFloat(7)),
             lambda: int(True), lambda: float(10 ** 400), lambda: [1, 2][Index(1)], lambda: int([]),
             lambda: 'a' * Index(3), lambda: [1] * Index(2), lambda: Index(2) * (1,), lambda: b'a' * Index(2)):
    try: print(repr(make()))
    except Exception as e: print(type(e).__name__, e)
for spec in ('', '>12', '.1f', '.3', 'e', 'g', '+', '012.1f'):
    for number in (complex(-0.0, 2), complex(0, 2), complex(-0.0, -0.0), 1.5 - 2j, complex(0.0, -0.0), complex(float('nan'), float('inf'))):
        try: print(format(number, spec), end=' ')
        except ValueError as e: print(e, end=' ')
    print()
#### parts of bytes
b = b'a b  c d '
print(b.split(), b.split(None, 1), b.split(None, 2), b.split(maxsplit=1), b.rsplit(None, 1), b.rsplit(None, 2), b'  a  '.split(None, 0), b' a b'.rsplit(None, 0))
print(b'a|b|c'.split(b'|', 1), b'a\x0bb\x0cc\x1cd\x85e'.split(), bytearray(b' a b c').split(None, 1), bytearray(b'a b').rsplit(), b''.split(), b''.split(b'a'))
for f in (lambda: b'abc'.find(98), lambda: b'abcb'.rfind(98), lambda: b'abca'.count(97), lambda: b'abc'.index(99), lambda: b'abca'.rindex(97), lambda: b'abc'.count(b''), lambda: b'abc'.find(b'', 3), lambda: b'abc'.find(b'', 4),
          lambda: b'abc'.rfind(b''), lambda: b'abca'.count(97, 1), lambda: b'abc'.find(300), lambda: b'abc'.find('a'), lambda: b'abc'.find(-1), lambda: b'abc'.index(100), lambda: bytearray(b'abc').find(98), lambda: bytearray(b'abca').count(97), lambda: bytearray(b'abca').rindex(97),
          lambda: 97 in b'abc', lambda: b'bc' in b'abc', lambda: b'a b'.split('a'), lambda: b'a'.split(b''), lambda: b'abc'.find(b'c', -1), lambda: b'abc'.count(b'c', -1, None), lambda: b'abc'.index(True)):
    try: print(f())
    except Exception as e: print(type(e).__name__, e)
class B(bytes): pass
print(type(B.fromhex('6162')), B.fromhex('61 62') == b'ab', type(bytes.fromhex('61')))
print(b','.join([B(b'a'), bytearray(b'c')]))
#### annotations of what a block defines are texts
import inspect
from dataclasses import dataclass, fields
from typing import Any, Optional, get_type_hints
def f(a: int, b: Optional[str] = None, *rest: 'float') -> list[int]: return a
class C:
    x: int = 3
    y: 'str'
    def m(self, a: Any): pass
print(f.__annotations__, C.__annotations__, C.m.__annotations__)
print(inspect.signature(f), inspect.signature(C.m))
print(get_type_hints(C), get_type_hints(f))
@dataclass
class D:
    a: int
    b: Optional[int] = 3
print(D(1), [(each.name, each.type) for each in fields(D)])
class Bare:
    x: 'int'
print(get_type_hints(Bare), f.__module__, C.__module__)
#### order of counters
from collections import Counter
a, b = Counter('ab'), Counter('aab')
print(a <= b, a < b, b >= a, b > a, a < a, a <= a, a >= b, Counter(x=-1) < Counter(), Counter() <= Counter(y=0))
print(Counter(a=1) <= Counter(b=1), Counter() < Counter(b=1), sorted([b, a]) == [a, b])
for action in (lambda: Counter.fromkeys('ab'), lambda: Counter().fromkeys('ab'), lambda: a < {}, lambda: a <= 3):
    try: print(action())
    except Exception as e: print(type(e).__name__, e)
#### math of objects that say their number
import math
class Half:
    def __float__(self): return 0.5
class Two:
    def __index__(self): return 2
print(math.sqrt(Two()), math.sin(Half()), math.atan2(Half(), 1), math.fmod(Two(), Half()), math.exp(Half()))
class Wrong:
    def __float__(self): return 'x'
try: math.sqrt(Wrong())
except TypeError as e: print(e)
#### classes of builtins show no module
class Plain:
    __module__ = 'builtins'
    class Inner:
        __module__ = 'builtins'
print(Plain, Plain.Inner, repr(Plain()).split(' at ')[0], repr(Plain.Inner()).split(' at ')[0])
