"""The documents say what there is: every error, state, route and setting; and what they point at exists.

Verbs, options, exit codes and settings are asked in tests/unit/test_cli_docs.py, the states in test_house_state.py.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from cloud import routes
from daemon.config import KEYS, variable_of
from tests.house.draw_reference import PAGES, every_error, family_of
from tests.house.sources import TOP, modules

DOCUMENTS = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")])
NUMBER = re.compile(r"\b([BWJAHLP][1-9]|P1[0-3]|R10|R[1-9])\b(?!\d)")
INVARIANTS = (TOP / "docs" / "INVARIANTS.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_drawn_pages_are_fresh(page: Path) -> None:
    assert page.read_text("utf-8") == PAGES[page](), "stale: run `python -m tests.house.draw_reference`"


def test_every_error_has_a_family_a_sentence_and_a_code_of_its_own() -> None:
    found = [error for error in every_error() if family_of(error)]
    assert len({error.code for error in found}) == len(found) > 20
    assert all(error.__doc__ and re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code) for error in found)


def test_every_error_is_raised_or_caught_somewhere() -> None:
    code = "".join(module.text for module in modules() if module.path != "store/errors.py")
    assert not [error.__name__ for error in every_error() if not re.search(rf"\b{error.__name__}\b", code)]


def test_every_route_of_the_cloud_is_in_wire_and_no_other() -> None:
    page = (TOP / "docs" / "WIRE.md").read_text("utf-8")
    written = {(method, shape(path)) for method, path in re.findall(r"`(GET|POST|PUT|DELETE|PATCH) (/[^`?\s]*)", page)}
    served = {(method, shape(path)) for method, path in cloud_routes()}
    assert len(served) > 20
    assert written == served


def cloud_routes() -> set[tuple[str, str]]:
    rooms = [importlib.import_module(room.name) for room in pkgutil.walk_packages(routes.__path__, "cloud.routes.")]
    return {(route.method, route.path) for room in rooms for route in getattr(room, "ROUTES", ())}


def shape(path: str) -> str:
    """Without the version, and with every parameter alike."""
    return re.sub(r"\{[^}]*\}", "{}", path.removeprefix("/v1"))


def test_every_variable_that_is_read_is_written_down() -> None:
    read = {name for module in modules() for name in re.findall(r"\"(FASTEST_[A-Z_]+[A-Z])\"", module.text)} - {
        variable_of(key) for key in KEYS
    }
    told = "".join(page.read_text("utf-8") for page in DOCUMENTS)
    assert {name for name in read if name not in told} == set()


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [target.partition("#")[0] for target in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text)]
    assert not [link for link in links if not (page.parent / link).exists()]
    rooms = "store|sync|daemon|tray|cloud|tests|docs|benchmarks"
    paths = re.findall(rf"`((?:{rooms})/[\w./-]*)`", text)
    assert not [path for path in paths if not (TOP / path).exists()]


def test_every_number_that_is_cited_is_an_invariant_and_every_invariant_is_cited() -> None:
    known = set(re.findall(r"^\| ([A-Z]\d+) \|", INVARIANTS, re.MULTILINE))
    cited = {number for module in modules("store", "sync", "daemon", "cloud", "tests") for number in NUMBER.findall(module.text)}
    assert len(known) == 34
    laws = {number for number in known if not number.startswith("R")}
    assert laws - cited == set()
