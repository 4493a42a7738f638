#### look-ahead and look-behind
import re
print(re.findall(r'\w+(?=,)', 'a, bc, d'), re.findall(r'\w+(?!,)\b', 'a, bc, d'), re.findall(r'(?<=\$)\d+', '$5 6 $78'), re.findall(r'(?<!\$)\b\d+', '$5 6 $78'))
print(re.sub(r'(?<=[a-z])(?=[A-Z])', '_', 'camelCaseText'), re.split(r'(?<=,)', 'a,b,c'), re.split(r'\s+(?=[A-Z])', 'one Two three Four'), re.sub(r'(?<!\d)(\d{2})(?!\d)', r'<\1>', '1 22 333 44'))
print(re.sub(r'\B(?=(\d{3})+(?!\d))', ',', '1234567'), re.findall(r'(?=(aba))', 'ababa'), [m.span() for m in re.finditer(r'(?=a)', 'banana')])
for text in ('Abcdef12', 'abcdef12', 'Abcdefgh', 'Ab1'):
    print(text, bool(re.match(r'^(?=.*\d)(?=.*[a-z])(?=.*[A-Z]).{8,}$', text)), bool(re.fullmatch(r'(?=.*\d)(?=.*[A-Z]).{8,}', text)))
m = re.search(r'(?<=(?P<sign>[+-]))(?P<n>\d+)(?=(?P<unit>px|em))', 'w: +12em')
print(m, m.groups(), m.groupdict(), m.start(), m.span('unit'), m.lastgroup, m.lastindex, m.re.groupindex, m.re.groups)
print(re.match(r'(?!foo)\w+', 'foobar'), re.match(r'(?!foo)\w+', 'barfoo'), re.search(r'(?<=é)à', 'éà').span(), re.compile(r'(?<=a)b').match('ab', 1), re.compile(r'(?<=a)b').search('ab', 1), re.compile(r'x(?=y)').search('xy', 0, 1))
print(re.findall(r'(?<=\bmodel\.)layers?\.\d+(?=\.)', 'model.layers.3.mlp model.layer.4. xmodel.layers.5.'), re.findall(r'(?i)(?<=A)b', 'ab Ab aB'), re.findall(r'^(?!#).+$', '#a\nb\n#c\nd', re.M))
print(re.findall(r'(?<=^)a', 'aa'), re.findall(r'a(?=$)', 'aa'), re.findall(r'(?<=\n)a', 'a\na'), re.findall(r'''(?x) \d+ # a number, (not in brackets
   (?! \d | \) )  # what follows''', '12 (34) 56'))
#### back-references
import re
print(re.findall(r'(\w)\1', 'hello book'), re.search(r'(?P<q>[\'"])(.*?)(?P=q)', 'say "it\'s" now').group(2), re.sub(r'\b(\w+) \1\b', r'\1', 'the the cat cat sat'), re.fullmatch(r'(a+)b\1', 'aabaa'), re.fullmatch(r'(a+)b\1', 'aabaaa'))
print(re.findall(r'<(\w+)>(.*?)</\1>', '<b>bold</b><i>x</b></i>'), re.match(r'(a)(b)?\2c', 'ac'), re.match(r'(a)(b)?\2c', 'abbc').groups(), re.search(r'(?i)(a)\1', 'aA').group(), re.split(r'(.)\1', 'abbcdde'))
print(re.search(r'(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\10', 'abcdefghijj').span(), re.search(r'(a)\1{2}', 'aaa').span(), re.search(r'(a)[\1]', 'a\x01').span(), re.search(r'\101', 'A').span())
print(re.match(r'(?:(a)|b)*\1', 'aba'), re.match(r'(a*)*\1', 'aa').groups(), re.sub(r'(.)(.)\2\1', lambda m: m.group().upper(), 'xabbay'))
for bad in (r'(a)\2', r'(?P=n)', r'(?P<n>a)(?P=m)', r'(a\1)', r'(?P<n>a(?P=n))', r'\1', r'(?(1)a)', r'(?(x)a)', r'(a)(?(1)a|b|c)', r'(?<=a+)b', r'(?<=a|bc)d', r'(?<!a*)b', r'(?<=a{1,2})b', r'(?=a', r'(?<a)', r'\477', r'a{2}{3}', r'(?P<n>a)(?(n'):
    try: print(bad, re.compile(bad))
    except re.error as e: print(bad, 'error')
