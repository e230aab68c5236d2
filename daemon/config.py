"""Everything decided once, at start: the settings, and the places where this machine keeps its things.

A setting comes from a flag, else from the environment (`secrets.hold` is `FASTEST_SECRETS_HOLD`), else from the file, else from
here. A file that cannot be understood is refused with its line: a setting that silently does nothing is how secrets leave.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daemon.client.place import SOCKET_RECORD, state_folder
from store.errors import InvalidValue, Unwritable

MAX_SOCKET_BYTES: Final = 100
"""A Unix socket's path has 104 to 108 bytes, with the NUL; some stay free."""

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Places:
    """Folders and files of one machine; all of them under FASTEST_HOME when that is set."""

    config: Path
    data: Path
    state: Path
    logs: Path
    runtime: Path
    socket: Path
    is_own_home: bool
    """FASTEST_HOME is set: everything stays under it, the token too (never in the keyring, which all homes share)."""

    @property
    def config_file(self) -> Path:
        """The settings, as TOML."""
        return self.config / "config.toml"

    @property
    def account_file(self) -> Path:
        """Which cloud this machine is signed in to, and the token unless the keyring has it."""
        return self.state / "account.json"

    @property
    def account_key(self) -> Path:
        """What opens the token in that file; in another folder, so that a copy of one is worth nothing."""
        return self.data / "account.key"


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be chosen. A field's key is its name with the first `_` as a dot."""

    places: Places
    secrets_hold: bool = True
    settle_quiet_ms: int = 50
    settle_max_ms: int = 500
    conflict_style: str = "record"
    brake_files: int = 50
    brake_share: float = 0.25
    lan_enabled: bool = True
    tray_enabled: bool = True
    cloud_url: str = ""
    cloud_insecure: bool = False
    machine_name: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: what kind of value it takes, within which bounds, and what it means."""

    default: Value
    meaning: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def parse(self, value: object) -> Value:
        """The value, if it is one of this key's. Raises ValueError with what is wrong."""
        if isinstance(self.default, bool) != isinstance(value, bool):
            raise ValueError(f"takes {self.takes}")
        if isinstance(self.default, float) and isinstance(value, int):
            value = float(value)
        if not isinstance(value, type(self.default)):
            raise ValueError(f"takes {self.takes}")
        outside = isinstance(value, int | float) and not (self.low is None or self.high is None) and not self.low <= value <= self.high
        if outside or (self.choices and value not in self.choices):
            raise ValueError(f"takes {self.takes}")
        return value

    def parse_text(self, text: str) -> Value:
        """A value given as a word (a flag, the environment, `fst config set`). Raises ValueError."""
        if isinstance(self.default, bool):
            word = _WORDS.get(text.strip().lower())
            return self.parse(text if word is None else word)
        if isinstance(self.default, str):
            return self.parse(text)
        try:
            return self.parse(type(self.default)(text))
        except ValueError:
            raise ValueError(f"takes {self.takes}") from None

    @property
    def takes(self) -> str:
        """What may stand there, for people."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(self.default)]
        return kind if self.low is None else f"{kind} from {self.low:g} to {self.high:g}"


_WORDS: Final = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}

KEYS: Final[Mapping[str, Key]] = {
    "secrets.hold": Key(True, "keep secret-looking files (.env, keys, tokens) out of the cloud until allowed"),
    "settle.quiet_ms": Key(50, "how long a burst of saves must be quiet before it is taken", 1, 60_000),
    "settle.max_ms": Key(500, "how long a burst may go on before it is taken all the same", 1, 600_000),
    "conflict.style": Key("record", "what a conflict leaves in the folder, beside its record", choices=("record", "copy", "markers")),
    "brake.files": Key(50, "a change that removes or empties more files than this waits for `fst approve`", 0, 1_000_000_000),
    "brake.share": Key(0.25, "... and more than this share of all files", 0, 1),
    "lan.enabled": Key(True, "fetch content from your other machines on the same network (without effect in this release)"),
    "tray.enabled": Key(True, "show the icon in the tray (without effect in this release)"),
    "cloud.url": Key("", "the cloud that `fst login` signs in to"),
    "cloud.insecure": Key(False, "allow plain http to a cloud that is not on this machine"),
    "machine.name": Key("", "what your other machines call this one; empty: its network name"),
}


def field_of(key: str) -> str:
    """`secrets.hold` -> `secrets_hold`, its field in Settings."""
    return key.replace(".", "_")


def variable_of(key: str) -> str:
    """`secrets.hold` -> `FASTEST_SECRETS_HOLD`."""
    return "FASTEST_" + field_of(key).upper()


# --- settings -----------------------------------------------------------------------------------------------------------------


def load_settings(flags: Mapping[str, str], env: Mapping[str, str]) -> Settings:
    """Flag, else environment, else file, else default. Raises InvalidValue that names the file and line, variable or flag."""
    places = find_places(env)
    chosen = {key: value for key, (value, _) in choose_settings(flags, env, places.config_file).items()}
    if chosen["settle.max_ms"] < chosen["settle.quiet_ms"]:  # type: ignore[operator]  # both are int by KEYS
        raise InvalidValue("settle.max_ms is less than settle.quiet_ms", "Raise it with `fst config set settle.max_ms MS`.")
    return Settings(places, **{field_of(key): value for key, value in chosen.items()})  # type: ignore[arg-type]  # typed by KEYS


def choose_settings(flags: Mapping[str, str], env: Mapping[str, str], file: Path) -> dict[str, tuple[Value, str]]:
    """Every key's value, and where it comes from: `flag`, a variable's name, `FILE:LINE` or `default`."""
    written = read_settings(file)
    chosen: dict[str, tuple[Value, str]] = {}
    for key, known in KEYS.items():
        chosen[key] = written.get(key, (known.default, "default"))
        variable = variable_of(key)
        for text, origin in ((env.get(variable), variable), (flags.get(key), "flag")):
            if text is not None:
                chosen[key] = (parse_setting(key, text, origin), origin)
    if unknown := sorted(set(flags) - set(KEYS)):
        raise unknown_key(unknown[0], "flag")
    return chosen


def parse_setting(key: str, text: str, origin: str) -> Value:
    """A key's value given as a word. Raises InvalidValue."""
    if key not in KEYS:
        raise unknown_key(key, origin)
    try:
        return KEYS[key].parse_text(text)
    except ValueError as error:
        raise InvalidValue(f"{origin}: {key} {error}, not {text!r}", f"`fst config set {key} ...`") from None


