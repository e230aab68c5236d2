"""An SMTP server on loopback that takes every letter, or refuses all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage


class Mailbox:
    """`letters` in the order of their coming, and how the sender signed in."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.port = 0
        self.letters: list[EmailMessage] = []
        self.receivers: list[str] = []
        self.said: list[str] = []
        self.signed_in: list[str] = []
        self._refuses = refuses

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(b"220 mailbox\r\n")
            while line := (await reader.readline()).decode().strip():
                verb, _, rest = line.partition(" ")
                self.said.append(verb.upper())
                writer.write(await self._answer(verb.upper(), rest, reader, writer))
                await writer.drain()
                if verb.upper() == "QUIT":
                    break
        writer.close()

    async def _answer(self, verb: str, rest: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        match verb:
            case "EHLO":
                return b"250-mailbox\r\n250 AUTH PLAIN\r\n"
            case "AUTH":
                self.signed_in.append(rest)
                return b"235 fine\r\n"
            case "RCPT":
                self.receivers.append(rest)
                return b"550 nobody here\r\n" if self._refuses else b"250 fine\r\n"
            case "DATA":
                writer.write(b"354 go on\r\n")
                text = await reader.readuntil(b"\r\n.\r\n")
                self.letters.append(message_from_bytes(text[:-5], policy=policy.default))
                return b"250 kept\r\n"
            case "QUIT":
                return b"221 bye\r\n"
            case _:
                return b"250 fine\r\n"


@asynccontextmanager
async def mailbox(*, refuses: bool = False, address: str = "127.0.0.1") -> AsyncIterator[Mailbox]:
    """One that listens."""
    box = Mailbox(refuses=refuses)
    listening = await asyncio.start_server(box.talk, address, 0)
    box.port = int(listening.sockets[0].getsockname()[1])
    try:
        yield box
    finally:
        listening.close()
