"""A module's tree -> its mutants: every place where a small slip would still be Python.

A mutant replaces one node by another. What only declares (annotations, type aliases, `frozen`, `strict=`, docstrings) is left alone.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
PAIRS = (
    *[("min", "max"), ("any", "all"), ("startswith", "endswith"), ("find", "rfind"), ("partition", "rpartition"), ("lower", "upper")],
    *[("removeprefix", "removesuffix"), ("lstrip", "rstrip"), ("fullmatch", "match"), ("append", "remove"), ("popleft", "pop")],
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
        if isinstance(spot.node, ast.expr | ast.stmt | ast.ExceptHandler) or (isinstance(spot.node, ast.comprehension) and spot.node.ifs):
            old = _first_line(spot.node)
            line = (spot.node.ifs[0] if isinstance(spot.node, ast.comprehension) else spot.node).lineno
            for node in _variants(spot):
                tells = _tell(old, _first_line(node))
                seen[spot.place + tells] += 1
                again = seen[spot.place + tells]
                spot.put(ast.fix_missing_locations(ast.copy_location(node, spot.node)))
                code = compile(tree, file, "exec")
                spot.put(spot.node)
                yield Mutant(spot.place, line, tells + f" ({again})" * (again > 1), code)


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


def _spots(node: ast.AST, place: str) -> Iterator[_Spot]:
    """Every node below this one that says what is done."""
    for field, value in ast.iter_fields(node):
        if (type(node).__name__, field) in DECLARING:
            continue
        inside = place
        if isinstance(node, ast.FunctionDef) and field == "body":
            inside = f"{place}.{node.name}" if place and not place.endswith(".") else place + node.name
        elif isinstance(node, ast.ClassDef) and field == "body":
            inside = f"{place}{node.name}."
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _declares(child):
                yield _Spot(inside, node, field, index, child)
                yield from _spots(child, inside)


DECLARING = {
    *[("FunctionDef", "returns"), ("FunctionDef", "decorator_list"), ("arg", "annotation"), ("AnnAssign", "annotation")],
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
    elif isinstance(node, ast.expr):
        yield from _variants_of_expression(node, spot)
        yield from _variants_of_place(node, spot)


def _variants_of_place(node: ast.expr, spot: _Spot) -> Iterator[ast.AST]:
    """By what the expression is for."""
    match spot.parent, spot.field:
        case (ast.If() | ast.IfExp(), "test"):
            yield ast.Constant(True)
            yield ast.Constant(False)
        case (ast.While(), "test") if not isinstance(node, ast.Constant):
            yield ast.Constant(False)
        case (ast.Return() | ast.Lambda(), _) if not isinstance(node, ast.Constant):
            yield ast.Constant(None)
        case (ast.Raise(), "exc"):
            yield ast.Call(ast.Name("RuntimeError", ast.Load()), [], [])
        case (ast.ExceptHandler(), "type"):
            yield ast.Name("RecursionError", ast.Load())


def _variants_of_statement(node: ast.AST, spot: _Spot) -> Iterator[ast.AST]:
    match node:
        case ast.Break():
            yield from (ast.Continue(), ast.Pass())
        case ast.Continue():
            yield from (ast.Break(), ast.Pass())
        case ast.AugAssign(op=op):
            if type(op) in ARITHMETIC:
                yield _with(node, op=ARITHMETIC[type(op)]())
            yield ast.Pass()
        case ast.Expr() | ast.Raise() | ast.Delete() | ast.Assert():
            yield ast.Pass()
        case ast.Assign() | ast.AnnAssign() if spot.place and not spot.place.endswith("."):
            yield ast.Pass()


def _variants_of_expression(node: ast.expr, spot: _Spot) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield _with(node, ops=[*ops[:index], other(), *ops[index + 1 :]])
        case ast.BoolOp(op=op, values=values):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            for index in range(len(values)):
                rest = _without(values, index)
                yield rest[0] if len(rest) == 1 else _with(node, values=rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right):
            if type(op) in ARITHMETIC:
                yield _with(node, op=ARITHMETIC[type(op)]())
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
            yield "" if value else "x"
        case bytes():
            yield b"" if value else b"x"


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    match node.func:
        case ast.Name(id=name) if name in TWINS:
            yield _with(node, func=ast.Name(TWINS[name], ast.Load()))
        case ast.Attribute(attr=name) if name in TWINS:
            yield _with(node, func=_with(node.func, attr=TWINS[name]))
        case ast.Name(id=name) if name in PASSED_ON and node.args:
            yield node.args[0]
    if len(node.args) > 1:
        yield _with(node, args=node.args[:-1])
    for index, keyword in enumerate(node.keywords):
        if keyword.arg != "strict":
            yield _with(node, keywords=_without(node.keywords, index))


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _without(items: list[Any], index: int) -> list[Any]:
    return items[:index] + items[index + 1 :]
