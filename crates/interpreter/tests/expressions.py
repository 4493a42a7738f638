# Integers
1//0
1%0
1/0
divmod(1,0)
0**-1
7//2, -7//2, 7//-2, -7//-2
7%3, -7%3, 7%-3, -7%-3
divmod(-7,3), divmod(7,-3)
2**10, 2**-1, (-2)**3, 2**100, (-3)**41
1<<70, -1>>3, 5>>100, -5>>100, 1<<0
1<<-1
1>>-1
10**20//7, -10**20//7, 10**20%7, -10**20%7, 10**20 % -7
10**20/3, 10**400/10**399, 1/10**400
(2**53+1)/1, (2**63)/3, 12345678901234567890/7
10**400/3
5&3, 5|3, 5^3, ~5, -6&11, -6|11, (-6)^11
2**70 & 2**69-1, -2**70 | 1
True+True, True&False, True|1, True^True, -True, ~False
9223372036854775807+1, -9223372036854775808-1, 9223372036854775807*2, -(-9223372036854775808)
9223372036854775807 == 9223372036854775807.0, 2**53 == 2.0**53, 2**53+1 == 2.0**53
2**63 > 9.2e18, 2**1000 > 1e300, 10**400 > 1e308, 10**400 < float('inf'), -10**400 > float('-inf')
1 == 1.0 == True, 0 == False, 1 != 2
int('12'), int('  -12 '), int('1_000'), int('0x1f', 16), int('0b11', 2), int('z', 36), int('0o17', 0), int('ff', 16)
int('x')
int('')
int('1__0')
int('010', 0)
int('12', 99)
int([])
int(1, 2)
int(3.9), int(-3.9), int(True), int(1e30)
int(float('inf'))
int(float('nan'))
int('9'*5000)
str(10**5000)
(255).bit_length(), (0).bit_length(), (-5).bit_length(), (255).bit_count()
(5).real, (5).imag, (5).numerator, (5).denominator, (5).conjugate(), True.real
(1024).to_bytes(2, 'big'), (1024).to_bytes(4, 'little'), (-1).to_bytes(2, 'big', signed=True), (5).to_bytes()
(256).to_bytes(1, 'big')
(-1).to_bytes(1, 'big')
int.from_bytes(b'\x04\x00', 'big'), int.from_bytes(b'\xff\xff', 'little', signed=True), int.from_bytes([1, 2], 'big')
hex(255), oct(8), bin(5), hex(-255), bin(-5)
hex('a')
oct(1.0)
pow(2, 10), pow(2, 10, 1000), pow(3, -1, 7), pow(2.0, 3)
pow(2, -1, 4)
pow(2, 3, 0)
abs(-5), abs(-2.5), abs(3+4j), abs(True), abs(-10**30)
abs('a')
abs()
round(2.5), round(3.5), round(-2.5), round(2.675, 2), round(1234, -2), round(1250, -2), round(1350, -2), round(0.5)
round(1.005, 2), round(1e20), round(1234.5678, -2), round(2.5, 0), round(float('inf'), 2), round(15, -1), round(25, -1)
round('a')
(10).__add__(5), (10).__len__ if hasattr(10, '__len__') else 'none'
hash(1), hash(1.0), hash(True), hash(2**61-1), hash(-1), hash(2**100), hash(0.5), hash(1e300), hash(-2.5), hash(float('inf'))
hash((1, 2, 3)), hash(()), hash((1,)), hash((0.5, -1))
isinstance(True, int), isinstance(1, bool), isinstance(1, (str, int)), isinstance(1, int | str), isinstance(None, type(None))
issubclass(bool, int), issubclass(int, object), issubclass(int, (str, int)), issubclass(int, str)
isinstance(1, 1)
issubclass(1, int)
int.__name__, type(1).__name__, type(type), type(int), type(None)
# Floats
1.0//0
1.0%0
1.0/0
divmod(1.0,0)
0.0**-1
7.5//2, -7.5//2, 7.5%2, -7.5%2, 7.5%-2, divmod(-7.5, 2), -0.0//1, 0.0%-3
1e308*10, -1e308*10, 1e-320/10
2.0**0.5, (-8)**(1/3), 2.0**-1074, 4**0.5, 0.0**0
10.0**400
2.0**10000
0.1+0.2, 1e16, 1e15, 123456789012345678.0, 1e22, 1e-4, 1e-5, 5e-324, 1.7976931348623157e308, 1e400, -0.0, 100.0, 0.1
-0.0200824737548828125, [k * 2.0 ** -n for n in (17, 26, 41, 52, 53, 54, 55, 56, 60) for k in range(1, 2000, 37)], [k * 2.0 ** n + k for n in (40, 50, 53, 60, 70) for k in (1, 3, 7, 11, 101, 1003)]
float('1.5'), float(' inf '), float('-Infinity'), float('nan'), float('1e5'), float('1_0.5'), float('.5'), float('5.')
float('x')
float('1__0')
float('')
float([])
float(5), float(True), float(10**30), float(b'1.5')
float(10**400)
(1.5).is_integer(), (2.0).is_integer(), (0.75).as_integer_ratio(), (1.5).hex(), (-0.1).hex(), (0.0).hex()
(1.5).real, (1.5).imag, (1.5).conjugate()
float('nan') == float('nan'), float('nan') != 1, float('nan') < 1, 1 < float('inf')
-1.5, +1.5, -(-0.0)
~1.5
1.5 & 1
# Complex
1j, 1+2j, -1j, 1-2j, complex(1, 2), complex('1+2j'), complex('j'), complex(1.5), complex(), complex('-1.5e3-2j')
(1+2j)*(3-1j), (1+2j)/(3-1j), (1+2j)**2, (1+2j)+1, 1-(1+2j), (1+2j) == (1+2j), 1j**2
(1+2j).real, (1+2j).imag, (1+2j).conjugate(), abs(3+4j)
1j < 2
1j/0
complex('x')
complex(1, 'a')
repr(-0j), repr(complex(1.5, -0.0)), repr(complex(0, float('inf')))
# Operators and errors
[1]*2.0
'a'+1
1+'a'
[1]+(1,)
(1,)+[1]
b'a'+'a'
-'a'
2**'a'
1<'a'
[1]<['a']
None<1
1<<1.0
{}|[]
{1}|[1]
{1}-1
{1}<1
None+1
{}+{}
[]-[]
'a'-'b'
1@2
'a'*2, 2*'a', 'a'*0, 'a'*-1, [1]*2, 2*[1], (1,)*3, b'a'*2, [1]*True
'a'*2**70
None[0]
1[0]
None()
1()
'abc'.foo
(1).foo
[].foo
None.foo
{}.foo
(1,2).foo
len.foo
int.x
len(1)
len()
len(1,2)
# Strings
'abc'[0], 'abc'[-1], 'abc'[1:], 'abc'[::-1], 'abc'[5:], 'äöü'[1], 'äöü'[::-1], 'abcdef'[1:5:2], 'abcdef'[-2::-2]
''[0]
'a'['b']
'a'[1.0]
'a'[10**30]
'abc' < 'abd', 'a' < 'B', 'a' == 'a', 'abc' in 'xabcx', '' in '', 'z' not in 'abc'
1 in 'abc'
'hello world'.capitalize(), 'HELLO'.casefold(), 'hi'.center(7, '*'), 'hi'.center(6), 'abc'.center(6, '-')
'banana'.count('a'), 'banana'.count(''), 'banana'.count('a', 2), 'banana'.count('an', 0, 3), ''.count('')
'abc'.encode(), 'ä'.encode(), 'ä'.encode('latin-1'), 'aä'.encode('ascii', 'ignore'), 'aä'.encode('ascii', 'replace')
'\u1234'.encode('ascii')
'abc'.encode('x')
'abc'.endswith('c'), 'abc'.endswith(('x', 'bc')), 'abc'.startswith('b', 1), 'abc'.startswith(''), 'abc'.startswith('', 5)
'abc'.startswith(1)
'a\tb\t'.expandtabs(), 'a\tb'.expandtabs(4), 'a\tb'.expandtabs(0)
'banana'.find('an'), 'banana'.find('x'), 'banana'.rfind('an'), 'banana'.find('an', 2), 'banana'.find('', 6), 'banana'.find('', 7), 'äbc'.find('c')
'a'.index('b')
'banana'.index('n'), 'banana'.rindex('n')
'abc'.isalnum(), 'abc1'.isalpha(), '12'.isdigit(), '½'.isnumeric(), '²'.isdigit(), '²'.isdecimal(), ''.isalpha(), 'a_b'.isidentifier(), '1a'.isidentifier()
'abc'.islower(), 'aBc'.islower(), 'ABC'.isupper(), 'A1'.isupper(), '1'.isupper(), ' \t\n'.isspace(), 'Hello World'.istitle(), 'abc'.isascii(), 'a\n'.isprintable()
', '.join(['a', 'b']), ''.join('abc'), '-'.join(x for x in 'ab'), ','.join([])
'a'.join([1])
''.join(1)
''.join(['a', None])
'ab'.ljust(4) + '|', 'ab'.rjust(4, '0'), 'ab'.ljust(1)
'Hello'.lower(), 'Hello'.upper(), 'Hello'.swapcase(), 'hello world'.title(), "they're".title(), 'ß'.upper()
'ß'.title(), 'ŉa'.title(), 'ǆa'.title(), 'ǆa'.capitalize(), 'ﬁx'.capitalize(), 'ﬃ'.title(), 'և'.title(), 'ფა'.title(), 'ფა'.upper()
'ΑΣ ΣΑ'.title(), 'ΑΣ'.capitalize(), 'ΑΣ'.swapcase(), 'ᾳᾴᾷ ᾷ'.title(), 'ᾆ'.title(), 'ᾼ'.swapcase(), 'ǅ'.swapcase(), 'İx'.title(), 'İXİ'.title()
'中a x1a ʼn'.title(), 'ǅ'.isupper(), 'ǅ'.islower(), 'ǅ'.istitle(), 'ǅa'.istitle(), '中a'.istitle(), '中A'.istitle(), 'AB'.istitle(), '1'.istitle()
'  abc '.strip(), '  abc '.lstrip(), '  abc '.rstrip(), 'xxabcxx'.strip('x'), 'abcba'.strip('ab'), 'abc'.strip('')
'a=b=c'.partition('='), 'a=b=c'.rpartition('='), 'abc'.partition('x'), 'abc'.rpartition('x')
'abc'.partition('')
'prefix_x'.removeprefix('prefix'), 'x.py'.removesuffix('.py'), 'abc'.removesuffix('')
'banana'.replace('a', 'o'), 'banana'.replace('a', 'o', 2), 'abc'.replace('', '-'), 'abc'.replace('', '-', 2), 'aaa'.replace('aa', 'b'), 'abc'.replace('x', 'y', -1)
'abc'.replace('a')
'abc'.replace('a', 1)
'a b  c '.split(), 'a b  c '.split(' '), 'a,b,c'.split(',', 1), ' a b c '.split(None, 1), ''.split(), ''.split(','), 'abc'.split('x'), 'a b c'.split(maxsplit=1)
'a b  c '.rsplit(), 'a,b,c'.rsplit(',', 1), ' a b c '.rsplit(None, 1), 'a b c d'.rsplit(maxsplit=2)
'a'.split('')
'a\nb\r\nc'.splitlines(), 'a\nb\n'.splitlines(True), ''.splitlines(), '\n'.splitlines()
'abc'.translate({97: 'x', 98: None}), 'abc'.translate(str.maketrans('ab', 'xy', 'c')), str.maketrans({'a': 1})
'42'.zfill(5), '-42'.zfill(5), '+1'.zfill(4), 'abc'.zfill(2)
'x'.zfill('a')
'a'.center()
'a'.center(3,'ab')
str.join()
str.join(1)
str.upper('abc'), str.join(',', ['a', 'b']), list(map(str.strip, [' a ', 'b ']))
str(), str(1), str(None), str(1.0), str('a'), str([1, 'a']), str(b'abc', 'utf-8'), str(object=5)
str(b'a','x')
str(1,2)
chr(97), chr(8364), ord('a'), ord('€'), ord(b'a')
chr(-1)
chr(1114112)
chr('a')
ord('ab')
ord(1)
'a' 'b', 'é' == 'e\u0301', len('é'), len('😀'), '😀'[0]
'abc'.__len__(), 'abc'.__contains__('a'), 'a'.__add__('b'), 'abc'.__getitem__(1)
# repr
repr('a\'b'), repr('a"b\''), repr('\x00\n\t\\\r'), repr('\u200b\xa0\xad😀\ue000ä'), repr('e\u0301'), ascii('ä😀'), ascii([1, 'é'])
repr(b'a\'\x00\xff\n'), repr(b"it's"), repr(b'')
repr(range(3)), repr(range(1,5,2)), repr(slice(1,None)), repr({1}), repr(frozenset({1})), repr(set()), repr(frozenset())
repr(int), repr(type(None)), repr(...), repr(NotImplemented), repr((1,)), repr(()), repr({}.keys()), repr({1:2}.items()), repr({1:2}.values())
repr(ValueError('x')), repr(ValueError()), repr(ValueError(1, 'a')), str(ValueError('x')), str(KeyError('k')), str(ValueError(1, 2)), repr(ValueError)
repr(len), repr(print), repr(int), repr(enumerate), repr(zip)
[[...], {'a': [1, (2,)]}, {1, }], {'a': {}}
# bytes
b'abc'[0], b'abc'[1:], b'abc'[::-1], b'abc' + b'd', b'a' in b'abc', 97 in b'abc', b'abc'.decode(), len(b'abc'), list(b'ab')
bytes([65, 66]), bytes(3), bytes('ä', 'utf-8'), bytes(b'ab'), bytes(), bytes.fromhex('6162 63'), b'abc'.hex()
bytes([256])
bytes(-1)
bytes('a')
b'a'.decode('x')
b'\xff'.decode()
b'\xc3'.decode()
b'\xff'.decode('latin-1'), b'a\xff'.decode('utf-8', 'replace'), b'a\xff'.decode('ascii', 'ignore')
b'a,b'.split(b','), b' a '.strip(), b'abc'.find(b'c'), b'abc'.replace(b'b', b'x'), b'abc'.startswith(b'a'), b'-'.join([b'a', b'b']), b'aXb'.lower()
b'abc'[5]
b'a' < b'b', b'a' == 'a'
# Lists
[][0]
[][1.0]
[1,2][::0]
[].pop()
[1].pop(5)
[].append()
[].append(1,2)
[].index(3)
[1,2,3].index(1,2)
[].remove(1)
[1,2,3,2].index(2), [1,2,3,2].index(2, 2), [1,2,3].count(2), [1, 1.0, True].count(1), [1,2,3][-1], [1,2,3][1:], [1,2,3,4][::2], [1,2,3][::-1], [1,2,3][5:]
[1,2] == [1,2], [1,2] < [1,3], [1,2] < [1,2,0], [] < [1], [1] != [1], [[1]] == [[1]], [1,'a'] == [1,'a'], [float('nan')] == [1]
[1, 2] + [3], [1] * 3, 1 in [1, 2], [1] in [[1]], None in [None]
list('abc'), list(range(3)), list({1: 2}), list((1, 2)), list(), [*range(3), *'ab']
list(1)
(lambda x: (x.append(4), x.extend('ab'), x.insert(1, 'i'), x.insert(-100, 'f'), x.insert(100, 'l'), x.pop(), x.pop(0), x.remove(2), x.reverse(), x))([1, 2, 3])
(lambda x: (x.sort(), x))([3, 1, 2]), (lambda x: (x.sort(reverse=True), x))([3, 1, 2]), (lambda x: (x.sort(key=len), x))(['bb', 'a', 'cc'])
(lambda x: x.sort(1))([3, 1, 2])
(lambda x: x.sort(foo=1))([3, 1, 2])
(lambda x: (x.__setitem__(slice(1, 2), [7, 8, 9]), x))([1, 2, 3]), (lambda x: (x.__delitem__(slice(None, None, 2)), x))([1, 2, 3, 4, 5])
(lambda x: (x.__setitem__(slice(None, None, 2), [7, 8]), x))([1, 2, 3])
(lambda x: (x.__setitem__(slice(None, None, 2), [7]), x))([1, 2, 3])
(lambda x: x.__setitem__(5, 1))([1, 2, 3])
(lambda x: (x.clear(), x.copy(), x))([1, 2, 3])
list.append()
list.append(1,2)
sorted([3,1,2]), sorted('hello'), sorted([3,1,2], reverse=True), sorted(['b','A','c'], key=str.lower), sorted({3:1,1:2}), sorted([(1,'b'),(1,'a')]), sorted([True, 0, 2.5])
sorted([(1, 'a'), (0, 'b'), (1, 'c')], key=lambda p: p[0], reverse=True), sorted([1.5, float('-inf'), 3])
sorted()
sorted([1],2)
sorted([1,'a'])
sorted([1, None])
sorted([[1], [0, 5]]), sorted(range(20), key=lambda x: (x % 3, -x))
# Tuples
()[0]
(1,2,3)[1], (1,2,3)[-1], (1,2,3)[::2], (1,) + (2,), (1,2) < (1,3), (1,2).count(1), (1,2).index(2), tuple('ab'), tuple([1]), ()
().index(3)
tuple(1)
(1, 2)['a']
# Dicts
{}[1]
{1: 2}['a']
{'a': 1}['b']
{[]:1}
{1,[]}
{(1, []): 1}
{}.pop(1)
{}.popitem()
{1: 'a', 'b': 2, None: 3, (1, 2): 4}, {1: 'a', 1.0: 'b', True: 'c'}, {'a': 1, **{'b': 2}}
(lambda d: (d.get('a'), d.get('x'), d.get('x', 5), d.pop('a'), d.pop('x', None), d.setdefault('n', 1), d.setdefault('n', 2), d.popitem(), d))({'a': 1, 'b': 2})
(lambda d: (d.update({'a': 9}), d.update([('c', 3)]), d.update(z=26), d.update(), d))({'a': 1})
list({'a': 1}.items()), list({'a': 1}.keys()), list({'a': 1}.values()), 'a' in {'a': 1}, len({'a': 1}), ('a', 1) in {'a': 1}.items(), 1 in {'a': 1}.values()
{'a': 1} == {'a': 1}, {'a': 1, 'b': 2} == {'b': 2, 'a': 1}, {'a': 1} == {'a': 1.0}, {1: 2} != {1: 3}, {'a': 1} | {'b': 2}, {'a': 1}.keys() & {'a', 'c'}, {'a': 1}.keys() == {'a'}
dict(), dict(a=1), dict([(1, 2)]), dict({1: 2}, b=3), dict(zip('ab', [1, 2])), dict.fromkeys('ab'), dict.fromkeys([1], 0), dict([['a', 1]]), dict(['ab'])
dict(1)
dict([1])
dict([(1,2,3)])
dict(a=1)['a'], {**{'x': 1}}, {k: v for k, v in zip('ab', range(2))}
{1:2}.update(3)
{1:2}.update([3])
list(reversed({'a': 1, 'b': 2})), list(reversed({'a': 1}.items())), (lambda d: (d.clear(), d))({1: 2}), {1: 2}.copy()
{1: 2} < {1: 3}
{float('nan'): 1}, {0.0: 'a', -0.0: 'b'}, {2**70: 1}[2.0**70], {(1, (2, 3)): 5}[(1, (2, 3))], {b'a': 1}[b'a'], {frozenset([1, 2]): 1}[frozenset([2, 1])], {range(3): 1}[range(0, 3)]
# Sets
{1} | {2}, {1, 2} & {2}, {1, 2} - {2}, {1, 2} ^ {2, 3}, {1} < {1, 2}, {1} <= {1}, {1, 2} > {1}, {1} == {1.0}, {1} != {2}, frozenset([1]) == {1}
{1, 2}.union([3], (4,)), {1, 2}.intersection([2]), {1, 2}.difference([2]), {1}.symmetric_difference([2]), {1}.issubset([1, 2]), {1, 2}.issuperset([1]), {1}.isdisjoint([2])
(lambda s: (s.add(3), s.discard(9), s.remove(1), s.update([5], [6]), s.difference_update([5]), len(s), 3 in s, s))({1, 2})
(lambda s: (s.intersection_update({1}), s.symmetric_difference_update({1, 4}), s))({1, 2})
{1}.remove(2)
set().pop()
set(1)
{1}[0]
{1, 'a'} == {'a', 1}, set('aab') == {'a', 'b'}, frozenset('ab') | {'c'} == {'a', 'b', 'c'}, type(frozenset() | {1}).__name__, type({1} | frozenset()).__name__, {frozenset([1])} == {frozenset([1])}, {1} in [{1}]
hash(frozenset([1, 2])) == hash(frozenset([2, 1])), {1, 2, 3} >= {1}, not {1} >= {2}
# Range and slice
range(3)[9]
range(1,2,0)
range(3).index(9)
range()
range(1.0)
range(1, 2, 3, 4)
list(range(5)), list(range(2, 5)), list(range(5, 0, -2)), list(range(0)), len(range(10**15)), range(10)[3], range(10)[-1], range(10)[2:5], range(10)[::-2], 5 in range(10), 5.0 in range(10), 'a' in range(3)
range(3) == range(0, 3, 1), range(0) == range(1, 1), range(0, 3, 2) == range(0, 4, 2), list(reversed(range(5))), range(10).index(4), range(10).count(4), range(5).start, range(5).stop, range(5).step, hash(range(3)) == hash(range(0, 3))
slice(1, 2).indices(5), slice(None, None, -1).indices(5), slice(1, 2, 3).step, slice(5), slice(1, 2) == slice(1, 2)
slice()
[1,2,3][slice(1, None)], 'abc'[slice(-1)], [1, 2]['a':]
range(10**18, 10**18 + 3)[1], list(range(-5, 5, 3)), bool(range(0)), bool(range(1))
# Functions
max(1, 2), max([3, 1]), min('b', 'a'), max([], default=0), max('abc', key=ord), min([1, -2], key=abs), max([1, 1.0]), max((1, 'a'), (1, 'b')), min(3, 1, 2)
max([])
max(1)
min(1,'a')
max()
max(1, 2, default=3)
sum([1, 2]), sum([1.5, 2]), sum([[1], [2]], []), sum(range(101)), sum([], 5), sum(x for x in [1, 2]), sum([True, True]), sum([0.1] * 3), sum([1], start=10)
sum(['a'])
sum(['a'], '')
sum(1)
any([]), all([]), any([0, 1]), all([1, 0]), any(x > 2 for x in range(5)), all(x < 5 for x in range(5))
all(1)
any()
list(enumerate('ab')), list(enumerate('ab', 5)), list(enumerate('ab', start=1)), list(zip([1, 2], 'ab')), list(zip()), list(zip([1])), list(zip([1, 2, 3], 'ab')), list(zip('ab', [1, 2], strict=True))
enumerate()
list(zip([1],[1,2],strict=True))
list(zip([1,2],[1],strict=True))
list(zip([1,2],[1,2],[1],strict=True))
zip(1)
list(map(str, [1, 2])), list(map(lambda a, b: a + b, [1, 2], [3, 4])), list(filter(None, [0, 1, '', 'a'])), list(filter(lambda x: x > 1, [1, 2, 3])), list(reversed([1, 2, 3])), list(reversed('ab')), list(reversed((1, 2)))
map()
map(1)
list(map(1,[1]))
filter(None)
reversed(1)
reversed({1})
iter(1)
next(1)
next(iter([])) if False else 'skip'
next(iter([]), 'default'), next(iter([1])), list(iter([1, 2])), list(iter((lambda it: lambda: next(it))(iter([1, 2, 3, 0])), 3))
divmod(7, 3), divmod(7.5, 2), divmod(-7, 2)
divmod(1)
divmod('a', 1)
callable(len), callable(1), callable(int), callable(lambda: 0)
getattr('abc', 'upper')(), getattr(1, 'x', 'default'), hasattr('a', 'upper'), hasattr(1, 'x')
getattr(1,'x')
getattr(1, 2)
setattr(1,'x',2)
delattr(1,'x')
type(1), type('a'), type([]), type(1.5), type(()), type({}), type(set()), type(len).__name__, type(lambda: 0).__name__, type(iter([])).__name__, type(range(3)), type(x for x in []).__name__
type(1) is int, type('') == str, type(1) in (int, float), type([]) is not tuple, int is int, len is len
type(1,2)
bool(), bool([]), bool('a'), bool(0.0), bool(None), bool(object()), not [], not 1
bool(1,2)
hash([])
hash({})
hash('a') == hash('a'), hash(None) == hash(None), hash(()) == hash(())
id(1) == id(1), id([]) != id([1]) or True
print(sep=1)
print(x=1)
vars(1)
dir(1,2)
object(1)
'a' is 'a', None is None, [] is [], 1 is not None
isinstance('a', str), isinstance([], list), isinstance({}, dict), isinstance((), tuple), isinstance(1.0, float), isinstance(len, type(len)), isinstance(int, type), isinstance(ValueError(), Exception), isinstance(True, bool)
# format
format(1, 'abc')
format(1, '.3d')
format('a', '+')
format('a', '=5')
format('a', ' ')
format('a', ',')
format(1, ',s')
format(1, ',x')
format(1, '_,')
format(1.5, 'x')
format(1, '+c')
format('a', '#')
format(1, 'z')
format(1, '.f')
format(1, '99999999999999999999')
format(None, '5')
format([], 'd')
format('a', 'd')
format(1.0, 'd')
format(1, '1.2.3')
format(300000000, 'c')
format(1, 'c'), format(65, 'c'), format(True, 'd'), format(True, ''), format(True, '5'), format(1, '_x'), format(1.5, 'z.0f'), format(-0.0, 'z.1f')
format(1e10, ','), format(1234567.891, ',.2f'), format(1234567, '012,'), format(-1234567, '015,'), format(1234567, '_'), format(0x12345678, '_x'), format(255, '_b'), format(1234, '010,.2f')
format(1.5, '%'), format(5, '%'), format(0.12345, '.1%'), format(1+2j, '.2f'), format(1+2j, ''), format(12345, 'n'), format(1.5, 'n')
format(0.1, '.3g'), format(1e20, 'g'), format(1e-5, 'g'), format(100000.0, 'g'), format(1000000.0, 'g'), format(1e16, ''), format(1.0, ''), format(1.0, '#g'), format(1.0, '#.0f'), format(0.0, 'g'), format(123456789.0, 'g'), format(0.00001234, '.2g')
format(1.5, '5'), format(1e16, '5'), format(123.456, '.2'), format(123.456, '10.4'), format(1e100, '.3'), format(float('nan'), '010'), format(float('inf'), '+f'), format(float('-inf'), '010f'), format(1.0, '.0'), format(12.0, '.2'), format(1.0, '.3')
format(3, '#x'), format(3, '#010b'), format(-3, '#o'), format(255, 'X'), format(255, '#X'), format(3, '<05'), format(3, '*^9'), format(3, '+'), format(-3, ' '), format(3, ' '), format(3, '=+5'), format(-3, '05'), format(3, '>5'), format(10**30, ',')
format('abc', '.2'), format('abc', '>5.2'), format('abc', '05'), format('abc', '^7'), format('abc', 'x<5'), format('ä', '>3'), format('abc', 's'), format('abc', '')
format(3.0, '.0e'), format(1234.5, 'e'), format(1234.5, '.3E'), format(0.0, 'e'), format(1e-10, '.2e'), format(2.5, '.0f'), format(3.5, '.0f'), format(1e300, '.1f')[:5], format(0.1, '.20f'), format(1/3, '10.3f'), format(-1.5, '+.1f'), format(1.5, ' f')
f'{1:>5}|{"a":<3}|{1.5:.2f}|{1!r}|{"a"!r:>5}|{[1]}|{1=}|{None}'
f'{3:{5}}', f'{1.23456:.{2}f}', f'{{}}', f'{"a" "b"}', f'{1,2}', f'{ {1:2}[1] }'
'{} {}'.format(1, 'a'), '{1} {0}'.format(1, 2), '{a} {b}'.format(a=1, b=2), '{0.real} {1[a]} {2[0]}'.format(1, {'a': 5}, [7]), '{:>5}|{:<5}|{:^5}'.format(1, 2, 3), '{:>{w}}'.format(1, w=5), '{!r:>5}'.format('a'), '{{}}'.format(), '{:{}}'.format(1, 5), '{:,}'.format(1234567), '{0}{0}'.format('a'), '{:.2%}'.format(0.5)
'{}'.format()
'{a}'.format()
'{0} {}'.format(1)
'{} {0}'.format(1)
'{'.format()
'}'.format()
'{!x}'.format(1)
'{!}'.format(1)
'{!r'.format(1)
'{0!rr}'.format(1)
'{a.b}'.format(a=1)
'{0[x]}'.format([1])
'{a}'.format_map({'a': 1})
'{a}'.format_map({})
'%s' % None, '%s %s' % (1, 'a'), '%d' % 3.9, '%5.2f|%-5d|%05d|%+d|%x|%X|%o|%e|%g|%%|%c|%r|%a' % (1.234, 3, 4, 5, 255, 255, 8, 1.5, 1e10, 'a', 'b', 'ü')
'%(a)s %(b)05.1f' % {'a': 1, 'b': 2.25}, '%*d' % (5, 1), '%.*f' % (2, 1.2345), '%.3s' % 'abcdef', '%i' % True, '%s' % (1,), '%s' % [1], '%s' % {'a': 1}, '%#x' % 255, '% d' % 5, '%.0f' % 0.5, '%u' % 3, '%d' % 10**30, '%.10d' % 5, '%-10s|' % 'a', '%c' % 97, 'a' % {}, 'a' % (), '%g' % 1e-5, '%G' % 1e-10, '%E' % 12345.678, '%#o' % 8
'%(a)s' % 1
'%(a)s' % {}
'%q' % 1
'%' % 1
'%c' % 'ab'
'%x' % 1.5
'%f' % 'a'
'%d' % 'a'
'%s %s' % ('a',)
'%d %d' % 1
'%d' % (1,2)
'a' % 1
'%s' % ()
# Nests and mixtures
(lambda f: f(f, 300))(lambda f, n: [f(f, n - 1)] if n else []) == (lambda f: f(f, 300))(lambda f, n: [f(f, n - 1)] if n else [])
len(repr((lambda f: f(f, 300))(lambda f, n: [f(f, n - 1)] if n else [])))
hash((lambda f: f(f, 100))(lambda f, n: (f(f, n - 1),) if n else ())) == hash((lambda f: f(f, 100))(lambda f, n: (f(f, n - 1),) if n else ()))
[1, [2, (3, {4: {5}})]] == [1.0, [2, (3, {4: {5}})]], {'a': [1]} == {'a': [1]}, ([], {}) == ([], {}), [1] == (1,), {1} == [1], 'a' == b'a', None == 0
{frozenset([i]): i for i in range(50)}[frozenset([7])], {(i, frozenset([i, (i,)])) for i in range(5)} == {(i, frozenset([(i,), i])) for i in range(5)}
[x for x in 'abc' if x != 'b'], {x: x * 2 for x in range(3)}, {x % 2 for x in range(5)} == {0, 1}, list(x * y for x in range(3) for y in range(x))
str(123)[::-1], ''.join(sorted('hello')), ' '.join(map(str, range(5))), dict(zip('abc', range(3))), [*map(int, '123')], sum(map(int, str(2**50)))
'%s' % (('a', 'b'),), '%r' % 'x', '{!s}'.format(None), f'{3.14159:.2f} {1e6:,.0f} {0.5:.0%} {255:#x} {"a":>3} {True!s:>6} {[1, 2]!r}'
(1, 'a', 2.5, None, True, [1], {'k': (1,)}), type((1,)) is tuple, (lambda *a, **k: (a, k))(1, *[2], x=3, **{'y': 4})
max({'a': 3, 'b': 5}, key={'a': 3, 'b': 5}.get), min([(2, 'a'), (1, 'z')]), sorted({'b': 1, 'a': 2}.items(), key=lambda kv: -kv[1]), list(zip(*[(1, 'a'), (2, 'b')]))
[i for i, c in enumerate('banana') if c == 'a'], any(c.isupper() for c in 'aBc'), [a or b for a, b in [(0, 1), (2, 3)]], not any([[], {}, (), '', 0, None])
int('1' * 30) * int('9' * 30), 2**200 // 3**50, (2**200) % 97, -(2**100) // 7, (2**64).bit_length(), str(2**64), f'{2**64:,}', hex(2**64), float(2**64), 2**64 / 2**60
1 < 2 < 3, 1 < 2 > 3, 1 == 1 != 2, 0 or 'x', 1 and 'y', not None, 5 if [] else 6, (1, 2) < (1, 2, 3), [1, 2] <= [1, 2], 'abc' >= 'abd'
[1, 2, 3].__len__(), [1].__contains__(1), {'a': 1}.__getitem__('a'), (1).__add__(2), (1).__add__('a'), 'a'.__eq__('a'), (5).__bool__(), (1.5).__int__(), [].__class__, (1).__class__.__name__, [3].__iter__().__next__()
dict.get({'a': 1}, 'a'), list.append.__name__, str.upper.__name__, int.bit_length(5), dict.items({1: 2}), sorted(['b', 'A'], key=str.casefold), list(map(str.upper, 'ab')), [*filter(str.isdigit, 'a1b2')]
str(ValueError('a', 1)), str(KeyError('a')), repr(KeyError('a')), str(IndexError()), ValueError('x').args, isinstance(KeyError(), LookupError), issubclass(ZeroDivisionError, ArithmeticError), str(OSError(2, 'no'))
'abc'.x
(1).real.x
[].append(1, 2)
{}.get()
''.split(1)
'a'.join()
[1, 2].pop('a')
[1, 2].insert(1)
{}.setdefault()
'abc'.find()
'abc'.replace('a', 'b', 'c')
(1, 2).index()
{1, 2}.add()
sorted(1)
sum()
min([], default=None), max([], default='x'), sum([], start=[]), list(zip([], [1])), list(map(None.__class__, [])), all([]), [] or 'e'
round(1.5, 'a')
chr(1.5)
range('a')
range(1, 'a')
[1, 2, 3]['a']
{}[[]]
(1, 2)[5]
b'abc'['a']
'abc'[1, 2]
int('1.5')
float('1,5')
[] > ()
{} > {}
'a' > 1
None > None
1 in 5
'a' in 5
len(5)
len(None)
abs(None)
-None
-[]
+'a'
~[]
not_defined
[1] + None
'a' + None
None + 'a'
1 + [1]
{} + 1
5 ** 'a'
5 // 'a'
5 % 'a'
5.0 % 'a'
'a' % 5 if False else 1
5 & 1.5
5 << 'a'
(1).__add__()
'{:d}'.format('a')
'{:.2f}'.format('a')
f'{"a":d}'
f'{None:5}'
f'{[1]:5}'
'{:x}'.format(1.5)
'{:,d}'.format(1.5)
'{:+}'.format('a')
# letters, numerals and names by Unicode's categories
"ß".casefold(), "ẞ".casefold(), "ſ".casefold(), "İ".casefold(), "ﬃ".casefold(), "ΣΑΣ".casefold(), "ı".casefold(), "ꭰᏸ".casefold()
"Straße".casefold() == "STRASSE".casefold()
"Ⅷ".isalpha(), "ª".isalpha(), "ʰ".isalpha(), "中".isalpha(), "\u0345".isalpha(), "a1".isalpha(), "".isalpha()
"Ⅷ".isalnum(), "a1".isalnum(), "½".isalnum(), "_".isalnum(), "\u0301".isalnum(), "٣".isalnum()
"٣".isdecimal(), "²".isdecimal(), "12".isdecimal(), "Ⅷ".isdecimal(), "𝟗".isdecimal()
"²".isdigit(), "٣".isdigit(), "½".isnumeric(), "Ⅷ".isnumeric()
"a_1".isidentifier(), "1a".isidentifier(), "é".isidentifier(), "a\u0301".isidentifier(), "ﬁ".isidentifier(), "".isidentifier(), "a-b".isidentifier(), "℘".isidentifier()
# sizes of what is too long
len(range(-2**63, 2**63 - 1))
len(range(10**30))
# classes only
isinstance(None, None)
isinstance(1, (str, None))
isinstance(1, int | None), isinstance(None, int | None)
# identity of numbers
(1+2j) == -1.0, [1+2j] == [-1.0], (1+2j) in (-1.0, 1), {1j: 1, 1.0: 2}
# text of objects
type(object.__repr__(5)).__name__, object.__repr__(5)[:10]
# strings
'%5.2f|%-8s|%+d|%x|%o|%e|%c|%%' % (3.14159, 'ab', 5, 255, 8, 12345.678, 'z')
'{0:>10}|{1:<6}|{2:^7}|{3:,}|{4:.3%}|{5:#x}|{6:08.3f}'.format('a', 'b', 'c', 1234567, 0.1234, 255, 3.14159)
'{a[0]}{b.real}{c!r}'.format(a=[1], b=2, c='x')
'a,b,,c'.split(','), 'a b  c'.split(), ' a b '.rsplit(None, 1), 'a,b,c'.split(',', 1), 'abc'.partition('b'), 'abcbd'.rpartition('b')
'abc'.center(9, '*'), 'abc'.ljust(5) + '|', 'abc'.rjust(5), '42'.zfill(5), '-42'.zfill(5), 'a\tb'.expandtabs(4)
'Hello World'.swapcase(), 'hello world'.title(), "they're".title(), 'hELLO'.capitalize(), 'ABC'.lower(), 'ß'.upper()
'abcabc'.replace('b', 'X', 1), 'abcabc'.count('bc'), 'abcabc'.find('c', 3), 'abcabc'.rfind('a'), 'abc'.index('c')
'xxabcxx'.strip('x'), 'xxabcxx'.lstrip('x'), 'prefix-body'.removeprefix('prefix-'), 'body.py'.removesuffix('.py')
'a\nb\r\nc'.splitlines(), 'a\nb\n'.splitlines(True), ''.splitlines()
'abc'.translate({97: 'x', 98: None}), str.maketrans('ab', 'xy'), 'aabb'.translate(str.maketrans('ab', 'xy', 'b'))
'abc'.startswith(('x', 'a')), 'abc'.endswith('bc', 1), 'abc'.startswith('b', 1)
','.join(str(i) for i in range(3)), ''.join([]), 'ab' * 3, 3 * 'ab', 'a' in 'cat', '' in 'x'
'abc'[::-1], 'abcdef'[1:5:2], 'abc'[-1], 'abc'[5:], 'abc'[-5:2]
'é'.encode(), b'\xc3\xa9'.decode(), 'abc'.encode('ascii'), bytes([1, 2, 3]), b'ab' + b'cd', b'abc'[1], b'abc'[1:]
repr('a\'b"c'), repr("a'b"), repr('\n\t\\'), repr('\x00\x7f\u200b'), ascii('é中')
f'{3.14159:.2f} {1000000:,} {255:#b} {"x":>5} {"x":*^5} {1e10:g} {0.1:.0%} {-5:+d} {5: d}'
f'{1:{">"}{5}}', f'{"a" "b"}', f'{{}}', f'{1!r:>3}', f'{[1, 2]!s}', f'{None}', f'{3:05}', f'{3.0:g}', f'{2**70:,}'
# sorting and sets
sorted([3, 1, 2], reverse=True), sorted('bca'), sorted({'b': 1, 'a': 2}), sorted([(1, 'b'), (1, 'a')]), sorted([1, 'a'])
min([3, 1], default=0), max([], default='d'), max('a', 'bb', key=len), min({}, default=None), max([])
{1, 2} | {3}, {1, 2} & {2}, {1, 2} - {2}, {1, 2} ^ {2, 3}, {1} < {1, 2}, {1}.isdisjoint({2}), frozenset([1]) == {1}
{'a': 1} | {'b': 2}, dict([('a', 1)], b=2), dict.fromkeys('ab', 0), {'a': 1}.items() & {('a', 1)}, list({'b': 1, 'a': 2})
[1, 2] < [1, 3], (1, 2) == [1, 2], [1] + [2], [1] * 3, [1, 2, 3].index(2), [1, 1].count(1), [3, 2][::-1]
list(zip([1, 2], 'ab', strict=True)), list(zip([1], 'ab')), list(enumerate('ab', 1)), list(reversed([1, 2])), list(map(str, [1, 2]))
list(zip([1], 'ab', strict=True))
any([]), all([]), any([0, 1]), all([1, 0]), sum([1.5, 2]), sum([[1], [2]], []), divmod(7, 3), pow(2, 10, 7), abs(-3+4j)
int('0x1f', 16), int('101', 2), int(' 42 '), int(3.9), int('1_000'), float('1e3'), float(' inf '), complex('1+2j'), bool('')
int('abc')
float('x')
round(2.5), round(3.5), round(1234.567, -2), round(1.005, 2), 7 // -2, -7 % 3, 7.5 // 2, -7.5 % 2, 2 ** -1
1 / 0
1 % 0
[][0]
{}['k']
(1).bit_length(), (255).to_bytes(2, 'big'), int.from_bytes(b'\x01\x00', 'big'), (0.5).as_integer_ratio(), (2.0).is_integer()
slice(1, 5, 2).indices(4), range(5)[1:3], range(0, 10, 3)[-1], 5 in range(0, 10, 5), range(3) == range(0, 3), list(range(5, 0, -2))
type(1).__name__, type('').__mro__[-1].__name__, isinstance(True, int), issubclass(bool, int), callable(len), hash('a') == hash('a')
# the digits of floats
[0.0200824737548828125, -0.0200824737548828125, 1.00000011920928955078125, 123456.7890625, 0.1 + 0.2, 1e22, 1e16, 123456789012345678.0, 5e-324, 2.2250738585072014e-308]
[i / 2 ** 26 for i in range(1000001, 1000400, 7)]
[float(i) * 2 ** 40 / 3 for i in range(50)]
[(2.0 ** i, 3.0 ** i, 0.1 ** i, -1.1 ** i) for i in range(40)]
[(i * 0.1, i * 1e15 + 0.5, i * 1e16) for i in range(40)]
[100.0, 1e15, 123.0, 0.0001, 0.00001, 1234567.0, 9007199254740993.0, -0.0, 12.0e-5]
[2.0 ** i for i in range(-60, 60)] + [2.0 ** i * (1 - 2 ** -53) for i in range(-60, 60)]
(lambda s: ([s.discard(i * 7) for i in range(4990)][0], list(s), s.pop(), list(s), sorted(s.copy())))(set(i * 7 for i in range(5000)))
