"""A module's tree -> its mutants: every place where a small slip would still be Python.

A mutant replaces one node by another. What only declares (annotations, type aliases, `frozen`, `strict=`, docstrings) is left alone.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from types import CodeType
from typing import Any, AnyStr, NamedTuple

COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot)
OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
ARITHMETIC: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.BitOr, ast.BitXor),
    ast.Sub: (ast.Add, ast.Mod, ast.BitXor),
    ast.Mult: (ast.Div, ast.FloorDiv, ast.Pow),
    ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mult, ast.Mod),
    ast.Mod: (ast.Div, ast.FloorDiv, ast.BitAnd),
    ast.Pow: (ast.Mult, ast.LShift),
    ast.LShift: (ast.RShift, ast.Mult, ast.Pow),
    ast.RShift: (ast.LShift, ast.FloorDiv),
    ast.BitOr: (ast.BitAnd, ast.BitXor, ast.Add),
    ast.BitAnd: (ast.BitOr, ast.BitXor, ast.Mod),
    ast.BitXor: (ast.BitAnd, ast.BitOr),
}
"""The opposite, and what comes nearest: of all others a test sees more."""
NO_NUMBERS = (ast.JoinedStr, ast.List, ast.Tuple, ast.Dict, ast.ListComp)
SIGNS = (ast.Not, ast.USub, ast.Invert)
PAIRS = (
    *[("min", "max"), ("any", "all"), ("startswith", "endswith"), ("find", "rfind"), ("partition", "rpartition"), ("lower", "upper")],
    *[("removeprefix", "removesuffix"), ("lstrip", "rstrip"), ("fullmatch", "match"), ("append", "remove"), ("popleft", "pop")],
    *[("index", "rindex"), ("ljust", "rjust"), ("split", "rsplit")],
)
TWINS = {**dict(PAIRS), **{other: one for one, other in PAIRS}}
SHORT, CONTEXT = 100, 20
PASSED_ON = {"sorted", "reversed", "abs", "list", "tuple"}
"""What hands on its argument in another shape."""


class Mutant(NamedTuple):
    """One slip: in the function `place` (empty: outside any) `old` became `new`."""

    place: str
    line: int
    tells: str
    code: CodeType


class _Spot(NamedTuple):
    """A node, and where it hangs."""

    place: str
    parent: ast.AST
    field: str
    at: int | None
    node: ast.AST

    def put(self, node: ast.AST) -> None:
        if self.at is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.at] = node


def make_mutants(text: str, file: str) -> Iterator[Mutant]:
    """All mutants of a module, compiled; each `place: tells` occurs once."""
    tree = ast.parse(text)
    seen: Counter[str] = Counter()
    for spot in list(_spots(tree, "")):
        old = ""
        for node in _variants(spot):
            old = old or _first_line(spot.node)
            tells = _tell(old, _first_line(node))
            seen[spot.place + tells] += 1
            again = seen[spot.place + tells]
            spot.put(ast.fix_missing_locations(ast.copy_location(node, spot.node)))
            code = compile(tree, file, "exec")
            spot.put(spot.node)
            yield Mutant(spot.place, _line(spot.node), tells + f" ({again})" * (again > 1), code)


def _tell(old: str, new: str) -> str:
    """What became of a piece of code; of a long one only where the two differ."""
    if len(old) > SHORT:
        start = max(_shared(old, new) - CONTEXT, 0)
        end = max(_shared(old[:start:-1], new[:start:-1]) - CONTEXT, 0)
        old, new = (f"{'... ' * (start > 0)}{each[start : len(each) - end]}{' ...' * (end > 0)}" for each in (old, new))
    return " -> ".join(each if len(each) <= 2 * SHORT else f"{each[:SHORT]} ..." for each in (old, new))


def _shared(one: str, other: str) -> int:
    """How many first letters are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (letter, another) in pairs if letter != another), min(len(one), len(other)))


def _first_line(node: ast.AST) -> str:
    text = ast.unparse(node).strip().partition("\n")
    return text[0] + (" ..." if text[1] else "")


def _line(node: ast.AST) -> int:
    return next(each.lineno for each in ast.walk(node) if isinstance(each, ast.expr | ast.stmt))


