"""`fst demo`: a cloud and two machines in a scratch folder, live, through nothing but the command itself."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from daemon.cli.launch import module_command
from daemon.cli.loopback import LoopbackCloud, interrupt_on_term
from daemon.cli.render.text import Ink
from daemon.cli.session import Session
from store.errors import Refused, TimedOut

CROSSING_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.001
COMMAND_SECONDS: Final = 120.0
_SAVED: Final = "hello from ada\n"
_LINES: Final = [f"line {number}\n" for number in range(1, 21)]


class Narrator:
    """Says what happens, as a transcript: on stdout, or beside it when a document is wanted there."""

    def __init__(self, session: Session) -> None:
        self._out = sys.stderr if session.as_json else sys.stdout
        self._ink = Ink(session.colour and not session.as_json)

    def scene(self, text: str) -> None:
        """What comes next."""
        print(f"\n{self._ink.strong('# ' + text)}", file=self._out, flush=True)

    def command(self, who: str, words: str) -> None:
        """What is typed."""
        print(f"{self._ink.busy(who + ' $')} {words}", file=self._out, flush=True)

    def answer(self, text: str) -> None:
        """What it says."""
        for line in text.rstrip("\n").splitlines():
            print(f"    {line}", file=self._out)
        self._out.flush()

    def result(self, text: str) -> None:
        """What has come true."""
        print(f"    {self._ink.good('=> ' + text)}", file=self._out, flush=True)


class Player:
    """One machine of the demo: a FASTEST_HOME, a folder, and the real command."""

    def __init__(self, name: str, top: Path, env: Mapping[str, str], narrator: Narrator) -> None:
        self.name = name
        self.folder = top / name / "thing"
        self._narrator = narrator
        self._top = top / name
        self._top.mkdir(parents=True)
        kept = {key: value for key, value in env.items() if not key.startswith("FASTEST_")}
        self._env = {**kept, "FASTEST_HOME": str(self._top / "home"), "FASTEST_MACHINE_NAME": name, "NO_COLOR": "1"}

    def fst(self, *words: str, given: str = "", shown: str = "") -> str:
        """Run `fst WORDS`, tell of it, and return its stdout. Raises Refused when it does not end with 0."""
        self._narrator.command(self.name, f"fst {' '.join(words)}{shown}")
        done = self._run(words, given)
        self._narrator.answer(done.stdout + done.stderr)
        if done.returncode:
            raise Refused(f"`fst {' '.join(words)}` on {self.name} ended with {done.returncode}", "What it said stands above.")
        return done.stdout

    def stop(self) -> None:
        """Stop the daemon, quietly."""
        self._run(("down",), "")

    def _run(self, words: tuple[str, ...], given: str) -> subprocess.CompletedProcess[str]:
        command, env = module_command("daemon", words, self._env)
        where = self.folder if self.folder.is_dir() else self._top
        return subprocess.run(
            command, env=env, cwd=where, input=given, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
        )

    def save(self, name: str, text: str) -> None:
        """Save a file as an editor does: in one write."""
        (self.folder / name).write_text(text, "utf-8")

    def read(self, name: str) -> str:
        """A file's text, empty while there is none."""
        try:
            return (self.folder / name).read_text("utf-8")
        except FileNotFoundError:
            return ""


def run_demo(session: Session, *, keep: bool) -> int:
    """Play it, and clean up after it; the scratch folder stays with `keep`, or when something went wrong."""
    top = Path(tempfile.mkdtemp(prefix="fst-demo-"))
    narrator = Narrator(session)
    interrupt_on_term()
    began = time.monotonic()
    try:
        measured = _play(top, session, narrator)
    except BaseException:
        session.say(f"the demo stopped; its files and logs are in {top}")
        raise
    seconds = time.monotonic() - began
    if not keep:
        shutil.rmtree(top)
    where = f"kept in {top}" if keep else "the scratch folder is gone again"
    narrator.scene(f"done in {seconds:.0f} s; {where}. Your turn: fst up")
    if session.as_json:
        print(json.dumps({"schema": 1, **measured, "seconds": round(seconds, 1), "kept_in": str(top) if keep else None}))
    return 0


def _play(top: Path, session: Session, narrator: Narrator) -> dict[str, object]:
    ada, ben = (Player(name, top, session.env, narrator) for name in ("ada", "ben"))
    with LoopbackCloud(top / "cloud", session.env) as cloud:
        try:
            narrator.scene(f"A cloud on this machine ({cloud.url}), and two machines that know nothing of each other: ada and ben")
            token = cloud.token("you@example.org")
            ada.folder.mkdir()
            ada.save("notes.txt", "".join(_LINES))
            ada.save("readme.txt", "a small project\n")
            ada.fst("login", "--cloud", cloud.url, "--token-stdin", given=token, shown="  < token")
            ada.fst("up", "--project", "thing")
            ada.fst("wait", "--uploaded", "--timeout", "30")
            ben.fst("login", "--cloud", cloud.url, "--token-stdin", given=token, shown="  < token")
            ben.fst("clone", "thing", str(ben.folder), "--mirror")
            ben.fst("wait", "--settled", "--timeout", "30")
            return _crossings(ada, ben, narrator)
        finally:
            for player in (ada, ben):
                player.stop()


def _crossings(ada: Player, ben: Player, narrator: Narrator) -> dict[str, object]:
    there_ms = _cross(ada, ben, narrator, "hello.txt", _SAVED)
    back_ms = _cross(ben, ada, narrator, "hello.txt", _SAVED + "and hello from ben\n")
    _join(ada, ben, narrator)
    narrator.scene("The first text of hello.txt was overwritten, and is kept all the same")
    digest = hashlib.sha256(_SAVED.encode()).hexdigest()
    if ben.fst("cat", digest) != _SAVED:
        raise Refused("the old content is not what was saved", "This is a mistake of ours: please report it.")
    narrator.scene("How things stand")
    ada.fst("status")
    return {"there_ms": round(there_ms, 1), "back_ms": round(back_ms, 1)}


def _cross(source: Player, target: Player, narrator: Narrator, name: str, text: str) -> float:
    """One save on its way: milliseconds from the moment it is written to the moment the other machine's file has it."""
    narrator.scene(f"{source.name} saves {name}")
    narrator.command(source.name, f"editor {name}")
    began = time.perf_counter()
    source.save(name, text)
    _until(lambda: target.read(name) == text, f"{name} on {target.name}")
    took_ms = (time.perf_counter() - began) * 1000
    narrator.result(f"{target.name} has it after {took_ms:.0f} ms")
    return took_ms


def _join(ada: Player, ben: Player, narrator: Narrator) -> None:
    narrator.scene("Both edit notes.txt at once, without the network: ada its beginning, ben its end")
    for player in (ada, ben):
        player.fst("pause")
    ada.save("notes.txt", "".join(["line 1, by ada\n", *_LINES[1:]]))
    ben.save("notes.txt", "".join([*_LINES[:-1], "line 20, by ben\n"]))
    for player in (ada, ben):
        player.fst("resume")
    joined = "".join(["line 1, by ada\n", *_LINES[1:-1], "line 20, by ben\n"])
    _until(lambda: ada.read("notes.txt") == joined == ben.read("notes.txt"), "both edits on both machines")
    narrator.result("both edits are on both machines, and no conflict is left")


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + CROSSING_SECONDS
    while not holds():
        if time.monotonic() >= deadline:
            raise TimedOut(f"{what}: not after {CROSSING_SECONDS:g} s", "`fst status` on both machines tells more; run it with --keep.")
        time.sleep(LOOK_SECONDS)