for bad in (r'(a)\2', r'x(?P=n)', r'(?<=a|bc)d'):
    try: re.compile(bad)
    except re.error as e: print(e)
#### conditional, atomic and possessive
import re
p = re.compile(r'(<)?(\w+@\w+)(?(1)>|$)')
for text in ('<a@b>', 'a@b', '<a@b', 'a@b>'):
    print(text, p.match(text), p.fullmatch(text))
print(re.findall(r'(?P<open>\()?\d+(?(open)\))', '(12) 3 (4'), re.match(r'(?>a+)ab', 'aaab'), re.match(r'(?>a|ab)c', 'abc'), re.match(r'a++b', 'aaab').span(), re.match(r'a*+a', 'aaa'), re.match(r'a?+a', 'a'), re.match(r'a{1,2}+a', 'aa'), re.match(r'(?:ab)++', 'ababa').span())
#### the end of a text that ends with an end of line
import re
for p in (r'a$', r'a\Z', r'(?m)a$', r'$', r'a(?=$)', r'b$|a$', r'^a$', r'[$]', r'\$'):
    print(p, [m.span() for m in re.finditer(p, 'a\n')], [m.span() for m in re.finditer(p, 'a\na')], bool(re.match(p, 'a\n')), bool(re.fullmatch(p, 'a\n')), re.sub(p, '-', 'a\n\n'))
print(re.split(r'\s*$', 'end \n'), re.findall(r'(\w+)$', 'one\ntwo\n'), re.search('x$', 'x\n\n'))
#### searching from a place, and with empty matches
import re
p = re.compile(r'(?<=a)b|(?=c)')
print([m.span() for m in p.finditer('abcc')], p.search('abc', 1), p.search('abc', 2), p.match('abc', 1), p.fullmatch('abc', 1, 2), p.sub('-', 'abcab'), p.subn('-', 'abcab', count=1), p.split('abcd'), p.findall('éabc'))
print([m.span() for m in re.finditer(r'(?=(.))', 'ab')], re.sub(r'(?=b)|b', '-', 'abb'), re.findall(r'(?<!x)', 'xy'), re.sub(r'(?<=x)', lambda m: str(m.start()), 'xéx'))
print(re.compile(r'(?=a)', re.I), re.compile(r'(?=a)').pattern, re.compile(r'(\w)(?P<n>\1)').groupindex)
#### empty matches before others
import re
print(re.findall('|b', 'abb'), re.findall('x*?', 'xx'), re.sub('|b', '-', 'abb'), re.split('|b', 'abb'), [m.span() for m in re.finditer(r'a??|é', 'aéa')], re.findall(r'(?P<x>a)??b*', 'aabb'))
for bad in ('a**', 'a{2}*', 'a*?+', '(?P<1>a)', '(?P<>a)', '(?P<n', '(?P<a>.)(?P<a>.)', 'a{2}{3}', '*', '(?:', ')'):
    try: print(bad, re.compile(bad))
    except re.error as e: print(bad, e if 'group name' in str(e) else 'error')
#### places to begin and to end at
import re
p = re.compile(r":+")
print(p.findall("a:b::c:::d", 3), p.findall("a:b::c:::d", pos=3, endpos=8), [m.span() for m in p.finditer("a:b::c:::d", 3, 8)], [m.span() for m in p.finditer("é:é::", 2)])
print(p.findall("a:b", 9), p.findall("a:b", -5), re.compile(r"^b").findall("ab", 1), re.compile(r"\bb").findall("ab b", 1), p.search("a:b", 2))
#### bounds of ASCII's words
import re
print(re.findall(r'(?a)\b\w+\b', 'é abc naïve'), re.findall(r'\b\w+\b', 'é abc naïve', re.A), re.findall(r'\b\w+\b', 'é abc naïve'))
print(re.findall(r'(?a)\B.', 'é abc'), re.findall(r'(?a:\b)a', 'éa a'), re.split(r'(?a)\b', 'éa b'), re.sub(r'(?a)\bx', '-', 'x éx xx'))