def _spots(node: ast.AST, place: str) -> Iterator[_Spot]:
    """Every node below this one that says what is done."""
    for field, value in ast.iter_fields(node):
        if (type(node).__name__, field) in DECLARING:
            continue
        inside = place
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and field == "body":
            inside = f"{place}.{node.name}" if place and not place.endswith(".") else place + node.name
        elif isinstance(node, ast.ClassDef) and field == "body":
            inside = f"{place}{node.name}."
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _declares(child):
                yield _Spot(inside, node, field, index, child)
                yield from _spots(child, inside)


DECLARING = {
    *[(kind, field) for kind in ("FunctionDef", "AsyncFunctionDef") for field in ("returns", "decorator_list")],
    *[("arg", "annotation"), ("AnnAssign", "annotation")],
    *[("ClassDef", "keywords"), ("ClassDef", "bases"), ("ClassDef", "decorator_list"), ("Raise", "cause")],
}


def _declares(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()) | ast.keyword(arg="strict"):
            return True
        case ast.Assign(targets=[ast.Name(id=name)], col_offset=0):
            return name == "__all__" or (name[0].isupper() and not name.isupper())
        case ast.AnnAssign(value=None):
            return True
    return False


def _variants(spot: _Spot) -> Iterator[ast.AST]:
    node = spot.node
    if isinstance(node, ast.stmt | ast.ExceptHandler):
        yield from _variants_of_statement(node, spot)
    elif isinstance(node, ast.comprehension):
        for index in range(len(node.ifs)):
            yield _with(node, ifs=_without(node.ifs, index))
    elif isinstance(node, ast.match_case):
        yield _with(node, guard=ast.Constant(False))
    elif isinstance(node, ast.expr):
        yield from _variants_of_expression(node, spot)
        yield from _variants_of_place(node, spot)


def _variants_of_place(node: ast.expr, spot: _Spot) -> Iterator[ast.AST]:
    """By what the expression is for."""
    match spot.parent, spot.field:
        case (ast.If() | ast.IfExp(), "test"):
            yield ast.Constant(True)
            yield ast.Constant(False)
            if not isinstance(node, ast.UnaryOp | ast.Compare):  # whose own variants are that
                yield ast.UnaryOp(ast.Not(), node)
        case (ast.While(), "test") if not isinstance(node, ast.Constant):
            yield ast.Constant(False)
        case (ast.For() | ast.AsyncFor(), "iter"):
            yield ast.Tuple([], ast.Load())
        case (ast.Return() | ast.Lambda() | ast.Assign() | ast.AnnAssign(), "value" | "body") if spot.place and spot.place[-1] != ".":
            if isinstance(node, ast.Constant) and node.value is None:
                yield ast.Constant("")
            else:
                yield ast.Constant(None)
        case (ast.Raise(), "exc"):
            yield ast.Call(ast.Name("RuntimeError", ast.Load()), [], [])
        case (ast.ExceptHandler(), "type"):
            yield ast.Name("RecursionError", ast.Load())


def _variants_of_statement(node: ast.AST, spot: _Spot) -> Iterator[ast.AST]:
    match node:
        case ast.Break():
            yield from (ast.Continue(), ast.Pass(), ast.Return())
        case ast.Continue():
            yield from (ast.Break(), ast.Pass())
        case ast.AugAssign(target=target, op=op, value=value):
            yield from (_with(node, op=other()) for other in _other_arithmetic(op, value))
            yield from (ast.Assign([target], value, lineno=0), ast.Pass())
        case ast.Expr() | ast.Raise() | ast.Delete() | ast.Assert():
            yield ast.Pass()
        case ast.Assign() | ast.AnnAssign() if spot.place and not spot.place.endswith("."):
            yield ast.Pass()
        case ast.FunctionDef(decorator_list=made) | ast.AsyncFunctionDef(decorator_list=made) | ast.ClassDef(decorator_list=made):
            yield from (_with(node, decorator_list=_without(made, index)) for index in range(len(made)))


