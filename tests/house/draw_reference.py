"""Draws docs/ERRORS.md and docs/API.md from the code they describe: `python -m tests.house.draw_reference`."""

from __future__ import annotations

import inspect

from daemon.api import ROUTES
from store import errors
from store.errors import Corrupt, FastestError, Refused, Stale, Transient
from tests.house.sources import TOP

FAMILIES = (Transient, Stale, Refused, Corrupt)
STALE = "Drawn from `{source}` by `python -m tests.house.draw_reference`; a house test fails when it is stale."

ERRORS = f"""\
# Errors

{STALE.format(source="store/errors.py")}

Four families, named for what the caller does next; the family decides what a replica does (docs/state.md) and how loudly it is
logged. Every error has a stable code, a sentence that says what happened to what, and a hint for the next step. `fst` ends with the
exit code ([CLI.md](CLI.md)); the local API answers with the status; the cloud says the code in upper case ([WIRE.md](WIRE.md)).

"""
API = f"""\
# The local API

{STALE.format(source="daemon/api/__init__.py")}

HTTP/1.1 over the Unix socket that `FASTEST_HOME` or the runtime folder holds (`fst doctor` names it). Only the user who runs the
daemon may connect: the folder is 0700, and the peer's uid is checked. Bodies and answers are JSON with `"schema": 1`; paths that are
not UTF-8 come as `path_b64`. A failed request is answered with `{{"error": {{"code", "message", "hint", "details"}}}}`
([ERRORS.md](ERRORS.md)).

The long works (`up`, `clone`, `sync`, `wait`, `approve`, `fsck`, `gc`) answer with a JSON document a line: `{{"progress": {{"phase",
"done", "total", "unit"}}}}` when it moved and once a second, as a sign of life, when not; last `{{"result": ...}}` or `{{"error": ...}}`.
Within a phase `done` only grows and `total` (null: nobody knows) stays, or becomes null when more was found than was known of. They
go on to their end when the asker hangs up.

| route | |
|---|---|
"""


def every_error() -> list[type[FastestError]]:
    """The classes of store/errors.py, in their order there."""
    found = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, FastestError)]
    return sorted(found, key=lambda one: inspect.getsourcelines(one)[1])


def family_of(error: type[FastestError]) -> type[FastestError] | None:
    return next((family for family in FAMILIES if issubclass(error, family)), None)


def draw_errors() -> str:
    page = ERRORS
    for family in FAMILIES:
        page += f"## {family.__name__}\n\n{sentence(family)}\n\n| code | status | exit | means |\n|---|---|---|---|\n"
        for error in every_error():
            if family_of(error) is family:
                page += f"| `{error.code}` | {error.http_status} | {error.exit_code} | {sentence(error)} |\n"
        page += "\n"
    return page.rstrip("\n") + "\n"


def draw_api() -> str:
    return API + "".join(f"| `{method} {path}` | {sentence(handler)} |\n" for method, path, handler in ROUTES)


def sentence(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].replace("|", "\\|")


PAGES = {TOP / "docs" / "ERRORS.md": draw_errors, TOP / "docs" / "API.md": draw_api}

if __name__ == "__main__":
    for place, draw in PAGES.items():
        place.write_text(draw(), "utf-8")
