"""The mutation runner makes every kind of slip that mutmut 3 and cosmic-ray 8 make, but for those that no test could tell."""

from __future__ import annotations

import pytest

from tests.mutation.operators import make_mutants

# code -> some of what becomes of a part of it
KINDS = [
    ("a + b", "a - b; a | b; a ^ b; a; b"),
    ("a // b", "a / b; a * b; a % b"),
    ("a << b", "a >> b"),
    ("a < b", "a <= b; a >= b; a > b; a == b; a != b; a is b; a is not b"),
    ("a == 1", "a != 1; a < 1; a >= 1"),
    ("a is None", "a is not None"),
    ("a not in b", "a in b"),
    ("a and b", "a or b; a; b"),
    ("not a", "a"),
    ("-a", "a; ~a; not a"),
    ("~a", "a; -a"),
    ("7", "8; 6"),
    ("1.5", "2.5; 0.5"),
    ("True", "False"),
    ("'aB'", "''; 'XXaBXX'; 'ab'; 'AB'"),
    ("b'aB'", "b''; b'XXaBXX'; b'ab'; b'AB'"),
    ("''", "'x'; 'XXXX'"),
    ("f'{a}b'", "''"),
    ("lambda: a", "None"),
    ("a", "None"),
    ("None", "''"),
    ("f(a, b)", "f(None, b); f(a, None); f(a); f(b)"),
    ("f(a=b)", "f(); f(a=None)"),
    ("a.lower()", "a.upper()"),
    ("a.split(b, 1)", "a.rsplit(b, 1)"),
    ("a.index(b)", "a.rindex(b)"),
    ("a.ljust(5)", "a.rjust(5)"),
    ("a[1:2:3]", ":2:3; 1::3; 1:2"),
    ("a if b else c", "True; False; not b"),
    ("f([a, b])", "[a]; [b]"),
    ("{a: b, c: d}", "{a: b}; {c: d}"),
    ("[a for a in b if c]", "for a in b"),
]
STATEMENTS = [
    ("a = b", "None; pass"),
    ("a += b", "a -= b; a = b; pass"),
    ("f(a)", "pass"),
    ("for a in b: f()", "()"),
    ("while a: f()", "False"),
    ("while a: break", "continue; return; pass"),
    ("while a: continue", "break; pass"),
    ("raise a from b", "RuntimeError(); pass"),
    ("try: f()\n except A: pass", "RecursionError"),
    ("try: f()\n except (A, B): pass", "(A,); (B,)"),
    ("match a:\n  case 1: f()\n  case _: g()", "case 1 if False:; case _ if False:"),
    ("@cached\n def g(a): pass", "def g(a):"),
    ("def g(a=1): pass", "2; 0"),
]


@pytest.mark.parametrize(("code", "becomes"), [(f"return {code}", becomes) for code, becomes in KINDS] + STATEMENTS)
def test_every_kind_of_slip_is_made(code: str, becomes: str) -> None:
    made = {each.tells.partition(" -> ")[2].removesuffix(" ...") for each in make_mutants(f"def f():\n {code}\n", "x.py")}
    assert set(becomes.split("; ")) <= made
