"""Which cloud this machine is signed in to, and where its token is kept.

The token goes to the system's keyring when that answers within two seconds, else to a file only this user may read, sealed with a key
that lies in another folder: a copy of either gives nothing away. The keyring is asked in a child process: a locked one may put up a
window and never return, and a child can be ended.
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import subprocess
import sys
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from daemon.config import Places
from store.errors import Busy, InvalidValue, NotSignedIn, StoreDamaged, Unwritable

KEYRING_SECONDS: Final = 2.0
SERVICE: Final = "fastest"
MAX_TOKEN_BYTES: Final = 4096
NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Account:
    """A sign-in: the cloud's address, whose it is, and the token."""

    url: str
    email: str
    token: str = field(repr=False)
    kept_in: str = "file"
    """`keyring` or `file`."""


class Keyring(Protocol):
    """Where the system keeps secrets. Every method raises Busy when it does not answer."""

    def get(self, name: str) -> str | None:
        """What is kept under this name."""
        ...

    def put(self, name: str, secret: str) -> None:
        """Keep it."""
        ...

    def remove(self, name: str) -> None:
        """Forget it; nothing happens when there is none."""
        ...


class SystemKeyring:
    """The user's own, through the library `keyring` in a child process."""

    def get(self, name: str) -> str | None:
        """What is kept under this name. Raises Busy."""
        answer = self._ask("print(json.dumps(keyring.get_password(service, name)))", name)
        found = json.loads(answer or "null")
        return found if isinstance(found, str) else None

    def put(self, name: str, secret: str) -> None:
        """Keep it. Raises Busy when it cannot be read back."""
        self._ask("keyring.set_password(service, name, json.load(sys.stdin))", name, json.dumps(secret))
        if self.get(name) != secret:
            raise Busy("the keyring does not keep what it is given")

    def remove(self, name: str) -> None:
        """Forget it. Raises Busy."""
        self._ask("keyring.get_password(service, name) and keyring.delete_password(service, name)", name)

    def _ask(self, work: str, name: str, given: str = "") -> str:
        script = f"import json, sys, keyring; service, name = sys.argv[1:]; {work}"
        command = [sys.executable, "-P", "-c", script, SERVICE, name]
        try:
            done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=KEYRING_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise Busy("the keyring does not answer", "Unlock it; the cloud rests until then, everything local goes on.") from None
        if done.returncode:
            last = done.stderr.strip().rpartition("\n")[2]
            raise Busy(f"the keyring refused: {last}", "Unlock it, or sign in again: the token then goes to a file.")
        return done.stdout


def system_keyring(places: Places) -> Keyring | None:
    """The system's keyring; None under FASTEST_HOME (two homes are two machines) and in a frozen build (no interpreter to ask it)."""
    return None if places.is_own_home or getattr(sys, "frozen", False) else SystemKeyring()


