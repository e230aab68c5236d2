"""File systems that fold names and refuse some, really mounted: exFAT and NTFS by FUSE, on a file of 16 MiB."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MAKERS = {"exfat": ("mkfs.exfat",), "ntfs": ("mkntfs", "-F", "-Q")}
MOUNTERS = {"exfat": ("mount.exfat-fuse",), "ntfs": ("lowntfs-3g", "-o", "ignore_case,windows_names")}


@contextmanager
def mounted(kind: str, folder: Path) -> Iterator[Path]:
    """An empty disk of this kind; the test is skipped, with the reason, where this machine cannot have one."""
    lacking = [tool for tool in (MAKERS[kind][0], MOUNTERS[kind][0], "losetup", "umount") if shutil.which(tool) is None]
    if os.geteuid() != 0 or lacking or not Path("/dev/fuse").exists():
        why = f"lacks {', '.join(lacking)}" if lacking else "has no FUSE" if os.geteuid() == 0 else "is not root"
        pytest.skip(f"no real {kind} disk: this machine {why} (apt-get install exfat-fuse exfatprogs ntfs-3g)")
    folder.mkdir()
    image, root = folder / "image", folder / "disk"
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    root.mkdir()
    _run(*MAKERS[kind], image)
    device = _run("losetup", "-f", "--show", image)
    try:
        try:
            _run(MOUNTERS[kind][0], *MOUNTERS[kind][1:], device, root)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no real {kind} disk: the mount was refused: {error.stderr.strip()}")
        try:
            yield root
        finally:
            _run("umount", root)
    finally:
        _run("losetup", "-d", device)


def _run(*command: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=60).stdout.strip()
