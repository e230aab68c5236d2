"""An OpenID issuer on loopback: it lets everybody in as whoever it is told, checks what a client owes it, and lies where asked to."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

CLIENT, SECRET = "fastest-client", "client-secret"


class TestIssuer:
    """`claims` go over the honest ones (None leaves one out); `sign` makes the token."""

    __test__ = False

    def __init__(self) -> None:
        self.url = ""
        self.key: RSAKey | ECKey = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}, private=True)
        self.person = {
            "sub": "subject-1",
            "email": "Ada@Example.org",
            "email_verified": True,
            "name": "Ada",
            "picture": "https://x.org/a.png",
        }
        self.claims: dict[str, object] = {}
        self.discovery: dict[str, object] = {}
        self.sign: Callable[[dict[str, object]], str] = self.signed
        self.answer: dict[str, str] = {}
        """Over what is sent back through the browser."""
        self.key_fetches = 0
        self.asks = False
        """Whether a person has to press something there."""
        self._codes: dict[str, dict[str, str]] = {}

    def signed(self, claims: dict[str, object]) -> str:
        algorithm = "ES256" if isinstance(self.key, ECKey) else "RS256"
        return jws.serialize_compact({"alg": algorithm, "kid": str(self.key.kid)}, _json(claims), self.key)

    def signed_with_the_public_key(self, claims: dict[str, object]) -> str:
        """As a shared secret: a verifier that lets the token choose believes it."""
        pem = self.key.as_pem(private=False)
        return jws.serialize_compact(
            {"alg": "HS256", "kid": "one"}, _json(claims), OctKey.import_key(base64.urlsafe_b64encode(pem).decode())
        )

    def unsigned(self, claims: dict[str, object]) -> str:
        head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        return f"{head}.{base64.urlsafe_b64encode(_json(claims)).rstrip(b'=').decode()}."

    def signed_by_another(self, claims: dict[str, object]) -> str:
        other = RSAKey.generate_key(2048, {"kid": "one"}, private=True)
        return jws.serialize_compact({"alg": "RS256", "kid": "one"}, _json(claims), other)

    def changed_after(self, claims: dict[str, object]) -> str:
        head, _, mark = self.signed(claims).split(".")
        body = base64.urlsafe_b64encode(_json({**claims, "sub": "somebody-else"})).rstrip(b"=").decode()
        return f"{head}.{body}.{mark}"

    async def discover(self, _: web.Request) -> web.Response:
        told = {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }  # fmt: skip
        return web.json_response({**told, **self.discovery})

    async def keys(self, _: web.Request) -> web.Response:
        self.key_fetches += 1
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT and asked["code_challenge_method"] == "S256", asked
        assert set(asked["scope"].split()) == {"openid", "email", "profile"}
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = {"code": code, "state": asked["state"], **self.answer}
        there = f"{asked['redirect_uri']}?{urlencode(back)}"
        if self.asks:
            return web.Response(text=f'<a href="{escape(there)}">Yes, it is me</a>', content_type="text/html")
        raise web.HTTPFound(there)

    async def token(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text()))
        asked = self._codes.pop(form.get("code", ""), None)
        given = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if asked is None or request.headers.get("Authorization") != given or form["redirect_uri"] != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if challenge != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        honest = {"iss": self.url, "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": asked["nonce"], **self.person}
        claims = {name: value for name, value in {**honest, **self.claims}.items() if value is not None}
        return web.json_response({"access_token": "unused", "token_type": "Bearer", "id_token": self.sign(claims)})


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


@asynccontextmanager
async def issuing(name: str = "127.0.0.1") -> AsyncIterator[TestIssuer]:
    """One that answers, under this name."""
    issuer = TestIssuer()
    app = web.Application()
    app.add_routes([
        web.get("/.well-known/openid-configuration", issuer.discover), web.get("/keys", issuer.keys),
        web.get("/authorize", issuer.authorize), web.post("/token", issuer.token),
    ])  # fmt: skip
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.url = f"http://{name}:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        await runner.cleanup()