class Accounts:
    """The one account of this machine, kept in a small file and (the token) where `keyring` is."""

    def __init__(self, file: Path, key_file: Path, keyring: Keyring | None) -> None:
        self._file = file
        self._key_file = key_file
        self._keyring = keyring

    def read(self) -> Account | None:
        """The account, or None when signed out. Raises Busy for a locked keyring, NotSignedIn when it, or the key, is gone."""
        told = self._read_file()
        if told is None:
            return None
        url, email, kept_in = told["url"], told.get("email", ""), told.get("kept_in", "file")
        if kept_in == "keyring":
            token = (self._keyring.get(url) if self._keyring else None) or ""
        elif "token" in told:  # of a version that did not seal yet
            token = told["token"]
            self._write(url, email, token)
        else:
            token = self._open(url, told.get("sealed", ""))
        if not token:
            raise NotSignedIn(f"the {kept_in} no longer gives the token", "Sign in again with `fst login`.")
        return Account(url, email, token, kept_in)

    def address(self) -> str | None:
        """The cloud's address, without asking the keyring."""
        told = self._read_file()
        return told["url"] if told else None

    def keep(self, url: str, email: str, token: str) -> Account:
        """Keep a sign-in, in place of any before. The caller says aloud where the token went (`kept_in`). Raises Unwritable."""
        before = self._read_file()
        if before and before["url"] != url:
            self._drop_from_keyring(before["url"])
        kept_in = "keyring" if self._put_in_keyring(url, token) else "file"
        self._write(url, email, token if kept_in == "file" else "")
        return Account(url, email, token, kept_in)

    def forget(self) -> str | None:
        """Sign out: the address that was signed in to, or None. Nothing else is touched."""
        told = self._read_file()
        if told is None:
            return None
        self._drop_from_keyring(told["url"])
        try:
            self._file.unlink(missing_ok=True)
            self._key_file.unlink(missing_ok=True)
        except OSError as error:
            raise Unwritable(f"{self._file} cannot be removed: {error.strerror}", "Remove it by hand: it holds the token.") from None
        return told["url"]

    def _write(self, url: str, email: str, token: str) -> None:
        """The small file; with the token in it when one is given, sealed for this address."""
        told = {"url": url, "email": email, "kept_in": "file" if token else "keyring"}
        if token:
            told["sealed"] = self._seal(url, token)
        write_private(self._file, json.dumps(told, indent=1).encode("utf-8") + b"\n")

    def _seal(self, url: str, token: str) -> str:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(NONCE_BYTES)
        try:
            key = self._key_file.read_bytes()
        except OSError:
            key = b""
        if len(key) != KEY_BYTES:
            # One that is there stays: until the account's file is replaced, it still opens the last token.
            key = secrets.token_bytes(KEY_BYTES)
            write_private(self._key_file, key)
        return b64encode(nonce + AESGCM(key).encrypt(nonce, token.encode("utf-8"), url.encode("utf-8"))).decode("ascii")

    def _open(self, url: str, sealed: str) -> str:
        """The token; empty when it does not open: changed, or the key is another one or gone."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            key, raw = self._key_file.read_bytes(), b64decode(sealed, validate=True)
            return AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], url.encode("utf-8")).decode("utf-8")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise Unwritable(f"{self._key_file} cannot be read: {error.strerror}", "Make it readable for you, or sign in again.") from None
        except (ValueError, InvalidTag):
            return ""

    def _put_in_keyring(self, url: str, token: str) -> bool:
        if self._keyring is None:
            return False
        try:
            self._keyring.put(url, token)
        except Busy:
            return False
        return True

    def _drop_from_keyring(self, url: str) -> None:
        # Also for a token in the file: a keyring that answered too late may have kept it all the same.
        if self._keyring is not None:
            try:
                self._keyring.remove(url)
            except Busy:
                return

    def _read_file(self) -> dict[str, str] | None:
        try:
            told = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unwritable(f"{self._file} cannot be read: {error.strerror}", "Make it readable for you, or sign in again.") from None
        except ValueError:
            told = None
        if not isinstance(told, dict) or not isinstance(told.get("url"), str):
            raise StoreDamaged(f"{self._file} cannot be understood", "Remove it and sign in again with `fst login`.")
        return {str(key): str(value) for key, value in told.items()}


def write_private(file: Path, data: bytes) -> None:
    """Replace a file in one step by one that only this user may read. Raises Unwritable."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    except OSError as error:
        raise Unwritable(f"{file} cannot be written: {error.strerror}", "Make its folder writable for you.") from None


def check_cloud_url(url: str, *, insecure: bool) -> str:
    """The address without a trailing slash. Raises InvalidValue, also for plain http to another machine unless `insecure`."""
    try:
        parts = urlsplit(url.strip())
        named = parts.hostname if parts.port != 0 else None
    except ValueError:
        named = None
    if named is None or parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username is not None:
        raise InvalidValue(f"not a cloud's address: {url!r}", "It looks like https://cloud.example.org.")
    if parts.scheme == "http" and not insecure and not is_loopback(named):
        message = f"plain http to {named} would show the token and every file to the network"
        raise InvalidValue(message, "Use https, or, on a network you trust: fst config set cloud.insecure true")
    return url.strip().rstrip("/")


def is_loopback(name: str) -> bool:
    """True for this very machine: `localhost`, 127.0.0.0/8 and ::1. Other names are not looked up: a name server may lie."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def parse_token(text: str) -> str:
    """A token as it was typed or piped. Raises InvalidValue."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token or len(token) > MAX_TOKEN_BYTES:
        raise InvalidValue("that is not a token", "Pipe in exactly what `fst cloud token` printed, one line.")
    return token