def _variants_of_expression(node: ast.expr, spot: _Spot) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left=first, ops=ops, comparators=others):
            for index, op in enumerate(ops):
                for compare in _other_comparisons(op, *[first, *others][index : index + 2]):
                    yield _with(node, ops=[*ops[:index], compare(), *ops[index + 1 :]])
        case ast.BoolOp(op=op, values=values):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            for index in range(len(values)):
                rest = _without(values, index)
                yield rest[0] if len(rest) == 1 else _with(node, values=rest)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.UnaryOp(op=op, operand=operand):
            yield operand
            yield from (_with(node, op=sign()) for sign in SIGNS if not isinstance(op, sign))
        case ast.BinOp(left=left, op=op, right=right):
            yield from (_with(node, op=other()) for other in _other_arithmetic(op, left, right))
            if isinstance(op, ast.Add | ast.BitOr | ast.BitAnd):
                yield from (left, right)
        case ast.Constant(value=value) if not isinstance(spot.parent, ast.JoinedStr):
            yield from (ast.Constant(other) for other in _other_values(value))
        case ast.JoinedStr():
            yield ast.Constant("")
        case ast.Call():
            yield from _other_calls(node)
        case ast.Slice(lower=lower, upper=upper, step=step):
            yield from (_with(node, **{name: None}) for name, bound in (("lower", lower), ("upper", upper), ("step", step)) if bound)
        case ast.Dict(keys=keys, values=values):
            yield from (_with(node, keys=_without(keys, at), values=_without(values, at)) for at in range(len(keys)))
        case ast.Set(elts=elements) if len(elements) > 1:
            yield from (_with(node, elts=_without(elements, index)) for index in range(len(elements)))
        case ast.List(elts=elements) | ast.Tuple(elts=elements) if _is_listed(node, spot):
            yield from (_with(node, elts=_without(elements, index)) for index in range(len(elements)))


def _other_comparisons(op: ast.cmpop, one: ast.expr, other: ast.expr) -> Iterator[type[ast.cmpop]]:
    """By what could be meant: a literal is never one object, and of single objects `is` and `==` say the same."""
    if type(op) in OPPOSITES:
        yield OPPOSITES[type(op)]
        return
    has_literal = isinstance(one, ast.Constant) or isinstance(other, ast.Constant)
    for compare in COMPARISONS:
        if not isinstance(op, compare) and not (has_literal and compare in (ast.Is, ast.IsNot)):
            yield compare


def _other_arithmetic(op: ast.operator, *values: ast.expr) -> Iterator[type[ast.operator]]:
    """One will do for what is plainly no number, where each of them raises."""
    found = ARITHMETIC[type(op)]
    is_number = not any(isinstance(each, NO_NUMBERS) or isinstance(getattr(each, "value", 0), str | bytes) for each in values)
    yield from found if is_number else found[:1]


def _is_listed(node: ast.List | ast.Tuple, spot: _Spot) -> bool:
    """A literal whose length is not its type: no target, no subscript, not the several values of a `return` or a pair of names."""
    return isinstance(node.ctx, ast.Load) and not isinstance(spot.parent, ast.Subscript | ast.Return | ast.Assign | ast.Yield)


def _other_values(value: Any) -> Iterator[Any]:
    match value:
        case bool():
            yield not value
        case int() | float():
            yield from (value + 1, value - 1)
        case str():
            yield from _other_texts(value, "", "x", "XX")
        case bytes():
            yield from _other_texts(value, b"", b"x", b"XX")


def _other_texts(value: AnyStr, none: AnyStr, one: AnyStr, more: AnyStr) -> Iterator[AnyStr]:
    others = [none if value else one, more + value + more, value.lower(), value.upper()]
    yield from (other for other in dict.fromkeys(others) if other != value)


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    match node.func:
        case ast.Name(id=name) if name in TWINS:
            yield _with(node, func=ast.Name(TWINS[name], ast.Load()))
        case ast.Attribute(attr=name) if name in TWINS and not (name in ("split", "rsplit") and len(node.args) < 2):
            yield _with(node, func=_with(node.func, attr=TWINS[name]))
        case ast.Name(id=name) if name in PASSED_ON and node.args:
            yield node.args[0]
    for index, argument in enumerate(node.args):
        if not isinstance(argument, ast.Starred | ast.Constant):
            yield _with(node, args=[*node.args[:index], ast.Constant(None), *node.args[index + 1 :]])
        if len(node.args) > 1:
            yield _with(node, args=_without(node.args, index))
    for index, keyword in enumerate(node.keywords):
        if keyword.arg != "strict":
            others = _without(node.keywords, index)
            yield _with(node, keywords=others)
            if not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None):
                yield _with(node, keywords=[*others, _with(keyword, value=ast.Constant(None))])


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _without(items: list[Any], index: int) -> list[Any]:
    return items[:index] + items[index + 1 :]
