"""A browser without scripts: it keeps cookies, follows links of its own site, and sends forms as they stand in the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp

FORM = "application/x-www-form-urlencoded"


@dataclass
class Form:
    """Where it leads, what it sends unasked, and its buttons by their text."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)


class Page(HTMLParser):
    """What a person sees of an answer."""

    def __init__(self, url: str, status: int, headers: dict[str, str], html: str) -> None:
        super().__init__()
        self.url = url
        self.status = status
        self.headers = headers
        self.html = html
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self.title = ""
        self._words: list[str] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._words).split())

    def form(self, button: str) -> Form:
        """The form with this button."""
        found = [form for form in self.forms if button in form.buttons]
        assert found, f"no button {button!r} in: {self.text}"
        return found[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(named.get("method", "get"), named["action"]))
        elif tag == "input" and self.forms:
            self.forms[-1].fields[named["name"]] = named.get("value", "")
        elif tag == "select":
            self.forms[-1].fields[named["name"]] = ""
        if tag not in ("input", "meta"):
            self._open.append((tag, named))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1][0] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        tag, named = self._open[-1] if self._open else ("", {})
        if tag == "title":
            self.title = data
        elif tag != "style":
            self._words.append(data)
        if tag == "a":
            self.links[data] = named["href"]
        if tag == "button":
            self.forms[-1].buttons[named.get("aria-label", data)] = (named.get("name", ""), named.get("value", ""))


class Browser:
    """One person's. `agent` is what it calls itself; `address` is what a proxy says of it."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, agent: str = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", address: str = ""
    ) -> None:
        self._http = http
        self._url = url
        self._agent = agent
        self._address = address
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []

    async def open(self, path: str) -> Page:
        return await self.ask("GET", urljoin(self._url, path))

    async def send(self, page: Page, button: str, **typed: str) -> Page:
        """Fill in the form with this button, and press it."""
        form = page.form(button)
        name, value = form.buttons[button]
        fields = {**form.fields, **typed, **({name: value} if name else {})}
        assert typed.keys() <= form.fields.keys(), f"{sorted(form.fields)} has not all of {sorted(typed)}"
        target = urljoin(page.url, form.action)
        if form.method == "get":
            return await self.ask("GET", f"{target}?{urlencode(fields)}")
        return await self.ask("POST", target, fields)

    async def ask(self, method: str, url: str, fields: dict[str, str] | None = None, **headers: str) -> Page:
        """One request and where it leads."""
        data = None if fields is None else urlencode(fields)
        sent = {"User-Agent": self._agent, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **headers}
        if self._address:
            sent["X-Forwarded-For"] = self._address
        if data is not None:
            origin = urlsplit(self._url)
            sent = {"Content-Type": FORM, "Origin": f"{origin.scheme}://{origin.netloc}", "Sec-Fetch-Site": "same-origin", **sent}
        async with self._http.request(method, url, data=data, headers=sent, allow_redirects=False) as response:
            for name, morsel in response.cookies.items():
                self.set_cookies.append(morsel.OutputString())
                if morsel.value:
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)
            if response.status in (302, 303):
                return await self.ask("GET", urljoin(url, response.headers["Location"]))
            return Page(url, response.status, dict(response.headers), await response.text())
