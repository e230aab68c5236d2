"""Open a page in the person's browser, when there is one to be seen."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress


def browser_command(url: str, env: Mapping[str, str]) -> list[str] | None:
    """What opens a page here: `$BROWSER`, else the desktop's own way. None where nobody would see it."""
    if named := env.get("BROWSER", "").split(os.pathsep)[0].strip():
        with suppress(ValueError):
            words = shlex.split(named)
            return [word.replace("%s", url) for word in words] if "%s" in named else [*words, url]
        return None
    if env.get("SSH_CONNECTION") or env.get("CI"):
        return None
    if sys.platform == "darwin":
        return ["open", url]
    if not (env.get("DISPLAY") or env.get("WAYLAND_DISPLAY")) or not (opener := shutil.which("xdg-open")):
        return None
    return [opener, url]


def open_page(url: str, env: Mapping[str, str]) -> bool:
    """True when something was started. It has a session of its own: Ctrl-C here does not end it, and it says nothing on our streams."""
    command = browser_command(url, env)
    if command is None:
        return False
    nowhere = subprocess.DEVNULL
    try:
        subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=dict(env), start_new_session=True)
    except OSError:
        return False
    return True
