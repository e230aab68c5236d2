"""Secrets at rest: AES-256-GCM under the cloud's own keys, each value bound to where it belongs.

Theory. A sealed value is `enc:v1:KEYID:BASE64(nonce, ciphertext, tag)`. What it is bound to (user, provider, column) is authenticated
but not stored: a value that is copied to another row, or whose key id was changed, does not open. The first key seals, all of them
open; so a new key is put first and the old one is kept until everything was sealed anew. The database notes which key it was sealed with: a
server that lacks it refuses to start, instead of sealing half of the secrets with another.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloud.database import Tx
from store.errors import InvalidValue, Refused, SecretDamaged, Unwritable

PREFIX: Final = "enc:v1:"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
MAX_SECRET_BYTES: Final = 64 * 1024
FILE: Final = "key"


class Vault:
    """Seals and opens. Never shown: neither keys nor values."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_id_of(key): AESGCM(key) for key in keys}
        self._sealing = _id_of(keys[0])

    @classmethod
    def parse(cls, text: str) -> Vault:
        """From keys in base64, the one that seals first, with space between. Raises InvalidValue, which shows nothing of them."""
        try:
            keys = [base64.b64decode(word, validate=True) for word in text.split()]
        except ValueError:
            keys = []
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise InvalidValue("the cloud's keys cannot be read", "Each is 32 random bytes in base64: head -c 32 /dev/urandom | base64")
        return cls(keys)

    @property
    def sealing_key(self) -> str:
        """The id of the key that seals."""
        return self._sealing

    def has_key(self, key_id: str) -> bool:
        """True for a key that is here."""
        return key_id in self._ciphers

    def seal(self, secret: str, *place: str) -> str:
        """A text as it is stored at `place`: user, provider, column, or whatever says where it belongs. Raises InvalidValue."""
        plain = _bytes_of(secret)
        if len(plain) > MAX_SECRET_BYTES:
            raise InvalidValue(f"a secret is at most {MAX_SECRET_BYTES} bytes")
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._ciphers[self._sealing].encrypt(nonce, plain, _bound(self._sealing, place))
        return f"{PREFIX}{self._sealing}:{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, *place: str) -> str:
        """The text again. Raises SecretDamaged when it was changed, belongs elsewhere, or its key is not here."""
        key_id, _, body = sealed.removeprefix(PREFIX).partition(":")
        cipher = self._ciphers.get(key_id) if sealed.startswith(PREFIX) else None
        if cipher is None:
            raise SecretDamaged("a secret is sealed with a key that is not here")
        try:
            both = base64.b64decode(body, validate=True)
            return cipher.decrypt(both[:NONCE_BYTES], both[NONCE_BYTES:], _bound(key_id, place)).decode()
        except (ValueError, InvalidTag):
            raise SecretDamaged("a sealed secret does not open: it was changed, or belongs elsewhere") from None

    def is_current(self, sealed: str) -> bool:
        """False for what another key has sealed: seal it anew."""
        return sealed.startswith(f"{PREFIX}{self._sealing}:")


def find_vault(data: Path, given: str) -> Vault:
    """With the keys that were given, else those of the file `key` in the data folder, made if need be. Raises InvalidValue, Unwritable."""
    if given:
        return Vault.parse(given)
    path = data / FILE
    try:
        if not path.exists():
            _make_key(path)
        if path.stat().st_mode & 0o077:
            raise Unwritable(f"others may read the cloud's key {path}", f"chmod 600 {path}")
        return Vault.parse(path.read_text("ascii"))
    except OSError as error:
        raise Unwritable(f"the cloud's key {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InvalidValue(f"the cloud's key {path} cannot be read", "Put back the copy that was kept of it.") from None


async def note_key(tx: Tx, vault: Vault) -> None:
    """Remember in the database which key seals. Raises Refused when the one that did is not here."""
    await tx.run("INSERT INTO meta (key, value) VALUES ('sealing_key', $1) ON CONFLICT (key) DO NOTHING", (vault.sealing_key,))
    known = await tx.one("SELECT value FROM meta WHERE key = 'sealing_key'")
    if known is not None and not vault.has_key(known[0]):
        raise Refused(
            f"this database's secrets are sealed with the key {known[0]}, which is not here",
            f"Every server process needs the same keys: in FASTEST_CLOUD_KEY, or the file {FILE} of the data folder.",
        )
    await tx.run("UPDATE meta SET value = $1 WHERE key = 'sealing_key'", (vault.sealing_key,))


def _make_key(path: Path) -> None:
    """Whole and on disk before it has its name: two processes that begin at once end up with one key."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
            out.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            return
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _id_of(key: bytes) -> str:
    return hashlib.sha256(b"fastest key id\0" + key).hexdigest()[:8]


def _bound(key_id: str, place: tuple[str, ...]) -> bytes:
    return msgspec.json.encode([PREFIX, key_id, *place])


def _bytes_of(secret: str) -> bytes:
    try:
        return secret.encode()
    except UnicodeEncodeError:
        raise InvalidValue("a secret is text") from None
