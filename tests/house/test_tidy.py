"""The size and shape of code: what a reader can hold in the head (research/aesthetics.md 3.10)."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

from tests import mutants
from tests.house.sources import ROOMS, Module, functions, modules

MODULE_LINES = 400
FUNCTION_LINES = 50
FOLDER_MODULES = 10
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "base", "misc", "models"}
MARKER = re.compile(r"#.*\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")) + r")\b")
# Where a mistake of ours, whatever it is, must end no more than one task; a reason each.
TASK_BOUNDARIES = {
    "daemon/supervisor.py": "one workspace's task must not end the daemon",
    "cloud/routes/envelope.py": "one request must not show its insides",
    "cloud/operate/upkeep.py": "housekeeping must not end the server",
}
EVERYTHING = (*ROOMS, "tests", "benchmarks")


def test_modules_are_short() -> None:
    found = {module.path: lines for module in modules() if (lines := module.text.count("\n")) > MODULE_LINES}
    assert not found


def test_every_mistake_made_on_purpose_finds_its_place() -> None:
    """`python -m tests.mutants` says so, too; but it takes hours, and who moves code would hear of it late."""
    suites = [suite for suite in vars(mutants).values() if isinstance(suite, mutants.Suite)]
    made = [mutant for suite in suites for mutant in suite.mutants]
    assert len(made) > 100
    assert not [mutant.name for mutant in made if Path(mutant.file).read_text(encoding="utf-8").count(mutant.old) != 1]


def test_functions_fit_on_a_screen() -> None:
    found = [
        f"{module.path}:{function.lineno}: {function.name} has {lines} lines"
        for module in modules(*EVERYTHING)
        for function in functions(module)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    ]
    assert not found, "\n".join(found)


def test_folders_have_few_modules() -> None:
    count = Counter(Path(module.path).parent for module in modules() if not Path(module.path).name.startswith("__"))
    assert not {str(folder): size for folder, size in count.items() if size > FOLDER_MODULES}


def test_a_module_is_named_for_what_it_is() -> None:
    assert not [module.path for module in modules(*EVERYTHING) if FORBIDDEN_NAMES & set(Path(module.path).with_suffix("").parts)]


def test_every_module_says_what_it_is() -> None:
    assert not [module.path for module in modules(*ROOMS, "benchmarks") if not ast.get_docstring(module.tree)]


def test_no_marker_stands_in_place_of_work() -> None:
    found = [
        f"{module.path}:{number}: {line.strip()}"
        for module in modules(*EVERYTHING)
        for number, line in enumerate(module.text.split("\n"), 1)
        if MARKER.search(line)
    ]
    assert not found, "\n".join(found)


def test_nothing_is_a_stub() -> None:
    found = [
        f"{module.path}:{node.lineno}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Raise) and is_stub(node)
    ]
    assert not found


def is_stub(node: ast.Raise) -> bool:
    return node.exc is not None and "NotImplementedError" in ast.unparse(node.exc)


def test_only_task_boundaries_catch_everything() -> None:
    found = [
        f"{module.path}:{node.lineno}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and swallows(node)
    ]
    assert {place.partition(":")[0] for place in found} == set(TASK_BOUNDARIES), found


def swallows(handler: ast.ExceptHandler) -> bool:
    """`except Exception`, bare or wider, unless it hands the very same exception on: `raise`, or to whoever waits for a future."""
    names = {ast.unparse(name) for name in (handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]) if name}
    if handler.type is not None and not names & {"Exception", "BaseException"}:
        return False
    hands_on = any(isinstance(node, ast.Raise) and node.exc is None for node in handler.body)
    return not hands_on and not any(f"set_exception({handler.name})" in ast.unparse(node) for node in handler.body)


def test_tests_wait_and_never_sleep() -> None:
    found = [f"{module.path}:{node.lineno}" for module in modules("tests") if module.path != "tests/waiting.py" for node in sleeps(module)]
    assert not found


def sleeps(module: Module) -> list[ast.Call]:
    """Calls of a sleep for more than no time; `asyncio.sleep(0)` only lets others run."""
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    return [
        call for call in calls if re.search(r"(^|\.)sleep$", ast.unparse(call.func)) and [ast.unparse(one) for one in call.args] != ["0"]
    ]


def test_tests_use_no_mocks() -> None:
    assert not [module.path for module in modules("tests") if re.search(r"^\s*(from|import) (unittest|mock)\b", module.text, re.MULTILINE)]


def test_every_test_can_fail() -> None:
    tested = [(module, function, called_in(function)) for module in modules("tests") for function in functions(module)]
    # What asserts, itself or through another function of the tests.
    failing = {"assert", "raises"}
    while more := {function.name for _, function, called in tested if called & failing} - failing:
        failing |= more
    blind = [f"{module.path}:{function.lineno}: {function.name}" for module, function, _ in tested if function.name not in failing]
    assert not [line for line in blind if ": test_" in line]


def called_in(function: ast.AST) -> set[str]:
    """The last names of what it calls, and `assert` where it asserts."""
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            found.add("assert")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            found.add(node.func.id if isinstance(node.func, ast.Name) else node.func.attr)
    return found


def test_names_of_test_files_are_unique() -> None:
    names = Counter(Path(module.path).name for module in modules("tests") if Path(module.path).name.startswith("test_"))
    assert not [name for name, count in names.items() if count > 1]
