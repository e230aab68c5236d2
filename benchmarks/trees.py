"""The trees that are measured and tested on: made once, kept outside the repository, the same bytes everywhere.

NPM: pinned npm packages, packed by the ordinary npm client from whatever registry it is set up for (67,000 files, 336 MB).
STDLIB: the running interpreter's standard library and site-packages (12,000 files and more, 440 MB: what is installed makes it grow).
LIBRARY: the sources of that library alone (about 2,400 files, 60 MB).
WIDE: 100,000 small numbered text files, made here.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import subprocess
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

NPM_PACKAGES = (
    "@babel/types@7.26.0",
    "@mui/icons-material@6.4.0",
    "@tabler/icons@3.26.0",
    "aws-sdk@2.1692.0",
    "core-js@3.39.0",
    "date-fns@4.1.0",
    "lodash@4.17.21",
    "mathjs@14.0.1",
    "next@15.1.0",
    "rxjs@7.8.1",
    "three@0.171.0",
    "typescript@5.7.2",
)
NPM_FILES_AT_LEAST = 60_000
SMALL_PACKAGES = ("date-fns@4.1.0", "lodash@4.17.21", "typescript@5.7.2")
WIDE_FILES = 100_000
PACK_SECONDS = 600

# The real home, though a test may have pointed HOME elsewhere: what was downloaded once serves every run.
CACHE = Path(os.environ.get("FASTEST_BENCH_DIR") or Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "fastest-bench")


class TreeUnavailable(Exception):
    """A tree cannot be made here; the message says why, and what would help."""


def npm_tree() -> Path:
    """The folder of 60,000+ files from npm packages; made at the first call. Raises TreeUnavailable."""
    tree = _made("npm-1", lambda folder: _unpack(NPM_PACKAGES, folder))
    files = count_files(tree)
    if files < NPM_FILES_AT_LEAST:
        raise TreeUnavailable(f"{tree} has {files} files instead of {NPM_FILES_AT_LEAST}. Remove it and run again.")
    return tree


def small_tree() -> Path:
    """About 6,500 files, 47 MB, of the same kind. Raises TreeUnavailable."""
    return _made("small-1", lambda folder: _unpack(SMALL_PACKAGES, folder))


def wide_tree() -> Path:
    """100,000 text files of 100 to 1,500 bytes in 1,000 folders, from a fixed seed."""
    return _made("wide-1", _write_wide)


def stdlib_tree() -> Path:
    """A copy of the running interpreter's library. Compiled files of site-packages change while Python runs: they stay out."""
    version = f"stdlib-{sysconfig.get_python_version()}-1"
    return _made(version, _copy_stdlib)


def library_tree() -> Path:
    """Sources, data and test files; nothing compiled, and nothing that was installed."""
    return _made(f"library-{sysconfig.get_python_version()}-1", _copy_library)


def copy_tree(source: Path, target: Path) -> None:
    """`cp -a`: a copy of its own, links and bits as they are."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def count_files(tree: Path) -> int:
    """Regular files, all the way down."""
    return sum(len(files) for _, _, files in os.walk(tree))


def _made(name: str, make: Callable[[Path], None]) -> Path:
    tree = CACHE / "trees" / name
    if tree.is_dir():
        return tree
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix=f".{name}-") as scratch:
        folder = Path(scratch) / "tree"
        folder.mkdir()
        make(folder)
        try:
            folder.rename(tree)
        except OSError:
            if not tree.is_dir():  # another run may have made it at the same time
                raise
    return tree


def _unpack(packages: tuple[str, ...], folder: Path) -> None:
    for package in packages:
        name = package.rpartition("@")[0].replace("/", "-").removeprefix("@")
        with tarfile.open(_packed(package)) as archive:
            archive.extractall(folder / name, filter="data")


def _packed(package: str) -> Path:
    """The tarball of one package, from the cache or from `npm pack`."""
    name, _, version = package.rpartition("@")
    packs = CACHE / "packs"
    packs.mkdir(parents=True, exist_ok=True)
    tarball = packs / f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if tarball.exists():
        return tarball
    npm = shutil.which("npm")
    if npm is None:
        raise TreeUnavailable("npm is not installed, and the 60,000-file tree is made of npm packages. Next: apt-get install -y npm")
    with tempfile.TemporaryDirectory(dir=packs) as scratch:
        home = pwd.getpwuid(os.getuid()).pw_dir
        argv = [npm, "pack", package, "--silent", "--pack-destination", scratch]
        done = subprocess.run(argv, cwd=scratch, env={**os.environ, "HOME": home}, capture_output=True, timeout=PACK_SECONDS, check=False)
        if done.returncode != 0:
            raise TreeUnavailable(f"`npm pack {package}` failed; is a registry reachable? {done.stderr.decode(errors='replace')[-400:]}")
        (Path(scratch) / tarball.name).rename(tarball)
    return tarball


def _copy_stdlib(folder: Path) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    packages = Path(sysconfig.get_path("purelib"))
    no_packages = shutil.ignore_patterns("site-packages")
    shutil.copytree(library, folder / "lib", symlinks=True, ignore=no_packages)
    shutil.copytree(packages, folder / "lib" / "site-packages", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))


def _copy_library(folder: Path) -> None:
    left_out = shutil.ignore_patterns("site-packages", "__pycache__", "*.a", "*.so")
    shutil.copytree(Path(sysconfig.get_path("stdlib")), folder / "lib", symlinks=True, ignore=left_out)


def _write_wide(folder: Path) -> None:
    rng = random.Random(100_000)
    for number in range(WIDE_FILES):
        path = folder / f"d{number % 40:02}" / f"e{number // 40 % 25:02}" / f"file-{number:06}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{number} {rng.getrandbits(64):016x}\n" for _ in range(rng.randrange(4, 60))))
