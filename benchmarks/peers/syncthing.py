"""Two Syncthing instances that share one folder over loopback: no discovery, relays, NAT or reports."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.proxy import CountingProxy
from benchmarks.trees import copy_tree
from tests.lab.process import Lab, Process, free_port
from tests.waiting import wait_until

KEY = "bench-key"
FOLDER = "bench"
QUIET = {
    "globalAnnounceEnabled": "false", "localAnnounceEnabled": "false", "relaysEnabled": "false", "natEnabled": "false",
    "crashReportingEnabled": "false", "urAccepted": "-1", "autoUpgradeIntervalH": "0", "startBrowser": "false",
    "reconnectionIntervalS": "2",
}  # fmt: skip
READY_SECONDS = 900
DEFAULT_DELAY_S = 10


class Instance:
    """One of the two."""

    def __init__(self, lab: Lab, name: str, root: Path) -> None:
        self.lab = lab
        self.name = name
        self.root = root
        self.home = lab.base / f"syncthing-{name}"
        self.port = free_port()
        self.gui = free_port()
        self.env = lab.environment(f"syncthing-{name}", {"HOME": str(self.home), "STNOUPGRADE": "1", "STNODEFAULTFOLDER": "1"})
        done = lab.run(["syncthing", "generate", f"--home={self.home}", "--skip-port-probing"], self.env, cwd=lab.base)
        assert done.code == 0, str(done)
        found = re.search(r"[A-Z0-9]{7}(-[A-Z0-9]{7}){7}", self._config().read_text())
        assert found is not None
        self.device = found[0]

    def configure(self, other: Instance, address_of_other: str, delay_s: int | None) -> None:
        """Its config.xml: itself, the other, one shared folder."""
        tree = ElementTree.parse(self._config())
        top = tree.getroot()
        for old in [*top.findall("folder"), *top.findall("device")]:
            top.remove(old)
        for device, address in ((self.device, "dynamic"), (other.device, address_of_other)):
            ElementTree.SubElement(ElementTree.SubElement(top, "device", id=device), "address").text = address
        shared = {"id": FOLDER, "path": str(self.root), "type": "sendreceive", "rescanIntervalS": "3600", "fsWatcherEnabled": "true"}
        shared["fsWatcherDelayS"] = str(DEFAULT_DELAY_S if delay_s is None else delay_s)  # left out of the file, it would be 0
        folder = ElementTree.SubElement(top, "folder", shared)
        for device in (self.device, other.device):
            ElementTree.SubElement(folder, "device", id=device)
        options = top.find("options")
        gui = top.find("gui")
        assert options is not None and gui is not None
        for name, value in {**QUIET, "listenAddress": f"tcp://127.0.0.1:{self.port}"}.items():
            for old in options.findall(name):
                options.remove(old)
            ElementTree.SubElement(options, name).text = value
        for name, value in (("address", f"127.0.0.1:{self.gui}"), ("apikey", KEY)):
            for old in gui.findall(name):
                gui.remove(old)
            ElementTree.SubElement(gui, name).text = value
        tree.write(self._config())

    def start(self) -> None:
        argv = ["syncthing", "serve", f"--home={self.home}", "--no-browser", "--no-restart"]
        self.lab.start(argv, self.env, cwd=self.lab.base, log=self.lab.base / f"syncthing-{self.name}.log")

    def ask(self, path: str) -> dict[str, Any]:
        """One answer of its REST interface; empty while it does not answer."""
        asking = urllib.request.Request(f"http://127.0.0.1:{self.gui}/rest/{path}", headers={"X-API-Key": KEY})
        try:
            with urllib.request.urlopen(asking, timeout=10) as answer:
                document: dict[str, Any] = json.load(answer)
                return document
        except (urllib.error.URLError, OSError):
            return {}

    def _config(self) -> Path:
        return self.home / "config.xml"


class Syncthing:
    """A mirror of two folders; `delay_s` None is its default of 10 s."""

    def __init__(self, lab: Lab, delay_s: int | None) -> None:
        self.lab = lab
        self.delay_s = delay_s
        self.name = "Syncthing, default" if delay_s is None else f"Syncthing, fsWatcherDelayS {delay_s}"

    def start(self, a: Path, b: Path) -> None:
        """Run until both say that they are in sync. B begins as a copy, so that only indexing is left to do."""
        self._prepare(a, b)
        self._run(self.right.port)

    def is_in_sync(self) -> bool:
        """Connected, both idle, nothing needed, the same count of files everywhere."""
        links = self.left.ask("system/connections").get("connections", {})
        if not links.get(self.right.device, {}).get("connected"):
            return False
        states = [one.ask(f"db/status?folder={FOLDER}") for one in (self.left, self.right)]
        if not all(state and state["state"] == "idle" and state["needBytes"] == state["needFiles"] == 0 for state in states):
            return False
        return len({state[count] for state in states for count in ("localFiles", "globalFiles")}) == 1 and states[0]["localFiles"] > 0

    def start_counted(self, a: Path, b: Path) -> CountingProxy:
        """The same, with a proxy on the one link that carries the two."""
        self._prepare(a, b)
        proxy = CountingProxy(self.right.port)
        self._run(proxy.port)
        return proxy

    def processes(self) -> list[Process]:
        """Both instances."""
        return self.lab.processes("syncthing-a", "syncthing-b")

    def left_processes(self) -> list[Process]:
        """One instance."""
        return self.lab.processes("syncthing-a")

    def _prepare(self, a: Path, b: Path) -> None:
        if not b.exists():
            copy_tree(a, b)
        self.left, self.right = Instance(self.lab, "a", a), Instance(self.lab, "b", b)

    def _run(self, reach_b_at: int) -> None:
        # Only the left one knows an address: there is one connection, and it goes where it is told.
        self.left.configure(self.right, f"tcp://127.0.0.1:{reach_b_at}", self.delay_s)
        self.right.configure(self.left, "dynamic", self.delay_s)
        self.left.start()
        self.right.start()
        wait_until(self.is_in_sync, READY_SECONDS, f"{self.name} is in sync")
