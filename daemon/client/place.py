"""Where the daemon's socket is, and how a path is said to it.

Like all of `daemon.client` this imports nothing heavy, not even `pathlib`: every `fst status` pays for it.
"""

from __future__ import annotations

import binascii
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_DAEMON = "Start it with `fst up`, or look at it with `fst doctor`."
SOCKET_RECORD = "socket"
"""The file in the state folder that holds the path of the socket the daemon last listened on."""


def state_folder(env: Mapping[str, str]) -> str:
    """The folder where this user's daemon keeps its state (and says where its socket is)."""
    home = env.get("FASTEST_HOME")
    if home:
        return os.path.join(os.path.abspath(home), "state")
    if sys.platform.startswith("linux"):
        base = env.get("XDG_STATE_HOME", "")
        if not os.path.isabs(base):
            base = os.path.join(env.get("HOME") or os.path.expanduser("~"), ".local", "state")
        return os.path.join(base, "fastest")
    import platformdirs

    return platformdirs.user_state_dir("fastest", appauthor=False)


def find_socket(env: Mapping[str, str]) -> str:
    """The socket the daemon last said it listens on. Raises DaemonUnreachable when none ever did."""
    record = os.path.join(state_folder(env), SOCKET_RECORD)
    try:
        with open(record, "rb") as file:
            return os.fsdecode(file.read(4096).strip())
    except OSError:
        from store.errors import DaemonUnreachable

        raise DaemonUnreachable("no daemon is running", NO_DAEMON) from None


def path_field(path: str, name: str = "path") -> dict[str, str]:
    """A path as a field of a body or a query: under `path_b64` when its bytes are not UTF-8."""
    raw = os.fsencode(path)
    try:
        return {name: raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_b64": binascii.b2a_base64(raw, newline=False).decode("ascii")}


def path_fields(paths: Sequence[str]) -> dict[str, list[str]]:
    """Several paths as `paths` and, for those whose bytes are not UTF-8, `paths_b64`."""
    fields = [path_field(path) for path in paths]
    plain = [field["path"] for field in fields if "path" in field]
    coded = [field["path_b64"] for field in fields if "path_b64" in field]
    return {"paths": plain, **({"paths_b64": coded} if coded else {})}
