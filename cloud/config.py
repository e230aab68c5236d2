"""Everything decided once at start: the verb, the data folder, the address."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import platformdirs

from cloud.accounts.gate import GateSettings, add_options, gate_settings
from cloud.telemetry.lines import LEVELS

DEFAULT_LISTEN: Final = "127.0.0.1:8470"
ENGINES: Final = {"database": "postgresql://user@host/name", "objects": "s3://bucket/prefix", "redis": "redis://host:6379/0"}
NO_GATE: Final = GateSettings()
SECRETS: Final = ("FASTEST_CLOUD_KEY", "FASTEST_CLOUD_DATABASE", "FASTEST_CLOUD_REDIS", "FASTEST_CLOUD_SMTP", "FASTEST_CLOUD_METRICS_TOKEN")
"""Each may stand in a file instead, which the variable of the same name and `_FILE` names: a secret of Docker, a credential of systemd."""
MAX_NOTICE_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Settings:
    """What to do, and where. `address` and `port` matter to `serve`, `email` and `scope` to `token`, `repair` to `fsck`, `dry_run` to `gc`,
    `folder` to `backup` and `restore`.

    Without `database` everything is kept in the folder `data`; with one, large bytes go to `objects` and messages through `redis`.
    """

    verb: str
    data: Path
    address: str = ""
    port: int = 0
    email: str = ""
    scope: str = "user"
    repair: bool = False
    dry_run: bool = False
    database: str = field(default="", repr=False)
    objects: str = ""
    redis: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    """What secrets are sealed with; without it the data folder has a key of its own."""
    gate: GateSettings = NO_GATE
    folder: Path = Path()
    """Of a backup."""
    verify: bool = False
    key_lost: bool = False
    metrics_token: str = field(default="", repr=False)
    log_level: str = "info"
    notice_seconds: int = 0
    """How long to serve on after a signal to stop, while `GET /ready` says no."""


def parse_arguments(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Settings:
    """The command line as settings; leaves with code 2 and a usage line where it is wrong."""
    parser = argparse.ArgumentParser(prog="fst cloud", description="The other side: what your machines meet through.")
    try:
        environment = with_files(os.environ if environment is None else environment)
    except ValueError as error:
        parser.error(str(error))
    data = default_data(environment)
    verbs = parser.add_subparsers(dest="verb", required=True)
    serve = _verb(verbs.add_parser("serve", help="run until told to stop"), data)
    serve.add_argument("--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT", help=f"default {DEFAULT_LISTEN}; port 0 takes a free one")
    serve.add_argument("--notice", type=_seconds, default=0, metavar="SECONDS", help="serve on for so long after SIGTERM, but be not ready")
    add_options(serve)
    token = _verb(verbs.add_parser("token", help="print a session token, creating the user if need be"), data)
    token.add_argument("--email", required=True, metavar="ADDRESS")
    token.add_argument("--scope", default="user", help="user; or for an hour key:PROVIDER, env:PROJECT, to be given those secrets alone")
    fsck = _verb(verbs.add_parser("fsck", help="read and check everything that is kept"), data)
    fsck.add_argument(
        "--repair", action="store_true", help="let go of damaged content, so that `fst fsck --cloud` on a machine sends it again"
    )
    _verb(verbs.add_parser("migrate", help="bring the database up to this Fastest; a second time it does nothing"), data)
    _add_backups(verbs, data)
    _verb(verbs.add_parser("restored", help="say that the data was put back by other means: clients ask before they delete"), data)
    collect = _verb(verbs.add_parser("gc", help="collect what nothing names any more; a running embedded cloud does it by itself"), data)
    collect.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")
    found = parser.parse_args(arguments)
    address, port = "", 0
    if found.verb == "serve":
        try:
            address, port = parse_address(found.listen)
        except ValueError:
            parser.error(f"--listen takes HOST:PORT, not {found.listen!r}")
    engines = {name: getattr(found, name) or environment.get(f"FASTEST_CLOUD_{name.upper()}", "") for name in ENGINES}
    key, gate = environment.get("FASTEST_CLOUD_KEY", ""), gate_settings(found, environment)
    email, scope = getattr(found, "email", ""), getattr(found, "scope", "user")
    repair, dry_run = getattr(found, "repair", False), getattr(found, "dry_run", False)
    watch, level = environment.get("FASTEST_CLOUD_METRICS_TOKEN", ""), environment.get("FASTEST_CLOUD_LOG_LEVEL", "info")
    if level not in LEVELS:
        parser.error(f"FASTEST_CLOUD_LOG_LEVEL is one of {', '.join(LEVELS)}, not {level!r}")
    made = Settings(
        found.verb, found.data, address, port, email, scope, repair, dry_run, key=key, gate=gate, metrics_token=watch, log_level=level,
        notice_seconds=getattr(found, "notice", 0), **engines,  # type: ignore[arg-type]
    )  # fmt: skip
    if found.verb in ("backup", "restore"):
        made = replace(made, folder=found.folder, verify=getattr(found, "verify", False), key_lost=getattr(found, "key_lost", False))
    return made


def with_files(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, with those secrets in it that stand in files. Raises ValueError for a file that cannot be read, or two sources."""
    found = dict(environment)
    for name in SECRETS:
        path = environment.get(f"{name}_FILE", "")
        if path and environment.get(name):
            raise ValueError(f"{name} and {name}_FILE are both set")
        if path:
            try:
                found[name] = Path(path).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{name}_FILE cannot be read: {type(error).__name__}") from None
            if not found[name]:
                raise ValueError(f"{name}_FILE is empty")
    return found


def _add_backups(verbs: argparse._SubParsersAction[argparse.ArgumentParser], data: Path) -> None:
    backup = _verb(verbs.add_parser("backup", help="a whole, checked copy of a cloud, which may go on running"), data)
    backup.add_argument("folder", type=Path, metavar="DIR", help="an empty folder, or none yet")
    backup.add_argument("--verify", action="store_true", help="copy nothing: look whether the backup in DIR is as it was written")
    restore = _verb(verbs.add_parser("restore", help="put a backup into an empty place, and begin a new epoch"), data)
    restore.add_argument("folder", type=Path, metavar="DIR", help="what `fst cloud backup` made")
    restore.add_argument("--key-lost", action="store_true", help="let go of the secrets, for the key that sealed them is gone")


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[V6]:PORT` -> both. Raises ValueError."""
    address, _, port = text.rpartition(":")
    if not address or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(text)
    return address.removeprefix("[").removesuffix("]"), int(port)


def default_data(environment: Mapping[str, str]) -> Path:
    """Under FASTEST_HOME if that is set, else where this system keeps a user's data."""
    home = environment.get("FASTEST_HOME")
    return Path(home) / "cloud" if home else platformdirs.user_data_path("fastest") / "cloud"


def _verb(parser: argparse.ArgumentParser, data: Path) -> argparse.ArgumentParser:
    parser.add_argument("--data", type=Path, default=data, metavar="DIR", help=f"default {data}")
    for name, example in ENGINES.items():
        # A command line can be read by everybody on the machine: an address with a password belongs into the environment.
        parser.add_argument(f"--{name}", default="", metavar="URL", help=f"{example}; with a password in it: FASTEST_CLOUD_{name.upper()}")
    return parser


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_NOTICE_SECONDS:
        raise argparse.ArgumentTypeError(f"whole seconds up to {MAX_NOTICE_SECONDS}, not {text!r}")
    return int(text)
