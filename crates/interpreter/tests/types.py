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
