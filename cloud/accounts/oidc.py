"""Signing in through an OpenID issuer: the code flow with PKCE, and what is believed of the token that comes of it.

Theory. Nothing that came through the browser is believed by itself. What we asked for (issuer, state, nonce, verifier) travels in a
sealed cookie of the browser that asked; the token comes from the issuer over TLS, is signed with one of its keys, is for us, is fresh,
and holds our nonce. A person is (issuer, subject) from then on: an address that the issuer gave to somebody else lets nobody in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import tomllib
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cloud.accounts.session import know_user, parse_address
from cloud.accounts.vault import Vault
from cloud.database import Tx
from cloud.records.moments import text_of
from cloud.records.people import accounts
from store.errors import FastestError, InvalidValue, Offline, Refused, SecretDamaged, Unwritable
from store.types import UNREADABLE

T = TypeVar("T")

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""With public keys all of them: a shared secret or no signature is no signature here."""
LIFE_MS: Final = 10 * 60_000
SKEW_SECONDS: Final = 60
KNOWN_MS: Final = 60 * 60_000
AGAIN_MS: Final = 60_000
"""A key that is not known makes us look again, but not oftener."""
ANSWER_SECONDS: Final = 10
MAX_ANSWER: Final = 1024 * 1024
MAX_TEXT: Final = 255
PLACE: Final = "sign-in through an issuer"


class IssuerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[issuer]]` of the file. `name` is what people see."""

    name: str
    url: str
    client_id: str
    client_secret: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    issuer: list[IssuerSettings] = []


class Begun(msgspec.Struct, frozen=True):
    """What we asked for, in the cookie of the browser that asked."""

    issuer: str
    state: str
    nonce: str
    verifier: str
    back: str
    user_code: str
    until_ms: int


class Claims(msgspec.Struct, frozen=True):
    """What is looked at of an ID token."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    iat: float
    nonce: str = ""
    azp: str = ""
    nbf: float = 0
    email: str = ""
    email_verified: bool = False
    name: str | None = None
    picture: str | None = None


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str


class Issuer:
    """One of those that people may sign in through."""

    def __init__(self, settings: IssuerSettings) -> None:
        self.settings = settings
        self._found: _Discovery | None = None
        self._keys = KeySet([])
        self._found_ms = self._keys_ms = -KNOWN_MS

    async def begin(self, vault: Vault, back: str, user_code: str, now_ms: int) -> tuple[str, str]:
        """Where to send the browser, and what it keeps meanwhile. Raises Offline, Refused."""
        found = await self._discover(now_ms)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        begun = Begun(self.settings.name, state, nonce, verifier, back, user_code, now_ms + LIFE_MS)
        asked = {
            "response_type": "code", "client_id": self.settings.client_id, "redirect_uri": back, "scope": "openid email profile",
            "state": state, "nonce": nonce, "code_challenge": _base64(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }  # fmt: skip
        joint = "&" if urlsplit(found.authorization_endpoint).query else "?"
        return f"{found.authorization_endpoint}{joint}{urlencode(asked)}", vault.seal(msgspec.json.encode(begun).decode(), PLACE)

    async def finish(self, begun: Begun, code: str, now_ms: int) -> Claims:
        """Who it was, checked. Raises Offline, Refused."""
        found = await self._discover(now_ms)
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": begun.back, "code_verifier": begun.verifier}
        headers: dict[str, str] = {}
        if "client_secret_basic" in found.token_endpoint_auth_methods_supported and self.settings.client_secret:
            both = f"{quote(self.settings.client_id, safe='')}:{quote(self.settings.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"
        else:
            form |= {"client_id": self.settings.client_id, "client_secret": self.settings.client_secret}
        tokens = await _ask("POST", found.token_endpoint, _Tokens, data=form, headers=headers)
        claims = await self._verified(tokens.id_token, now_ms)
        _check_claims(claims, self.settings, begun.nonce, now_ms / 1000)
        return claims

    async def _discover(self, now_ms: int) -> _Discovery:
        if self._found is None or now_ms - self._found_ms > KNOWN_MS:
            found = await _ask("GET", f"{self.settings.url.rstrip('/')}/.well-known/openid-configuration", _Discovery)
            if found.issuer != self.settings.url:
                raise Refused(f"the issuer calls itself {found.issuer[:200]!r}, not {self.settings.url!r}")
            for endpoint in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
                check_safe(endpoint)
            self._found, self._found_ms = found, now_ms
        return self._found

    async def _verified(self, token: str, now_ms: int) -> Claims:
        if now_ms - self._keys_ms > KNOWN_MS:
            await self._fetch_keys(now_ms)
        try:
            return self._claims_of(token)
        except Refused:
            # Issuers change their keys; perhaps this one just did.
            if now_ms - self._keys_ms < AGAIN_MS:
                raise
        await self._fetch_keys(now_ms)
        return self._claims_of(token)

    def _claims_of(self, token: str) -> Claims:
        try:
            return msgspec.json.decode(jws.deserialize_compact(token, self._keys, algorithms=list(ALGORITHMS)).payload, type=Claims)
        except (JoseError, ValueError, KeyError, TypeError, *UNREADABLE) as error:
            raise Refused(f"the issuer's token is not believed: {type(error).__name__}") from error

    async def _fetch_keys(self, now_ms: int) -> None:
        found = await _ask("GET", (await self._discover(now_ms)).jwks_uri, dict[str, Any])
        try:
            self._keys = KeySet.import_key_set({"keys": [key for key in found.get("keys", []) if key.get("use", "sig") == "sig"]})
        except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused("the issuer's keys cannot be read") from error
        self._keys_ms = now_ms


def read_begun(vault: Vault, kept: str, state: str, now_ms: int) -> Begun:
    """What this browser asked for. Raises Refused when it did not, or long ago."""
    try:
        begun = msgspec.json.decode(vault.open(kept, PLACE), type=Begun)
    except (SecretDamaged, *UNREADABLE):
        begun = None
    if begun is None or now_ms > begun.until_ms or not hmac.compare_digest(begun.state.encode(), state.encode("utf-8", "replace")):
        raise Refused("this sign-in was not begun here, or too long ago", "Begin again.")
    return begun


async def know_person(tx: Tx, claims: Claims, now_ms: int) -> str:
    """The user who is this subject of this issuer, created or bound if need be. Raises Refused."""
    known = await accounts.find_identity(tx, claims.iss, claims.sub)
    if known is None:
        known = await know_user(tx, claims.email, now_ms)
        if await accounts.has_identity(tx, known, claims.iss):
            raise Refused("this address belongs to somebody else who signs in here", "Sign in with a code by e-mail if it is yours.")
        await accounts.add_identity(tx, claims.iss, claims.sub, known, text_of(now_ms))
    await accounts.set_profile(tx, known, _short(claims.name), _short(claims.picture))
    return known


def read_issuers(path: str) -> dict[str, Issuer]:
    """From a TOML file with `[[issuer]]` tables. Raises InvalidValue, Unwritable; an issuer without a client id is none."""
    if not path:
        return {}
    try:
        told = msgspec.convert(tomllib.loads(Path(path).read_text("utf-8")), _File)
    except OSError as error:
        raise Unwritable(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        hint = "It has [[issuer]] tables with name, url, client_id, client_secret."
        raise InvalidValue(f"{path} cannot be understood: {error}", hint) from None
    for each in told.issuer:
        if not each.name.isalnum() or not each.client_id.strip():
            raise InvalidValue(f"{path}: an issuer needs a name of letters and digits, and a client_id: its tokens are for that one alone")
        check_safe(each.url)
    return {each.name: Issuer(each) for each in told.issuer}


def check_safe(url: str) -> None:
    """Raises Refused for what is neither https nor on this machine."""
    try:
        parts = urlsplit(url)
        named = parts.hostname or ""
    except ValueError:
        named = ""
    is_here = parts.scheme == "http" and named in ("127.0.0.1", "localhost", "::1") if named else False
    if not named or not (parts.scheme == "https" or is_here):
        raise Refused(f"not an address to trust: {url[:200]!r}", "An issuer is reached over https.")


def _check_claims(claims: Claims, settings: IssuerSettings, nonce: str, now: float) -> None:
    audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    wrong = {
        "issuer": claims.iss != settings.url,
        "audience": settings.client_id not in audience or (len(audience) > 1 and claims.azp != settings.client_id),
        "party": claims.azp not in ("", settings.client_id),
        "nonce": not hmac.compare_digest(claims.nonce.encode(), nonce.encode()),
        "end": claims.exp <= now - SKEW_SECONDS,
        "begin": max(claims.iat, claims.nbf) > now + SKEW_SECONDS,
        "age": claims.iat < now - LIFE_MS / 1000 - SKEW_SECONDS,
        "subject": not 0 < len(claims.sub) <= MAX_TEXT or not claims.sub.isprintable(),
        "address": not claims.email_verified or not _is_address(claims.email),
    }
    if found := [name for name, is_wrong in wrong.items() if is_wrong]:
        raise Refused(f"the issuer's token is not believed: {', '.join(found)}", "Its account needs a verified e-mail address.")


async def _ask(method: str, url: str, shape: type[T], **options: Any) -> T:
    within = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=within, cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.request(method, url, allow_redirects=False, **options) as response,
        ):
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > MAX_ANSWER:
                    raise Refused("the issuer's answer has no end")
            status = response.status
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Offline(f"the issuer does not answer ({type(error).__name__})", "Try again, or sign in with a code by e-mail.") from error
    if status != 200:
        raise Refused(f"the issuer answered {status}", "Begin again.")
    try:
        return msgspec.json.decode(bytes(body), type=shape)
    except UNREADABLE as error:
        raise Refused("the issuer's answer cannot be read") from error


def _is_address(email: str) -> bool:
    try:
        parse_address(email)
    except FastestError:
        return False
    return True


def _short(text: str | None) -> str | None:
    return text if text is not None and 0 < len(text) <= MAX_TEXT * 8 and text.isprintable() else None


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
