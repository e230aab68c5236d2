"""SQL is text of ours alone, and its `$n` come in the order in which SQLite numbers them: by first appearance."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.sources import Module, modules

SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|CREATE|ALTER|DROP)\s")
CONSTANT = re.compile(r"_?[A-Z][A-Z_]*\Z")
# Names of tables and columns cannot be parameters; each of these comes from a closed set written in the same module.
FROM_A_CLOSED_SET = {
    "cloud/records/work/projects.py": {"SHELVES[shelf]"},
    "cloud/records/work/workspaces.py": {"_SHELVES[shelf]"},
    "cloud/objects/sweep.py": {"key", "page", "columns", "named"},
    "cloud/operate/fsck.py": {"table", "column", "mine"},
    "store/blobs/catalog.py": {"table"},
    "store/blobs/sweep.py": {"table", "empty"},
    "store/salvage.py": {"table", "keys", "names", "columns", "marks"},
}


def test_parameters_are_first_used_in_ascending_order() -> None:
    wrong = [
        f"{module.path}:{line}: {sql}"
        for module in modules()
        for line, sql, _ in statements(module)
        if numbers(sql) != list(range(1, len(numbers(sql)) + 1))
    ]
    assert not wrong, "\n".join(wrong)


def test_only_constants_are_put_into_sql() -> None:
    wrong = [
        f"{module.path}:{line}: {', '.join(foreign)}"
        for module in modules()
        for line, _, names in statements(module)
        if (foreign := names - FROM_A_CLOSED_SET.get(module.path, set()))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_exceptions_are_needed() -> None:
    used = {(module.path, name) for module in modules() for _, _, names in statements(module) for name in names}
    assert {(path, name) for path, names in FROM_A_CLOSED_SET.items() for name in names} == used


def test_parameters_are_never_question_marks() -> None:
    assert not [f"{module.path}:{line}" for module in modules() for line, sql, _ in statements(module) if "?" in sql]


def statements(module: Module) -> Iterator[tuple[int, str, set[str]]]:
    """Each text that begins as SQL: its line, the whole of it, and what is put into it that is no constant."""
    known = constants(module)
    inner: set[ast.AST] = set()
    for node in ast.walk(module.tree):
        if node in inner or not isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp | ast.Call):
            continue
        sql, names = render(node, known)
        if SQL.match(sql):
            inner.update(ast.walk(node))
            yield getattr(node, "lineno", 0), sql, names


def constants(module: Module) -> dict[str, str]:
    known: dict[str, str] = {}
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            known |= {ast.unparse(target): render(node.value, known)[0] for target in targets}
    return known


def render(node: ast.AST, known: dict[str, str]) -> tuple[str, set[str]]:
    """The text of an expression as far as it is fixed, and the names that are not."""
    match node:
        case ast.Constant(value=str(text)):
            return text, set()
        case ast.JoinedStr(values=parts):
            return join(render(part, known) for part in parts)
        case ast.FormattedValue(value=value):
            return render_value(value, known)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return join([render_value(left, known), render_value(right, known)])
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod(), right=right):
            return text, {ast.unparse(right)}
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return text, {"format"}
    return "", set()


def render_value(node: ast.AST, known: dict[str, str]) -> tuple[str, set[str]]:
    if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
        return render(node, known)
    name = ast.unparse(node)
    if name in known and CONSTANT.match(name):
        return known[name], set()
    fields = name.endswith("__struct_fields__)")
    return "", set() if fields or CONSTANT.match(name) else {name}


def join(parts: Iterator[tuple[str, set[str]]] | list[tuple[str, set[str]]]) -> tuple[str, set[str]]:
    pieces = list(parts)
    return "".join(text for text, _ in pieces), {name for _, names in pieces for name in names}


def numbers(sql: str) -> list[int]:
    """The parameters in the order of their first use."""
    return list(dict.fromkeys(int(number) for number in re.findall(r"\$(\d+)", sql)))


@pytest.mark.parametrize(
    "text",
    [
        "tx.execute(f'SELECT {a}')",
        "q = f'DELETE FROM {t}'",
        "tx.one('SELECT a FROM ' + t)",
        "q = 'UPDATE %s' % t",
        "q = 'SELECT {}'.format(a)",
    ],
)
def test_the_test_sees_values_in_sql(text: str) -> None:
    assert [names for _, _, names in statements(Module("store/x.py", text, ast.parse(text)))] != [set()]


def test_the_test_sees_the_order_through_constants() -> None:
    text = "_OF = 'x = $1'\nq = f'SELECT {_OF} AND y = $2'\np = 'UPDATE a SET b = $2 ' + 'WHERE c = $1'\n"
    assert [numbers(sql) for _, sql, _ in statements(Module("store/x.py", text, ast.parse(text)))] == [[1, 2], [2, 1]]
    assert sum(1 for module in modules("store", "cloud") for _ in statements(module)) > 100
