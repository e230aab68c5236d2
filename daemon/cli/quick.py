"""The short path of `fst status`: no click, no rich, nothing but a bare socket and json (60 ms for the whole process)."""

from __future__ import annotations

import os
import sys

from daemon.cli.render.status import status_code, status_lines
from daemon.cli.render.text import Ink, json_text, wants_colour
from daemon.client import Client, find_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.client.exchange import Document

_SILENT = ("-q", "--quiet", "-v", "--verbose", "-y", "--yes")


class Asked:
    """What the words of a plain `fst status` ask for."""

    __slots__ = ("as_json", "colour", "folder", "path")

    def __init__(self) -> None:
        self.as_json = False
        self.colour = "auto"
        self.folder = ""
        self.path: str | None = None


def parse_words(words: Sequence[str]) -> Asked | None:
    """The words of a `fst status` that needs no more than this; None for everything else."""
    asked = Asked()
    places: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "-C":
            asked.folder = os.path.join(asked.folder, next(rest, ""))
        elif word == "--json":
            asked.as_json = True
        elif word.startswith("--color="):
            asked.colour = word.partition("=")[2]
        elif word.startswith("-"):
            if word not in _SILENT:
                return None
        else:
            places.append(word)
    if places[:1] != ["status"] or len(places) > 2 or asked.colour not in ("auto", "always", "never"):
        return None
    asked.path = places[1] if len(places) == 2 else None
    return asked


def answer_status(words: Sequence[str], env: Mapping[str, str]) -> int | None:
    """Print the status and return the exit code; None when the words ask for more. Raises what `daemon.client` raises."""
    asked = parse_words(words)
    if asked is None:
        return None
    document = ask_status(Client(find_socket(env)), asked.folder, asked.path)
    if asked.as_json:
        print(json_text(document))
    else:
        ink = Ink(wants_colour(asked.colour, env, sys.stdout.isatty()))
        print("\n".join(status_lines(document, ink)))
    return status_code(document)


def ask_status(client: Client, folder: str, path: str | None) -> Document:
    """The status of the workspace that holds `path`; without one, of the workspace that holds `folder`, or else of all."""
    if path is not None:
        return {"schema": 1, **client.status(os.path.realpath(os.path.join(folder, path)))}
    document = client.status()
    here = os.path.realpath(folder or ".")
    roots = [workspace for workspace in document.get("workspaces", []) if _holds(str(workspace.get("path") or ""), here)]
    return {"schema": 1, **document, **({"workspaces": roots} if roots else {})}


def _holds(root: str, here: str) -> bool:
    return bool(root) and (here == root or here.startswith(root.rstrip("/") + "/"))