def unknown_key(key: str, origin: str) -> InvalidValue:
    """The error for a key that is none, with the nearest that is."""
    import difflib

    near = difflib.get_close_matches(key, KEYS, 1)
    return InvalidValue(f"{origin}: unknown setting {key!r}", f"Did you mean {near[0]!r}?" if near else "`fst config list` shows them all.")


def read_settings(file: Path) -> dict[str, tuple[Value, str]]:
    """The file's settings, each with `FILE:LINE`; nothing for a file that is not there. Raises InvalidValue."""
    try:
        text = file.read_text("utf-8")
        tables = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Unwritable(f"the settings in {file} cannot be read: {error.strerror}", "Make the file readable for you.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{file}: not TOML: {error}", "`fst config edit` opens it.") from None
    found: dict[str, tuple[Value, str]] = {}
    for key, value in _flat(tables):
        origin = f"{file}:{line_of(text, key)}"
        if key not in KEYS:
            raise unknown_key(key, origin)
        try:
            found[key] = (KEYS[key].parse(value), origin)
        except ValueError as error:
            raise InvalidValue(f"{origin}: {key} {error}, not {value!r}", "`fst config edit` opens the file.") from None
    return found


def _flat(tables: Mapping[str, object], above: str = "") -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for name, value in tables.items():
        key = above + name
        pairs.extend(_flat(value, key + ".") if isinstance(value, dict) and key not in KEYS else [(key, value)])
    return pairs


_HEADER: Final = re.compile(r"\s*\[\s*([\w.\"'-]+)\s*\]")
_PAIR: Final = re.compile(r"\s*([\w.\"'-]+)\s*=")
_COMMENT: Final = re.compile(r"""^(?:[^#"']|"[^"]*"|'[^']*')*?(\s+#.*)$""")


def line_of(text: str, key: str) -> int:
    """The line, from 1, where TOML text sets a key; 0 when it does not. (tomllib tells no lines.)"""
    table = ""
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            table = header[1].replace('"', "").replace("'", "") + "."
        elif (pair := _PAIR.match(line)) and (table + pair[1].replace('"', "").replace("'", "")) == key:
            return number
    return 0


