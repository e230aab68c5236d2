"""The `fst` command. What it says to people is in `render`, what it does in `verbs`; a plain `fst status` needs neither."""

from __future__ import annotations

import os
import sys

from daemon.cli.quick import answer_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.errors import FastestError

INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (interfaces.md)."""
    given = list(sys.argv[1:] if words is None else words)
    for stream in (sys.stdout, sys.stderr):
        _survive_odd_names(stream)
    try:
        code = answer_status(given, os.environ)
        if code is None:
            from daemon.cli.tree import run

            code = run(given)
        sys.stdout.flush()
    except _ours() as error:
        return tell(error, given)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader had enough (`fst log | head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _ours() -> type[FastestError]:
    # Evaluated only when something was raised: importing the errors costs more than the rest of `fst status`.
    from store.errors import FastestError

    return FastestError


def tell(error: FastestError, words: Sequence[str]) -> int:
    """What happened and the next step, on stderr; with `--json` also a document on stdout. Returns the exit code."""
    from daemon.cli.render.text import json_text, plain

    options = list(words)[: words.index("--")] if "--" in words else list(words)
    if "--json" in options:
        told = {"code": error.code, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        print(json_text({"schema": 1, "error": told}))
    print(f"fst: {plain(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"  next: {plain(error.hint)}", file=sys.stderr)
    if "-v" in options or "--verbose" in options:
        print(f"  code: {plain(error.code)} {plain(error.details or '')}".rstrip(), file=sys.stderr)
    return error.exit_code


def _survive_odd_names(stream: object) -> None:
    """A name that the terminal's encoding cannot show comes out escaped, and never ends the command."""
    import io

    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
