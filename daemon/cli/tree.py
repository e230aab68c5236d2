"""The tree of verbs: options that work before and after the verb, an example in every help, and the near word for a wrong one."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from functools import update_wrapper
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from daemon.cli.render.text import wants_colour
from daemon.cli.session import Session
from store.errors import InvalidValue

P = ParamSpec("P")
_COMPLETE = "_FST_COMPLETE"
_ASKED = "fastest.asked"
"""Where click's context keeps the options given anywhere on the line."""

Verbful = Callable[Concatenate[Session, P], int | None]


def _remember(context: click.Context, option: click.Parameter, value: object) -> None:
    if value and option.name:
        context.find_root().meta.setdefault(_ASKED, {})[option.name] = value


def everywhere() -> list[click.Parameter]:
    """The options of every verb (interfaces.md); what they hold goes to the Session."""

    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_remember, **more)

    return [
        option("--json", "as_json", is_flag=True, help="One versioned JSON document on stdout."),
        option("-C", "folder", metavar="DIR", help="As if started in DIR."),
        option("-q", "--quiet", "quiet", is_flag=True, help="No talk and no progress."),
        option("-v", "--verbose", "verbose", is_flag=True, help="Say more, also about errors."),
        option("-y", "--yes", "yes", is_flag=True, help="Yes to every question."),
        option("--color", "colour", type=click.Choice(["auto", "always", "never"]), help="Colour on stdout."),
    ]


class Verb(click.Command):
    """A verb with its example."""

    def __init__(self, *args: Any, example: str, **more: Any) -> None:
        more["params"] = [*(more.get("params") or []), *everywhere()]
        super().__init__(*args, **more)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, below the options."""
        with formatter.section("Example"):
            formatter.write_text(self.example)


class Verbs(click.Group):
    """Verbs under one word."""

    def __init__(self, *args: Any, **more: Any) -> None:
        more["params"] = [*(more.get("params") or []), *everywhere()]
        super().__init__(*args, **more)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb; for an unknown one a usage error that names the near one."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1, 0.5)
            raise click.UsageError(f"no such command: {args[0]!r}{f' (did you mean {near[0]!r}?)' if near else ''}", ctx)
        return super().resolve_command(ctx, args)


@click.group("fst", cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def fst() -> None:
    """Keeps your working folders safe and in step.

    Start with `fst up` in a folder. `fst status` tells the truth, `fst undo` takes back.
    """


def verb(group: click.Group, name: str, example: str, **more: Any) -> Callable[[Verbful[P]], click.Command]:
    """Decorator: a function of (session, its options) -> exit code becomes the verb `name` of `group`."""

    def make(function: Verbful[P]) -> click.Command:
        @click.pass_context
        def call(context: click.Context, /, *args: P.args, **options: P.kwargs) -> int:
            return function(session_of(context), *args, **options) or 0

        command = group.command(name, cls=Verb, example=example, **more)(update_wrapper(call, function))
        return command

    return make


def session_of(context: click.Context) -> Session:
    """The options given anywhere on the line, as a Session."""
    asked: dict[str, Any] = dict(context.find_root().meta.get(_ASKED, {}))
    folder = Path(asked.pop("folder", "."))
    if not folder.is_dir():
        raise InvalidValue(f"no such folder: {folder}", "Give -C a folder that exists.")
    colour = wants_colour(asked.pop("colour", "auto"), os.environ, sys.stdout.isatty())
    return Session(env=os.environ, folder=folder, colour=colour, **asked)


def join_verbs() -> None:
    """Put every verb on the tree, which importing its module does."""
    from daemon.cli.verbs import account, conflicts, history, making, settings, standing, trials, upkeep  # noqa: F401


def run(words: Sequence[str]) -> int:
    """Run one command line through the tree. Errors of usage become InvalidValue (exit code 2)."""
    join_verbs()
    try:
        if _COMPLETE in os.environ:
            return int(fst.main(list(words), prog_name="fst", complete_var=_COMPLETE) or 0)
        # Not `main`: click would end a broken pipe in its own way.
        with fst.make_context("fst", list(words)) as context:
            return int(fst.invoke(context) or 0)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "fst"
        raise InvalidValue(error.format_message().rstrip("."), f"{where} --help") from None
    except click.ClickException as error:
        raise InvalidValue(error.format_message()) from None
    except click.Abort:
        raise KeyboardInterrupt from None
