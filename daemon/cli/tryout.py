"""What `make run` starts: a cloud on loopback, a daemon and a folder, live until Ctrl-C."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from daemon.cli.launch import ensure_daemon, stop_daemon
from daemon.cli.loopback import LoopbackCloud, interrupt_on_term
from daemon.cli.progress import follow, reporter_for
from daemon.cli.quick import ask_status
from daemon.cli.render.places import login_lines, made_lines
from daemon.cli.render.status import state_word
from daemon.cli.render.text import Ink, count_text, length_of, path_text, plain, size_text
from daemon.cli.session import Session
from daemon.client import Client
from daemon.client.exchange import TYPE_CHECKING
from daemon.login import Accounts

if TYPE_CHECKING:
    from daemon.client.exchange import Document

PORT: Final = 8787
UPLOAD_SECONDS: Final = 60.0
_SAMPLE: Final = {
    "README.md": "# A sample\n\nEdit, add and remove files here, and watch the other window.\n",
    "notes.txt": "".join(f"line {number}\n" for number in range(1, 21)),
    "src/hello.py": 'print("hello")\n',
    ".env": "API_TOKEN=this-looks-like-a-secret-and-stays-here\n",
}


def run_tryout(session: Session, given: str | None, *, kept_in: str, once: bool) -> int:
    """Set up, say how things stand, follow what happens; on the way out stop what was started. History stays for the next time."""
    top = Path(session.place(kept_in))
    folder = Path(session.place(str(Path(given).expanduser()))) if given else _sample(top / "sample")
    env = {**{key: value for key, value in session.env.items() if key != "FASTEST_HOME"}, "FASTEST_HOME": str(top / "machine")}
    ours = replace(session, env=env)
    interrupt_on_term()
    with LoopbackCloud(top / "cloud", env, PORT) as cloud:
        try:
            client = ensure_daemon(ours)
            _sign_in(ours, client, cloud)
            result = follow(client.up(str(folder), project=None, name=None, dry_run=False), reporter_for(ours))
            follow(client.wait(str(folder), "uploaded", machine=None, timeout_s=UPLOAD_SECONDS), reporter_for(ours))
            session.show({**result, "cloud_url": cloud.url, "home": str(top)}, _said(result, folder, top, cloud, session.ink))
            if not once:
                _follow(ours, client, folder)
        except KeyboardInterrupt:
            session.say("stopping; history stays in " + str(top))
        finally:
            stop_daemon(ours)
    return 0


def _sign_in(session: Session, client: Client, cloud: LoopbackCloud) -> None:
    places = session.settings().places
    account = Accounts(places.account_file, places.account_key, None)
    if account.address() != cloud.url:
        answer = client.login(cloud.url, cloud.token("you@localhost"))
        for line in login_lines(answer, str(places.account_file)):
            session.say(line)


def _sample(folder: Path) -> Path:
    for name, text in _SAMPLE.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text(text, "utf-8")
    return folder


def _said(result: Document, folder: Path, top: Path, cloud: LoopbackCloud, ink: Ink) -> list[str]:
    script = Path(sys.executable).with_name("fst")
    fst = script if script.exists() else "fst"
    return [
        *made_lines(result, str(folder), ink, dry_run=False),
        "",
        f"cloud      {cloud.url}  (this machine only; its data: {top / 'cloud'})",
        f"history    {top / 'machine' / 'data'}",
        f"look       FASTEST_HOME={top / 'machine'} {fst} status",
        f"another    FASTEST_HOME={top / 'second'} {fst} ... is a second machine: README, `Two machines by hand`",
        "stop       Ctrl-C",
        "",
    ]


def _follow(session: Session, client: Client, folder: Path) -> None:
    """A line for every change of the status, until Ctrl-C or until the daemon goes."""
    last = ""
    session.say(f"Live: save something in {folder}")
    for _ in client.events():
        document = ask_status(client, ".", str(folder))
        for workspace in document.get("workspaces", []):
            line = live_line(workspace, str(document.get("daemon", {}).get("cloud", "")), session.ink)
            if line != last:
                last = line
                print(f"{time.strftime('%H:%M:%S')}  {line}")
                sys.stdout.flush()


def live_line(workspace: Document, cloud: str, ink: Ink) -> str:
    """One workspace on one line."""
    amount = f"{count_text(workspace.get('files', 0), 'file')}, {size_text(workspace.get('bytes', 0))}"
    parts = [state_word(workspace, cloud, ink), f"version {plain(workspace.get('version', '-'))}", amount]
    if number := length_of(workspace.get("conflicts")):
        parts.append(count_text(number, "conflict"))
    held = workspace.get("held_back")
    if isinstance(held, list) and held:
        parts.append("held back: " + ", ".join(path_text(item) for item in held[:3]))
    return "  ".join(parts)
