"""Small and read-only disks: real mounts, unmounted whatever happens. Skips where mounting is not permitted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until


def mount(*args: str) -> None:
    """`mount ARGS`, once nobody is writing there; skips the test, saying so, when the system does not permit it."""

    tried: list[subprocess.CompletedProcess[str]] = []

    def is_done() -> bool:
        tried[:] = [subprocess.run(["mount", *args], capture_output=True, text=True, check=False)]
        return "busy" not in tried[0].stderr

    wait_until(is_done, 10, "the disk can be mounted so")
    (done,) = tried
    if done.returncode != 0:
        pytest.skip(f"this test needs to mount a disk, and may not here: {done.stderr.strip()}")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A tmpfs of this size at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize_disk(folder: Path, size: str) -> None:
    """Give a small disk more room."""
    mount("-o", f"remount,size={size}", str(folder))


@contextmanager
def own_mount(folder: Path) -> Iterator[None]:
    """`folder` bound onto itself, so that it can be made read-only alone."""
    mount("--bind", str(folder), str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def bound(folder: Path, at: Path) -> Iterator[None]:
    """`folder` seen at `at`, too."""
    mount("--bind", str(folder), str(at))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Nobody may change, rename or remove it, not even root. Skips where the file system knows no such thing."""
    done = subprocess.run(["chattr", "+i", str(path)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this file system has no immutable files: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)


def set_read_only(folder: Path, read_only: bool) -> None:
    """Make an own mount read-only, or writable again."""
    mount("-o", f"remount,bind,{'ro' if read_only else 'rw'}", str(folder))
