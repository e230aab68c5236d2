"""A real browser, headless, without scripts: Debian's Chromium, driven over its own protocol as a person would, by mouse and keyboard."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.lab.process import kill_group
from tests.waiting import until

WIDTH, HEIGHT = 1000, 900
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server", "--hide-scrollbars",
    "--remote-debugging-port=0", f"--window-size={WIDTH},{HEIGHT}",
)  # fmt: skip


class Gone(AssertionError):
    """What was asked about is not there, or no more."""


class Tab:
    """One page of it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._loaded = 0
        self.complaints: list[str] = []
        """What the browser itself found wrong: policies broken, things that would not load."""

    async def ask(self, method: str, **params: object) -> Any:
        """One command and its answer."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(30):
            while number not in self._answers:
                await self._hear()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise Gone(f"{method}: {answer['error']}")
        return answer["result"]

    async def _hear(self, seconds: float = 30) -> None:
        message = await self._socket.receive_json(timeout=seconds)
        if "id" in message:
            self._answers[message["id"]] = message
        elif message["method"] == "Page.loadEventFired":
            self._loaded += 1
        elif message["method"] == "Log.entryAdded" and "favicon" not in str(message):
            self.complaints.append(str(message["params"]["entry"]["text"]))

    async def begin(self) -> None:
        """Scripts off, for good."""
        for domain in ("Page", "DOM", "Log"):
            await self.ask(f"{domain}.enable")
        await self.ask("Emulation.setScriptExecutionDisabled", value=True)

    async def open(self, url: str) -> None:
        """As typed into the bar."""
        await self._leading_on("Page.navigate", url=url)

    async def type(self, selector: str, text: str) -> None:
        """Into the field."""
        await self.ask("DOM.focus", nodeId=await self._find(selector))
        await self.ask("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """With the mouse, onto the middle of it; then the next page is there."""
        node = await self._find(selector)
        await self.ask("DOM.scrollIntoViewIfNeeded", nodeId=node)
        quad = (await self.ask("DOM.getContentQuads", nodeId=node))["quads"][0]
        at = {"x": sum(quad[::2]) / 4, "y": sum(quad[1::2]) / 4, "button": "left", "clickCount": 1}
        await self.ask("Input.dispatchMouseEvent", type="mousePressed", **at)
        await self._leading_on("Input.dispatchMouseEvent", type="mouseReleased", **at)

    async def text(self) -> str:
        """All the HTML of the page."""
        root = (await self.ask("DOM.getDocument"))["root"]["nodeId"]
        return str((await self.ask("DOM.getOuterHTML", nodeId=root))["outerHTML"])

    async def until_says(self, text: str) -> None:
        """Until the page, or the one it leads to by itself, has this text."""
        async with asyncio.timeout(30):
            while True:
                with suppress(Gone):  # the page led on meanwhile
                    if text in await self.text():
                        return
                with suppress(TimeoutError):  # what it waits for may have been heard while we asked
                    await self._hear(0.2)

    async def picture(self, path: Path) -> None:
        """A PNG of what is to be seen."""
        taken = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(taken["data"]))

    async def _leading_on(self, method: str, **params: object) -> None:
        before = self._loaded
        await self.ask(method, **params)
        async with asyncio.timeout(30):
            while self._loaded == before:
                await self._hear()

    async def _find(self, selector: str) -> int:
        root = (await self.ask("DOM.getDocument"))["root"]["nodeId"]
        found = int((await self.ask("DOM.querySelector", nodeId=root, selector=selector))["nodeId"])
        assert found, f"no {selector} on this page"
        return found


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Tab]:
    """A new browser with an empty profile."""
    port_file = folder / "DevToolsActivePort"
    process = await asyncio.to_thread(_start, folder)
    try:
        await until(lambda: port_file.exists() and port_file.read_text().count("\n"), 60, "Chromium listens")
        port = int(port_file.read_text().split("\n")[0])
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                address = next(each["webSocketDebuggerUrl"] for each in await answer.json() if each["type"] == "page")
            async with http.ws_connect(address, max_msg_size=0) as socket:
                tab = Tab(socket)
                await tab.begin()
                yield tab
    finally:
        kill_group(process)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    words = [_binary(), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    home = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    return subprocess.Popen(words, env=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _binary() -> str:
    """Where it is, installed if need be: once, however many test processes want it, on a machine that may have no lists of packages yet."""
    if (found := shutil.which("chromium")) is None:
        with (Path(tempfile.gettempdir()) / "fst-apt.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            for words in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
                subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=300", *words], check=False, stdout=subprocess.DEVNULL, env=env)
        found = shutil.which("chromium")
    assert found is not None, "chromium is not here and could not be installed. Next: apt-get install chromium"
    return found