def set_line(text: str, key: str, value: Value) -> str:
    """TOML text with one key set; comments and all other lines stay as they are."""
    lines = text.rstrip("\n").split("\n") if text else []
    table, _, name = key.partition(".")
    if at := line_of(text, key):
        before, _, after = lines[at - 1].partition("=")
        comment = _COMMENT.search(after)
        lines[at - 1] = f"{before.rstrip()} = {_literal(value)}{comment[1] if comment else ''}"
    elif headers := [at for at, line in enumerate(lines) if (found := _HEADER.match(line)) and found[1] == table]:
        lines.insert(headers[0] + 1, f"{name} = {_literal(value)}")
    elif dotted := [at for at, line in enumerate(lines) if line.lstrip().startswith(f"{table}.")]:
        lines.insert(dotted[0] + 1, f"{key} = {_literal(value)}")
    else:
        lines += [*([""] if lines else []), f"[{table}]", f"{name} = {_literal(value)}"]
    return "\n".join(lines) + "\n"


def write_setting(file: Path, key: str, text: str, *, dry_run: bool = False) -> Value:
    """Set one key in the file, made if need be and replaced in one step; what it is now. Raises InvalidValue, Unwritable."""
    value = parse_setting(key, text, "fst config set")
    read_settings(file)
    try:
        before = file.read_text("utf-8") if file.exists() else ""
        after = set_line(before, key, value)
        if dict(_flat(tomllib.loads(after))).get(key) != value:
            raise InvalidValue(f"{file} is written in a way that `fst config set` cannot change", "`fst config edit` opens it.")
        if dry_run:
            return value
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        fresh.write_text(after, "utf-8")
        fresh.replace(file)
    except tomllib.TOMLDecodeError:
        raise InvalidValue(f"{file} is written in a way that `fst config set` cannot change", "`fst config edit` opens it.") from None
    except OSError as error:
        raise Unwritable(f"{file} cannot be written: {error.strerror}", "Make it writable for you.") from None
    return value


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    def escaped(letter: str) -> str:
        return letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08X}"

    return f'"{"".join(map(escaped, text))}"'


# --- places -------------------------------------------------------------------------------------------------------------------


def find_places(env: Mapping[str, str]) -> Places:
    """Where this machine keeps its things: under FASTEST_HOME, else where the system wants them. Makes nothing."""
    home = env.get("FASTEST_HOME")
    if home:
        top = Path(home).absolute()
        runtime = top / "run"
        return Places(top / "config", top / "data", top / "state", top / "logs", runtime, short_socket(runtime / "daemon.sock"), True)
    import platformdirs

    system = platformdirs.PlatformDirs("fastest", appauthor=False)
    try:
        with warnings.catch_warnings():
            # Without XDG_RUNTIME_DIR it warns, and falls back to a predictable folder; `make_places` looks at its owner and mode.
            warnings.simplefilter("ignore")
            runtime = Path(system.user_runtime_dir)
    except PermissionError as error:
        raise Unwritable(str(error), "Set XDG_RUNTIME_DIR or FASTEST_HOME to a folder of yours.") from None
    state = Path(state_folder(env))
    socket = short_socket(runtime / "daemon.sock")
    return Places(Path(system.user_config_dir), Path(system.user_data_dir), state, state / "logs", runtime, socket, False)


def short_socket(wished: Path) -> Path:
    """The path itself, or a short one made from it when it is too long for a socket."""
    if len(os.fsencode(wished)) <= MAX_SOCKET_BYTES:
        return wished
    name = hashlib.sha256(os.fsencode(wished)).hexdigest()[:24]
    base = "/tmp" if sys.platform != "win32" else tempfile.gettempdir()
    return Path(base) / f"fastest-{_user_id()}" / f"{name}.sock"


def make_places(places: Places) -> None:
    """Make the folders, private to this user. Raises Unwritable when the socket's folder is not ours alone."""
    try:
        for folder in (places.config, places.data, places.state, places.logs, places.runtime, places.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(f"{error.filename} cannot be made: {error.strerror}", "Set FASTEST_HOME to a folder you may write.") from None
    check_private(places.socket.parent)


def check_private(folder: Path) -> None:
    """Raises Unwritable unless the folder is a real folder, this user's, and closed to everybody else (it is closed if it is ours)."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != _user_id():
        raise Unwritable(f"{folder} belongs to somebody else", "Remove it, or set XDG_RUNTIME_DIR or FASTEST_HOME to a folder of yours.")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def record_socket(places: Places) -> None:
    """Write down which socket is listened on, so that every `fst` of this user finds it, whatever its environment says."""
    fresh = places.state / f".{SOCKET_RECORD}.{os.getpid()}"
    try:
        fresh.write_bytes(os.fsencode(places.socket) + b"\n")
        fresh.replace(places.state / SOCKET_RECORD)
    except OSError as error:
        raise Unwritable(f"{places.state} cannot be written: {error.strerror}", "Set FASTEST_HOME to a folder you may write.") from None


def _user_id() -> int:
    return os.getuid() if sys.platform != "win32" else 0
