"""The one door through which a file in a workspace appears, changes or vanishes.

Theory. Every operation is relative to an open folder, takes one name, and never follows a link: no path can lead outside, whatever
a manifest says or somebody swaps in meanwhile. A file is written whole under a temporary name in the same folder; then one rename
gives it its name. `exchange` swaps it with what stood there, so that a name is never absent and what came out can be looked at
and put back; `place` and `take_aside` refuse a name that is taken. What this module cannot promise it does not do: nothing is
written in place, and nothing is removed but temporaries, which are ours, and folders that are empty.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import random
import signal
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, NewType, TypeVar

from store.errors import Busy, FastestError, FileMoved, InvalidValue, NoSpace, RootLost, Unwritable
from store.types import show_path

T = TypeVar("T")
TempName = NewType("TempName", bytes)
"""A name of ours beside the file it is for: `.fst-tmp-<tag of that file's name>-<random>`."""
TEMP_PREFIX: Final = b".fst-tmp-"


class Written(NamedTuple):
    """A temporary, and what tells it from all others: an inode's number alone may be given again as soon as it is free."""

    name: TempName
    inode: int
    mtime_ns: int

    def is_at(self, status: os.stat_result | None) -> bool:
        """True when this status is the temporary's, whatever it is called now."""
        return status is not None and (status.st_ino, status.st_mtime_ns) == (self.inode, self.mtime_ns)


_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LIBC = ctypes.CDLL(None, use_errno=True)
# Linux: renameat2(2). macOS: renameatx_np(2), the same arguments with other flags.
_RENAME: Callable[[int, bytes, int, bytes, int], int] | None
_RENAME, _NO_REPLACE, _EXCHANGE = (
    (getattr(_LIBC, "renameatx_np", None), 4, 2) if sys.platform == "darwin" else (getattr(_LIBC, "renameat2", None), 1, 2)
)
if _RENAME is not None:
    _RENAME.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_WRITE_BYTES = 1024 * 1024


class Folder:
    """An open folder. All names are single components, as bytes.

    Every method raises NoSpace, Unwritable, FileMoved, Busy or InvalidValue (a name this file system cannot hold).
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def open_root(cls, path: bytes | Path) -> Folder:
        """A workspace's root. Raises RootLost when nothing is there, or no folder; a link is no folder."""
        try:
            return cls(os.open(path, _OPEN_FOLDER))
        except OSError as error:
            if isinstance(error, NotADirectoryError) and Path(os.fsdecode(path)).is_symlink():
                raise RootLost(f"{show_path(os.fsencode(path))} became a link", "Put the folder itself back in its place.") from error
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                raise RootLost(f"{show_path(os.fsencode(path))} is not there", "Bring it back (mount it?); nothing was deleted.") from error
            raise translate_os_error(error, os.fsencode(path)) from error

    def open(self, rel: bytes) -> Folder:
        """A folder below, component by component; `b""` opens this one again. Raises FileMoved where one is no folder."""
        fd = -1
        try:
            if b"/" not in rel:
                return type(self)(os.open(rel or b".", _OPEN_FOLDER, dir_fd=self.fd))
            for name in rel.split(b"/"):
                outer, fd = fd, os.open(name, _OPEN_FOLDER, dir_fd=self.fd if fd < 0 else fd)
                if outer >= 0:
                    os.close(outer)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise translate_os_error(error, rel) from error
        return type(self)(fd)

    def close(self) -> None:
        """Let the folder go; a second time is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- looking ----------------------------------------------------------------------------------------------------------------

    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        status = os.fstat(self.fd)
        return status.st_dev, status.st_ino

    def scan(self) -> list[os.DirEntry[str]]:
        """What is in it, in no order; the names need `os.fsencode`."""
        try:
            with os.scandir(self.fd) as entries:
                return list(entries)
        except OSError as error:
            raise translate_os_error(error, b".") from error

    def names(self) -> list[str]:
        """Only the names in it, as `os.fsdecode` makes them."""
        return _ask(b".", os.listdir, self.fd)

    def stat(self, name: bytes) -> os.stat_result | None:
        """The entry's own status, a link's too; None when there is none."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise translate_os_error(error, name) from error

    def read_link(self, name: bytes) -> bytes:
        """A link's target."""
        target: bytes = _ask(name, os.readlink, name, dir_fd=self.fd)
        return target

    def open_file(self, name: bytes) -> int:
        """A descriptor for reading. It never blocks on a FIFO; what it opened is the caller's to check with `fstat`."""
        try:
            return os.open(name, _OPEN_FILE, dir_fd=self.fd)
        except OSError as error:
            raise translate_os_error(error, name) from error

    # --- making temporaries -------------------------------------------------------------------------------------------------------

    def write_temp(
        self, name: bytes, chunks: Iterable[bytes], executable: bool, *, fsync: bool, like: os.stat_result | None = None
    ) -> Written:
        """A temporary for `name` with these bytes; nothing is left of it if `chunks` raises.

        0644 or 0755 under the umask, or with the permissions of `like`, the file it is to replace. Its mtime is one that no tick of
        the clock gives: whoever writes to it later changes its status, however soon that is.
        """
        temp = temp_name(name)
        fd = self._create(temp, executable)
        whole = False
        try:
            for chunk in chunks:
                write_all(fd, chunk)
            if like is not None:
                os.fchmod(fd, _with_executable(like.st_mode, executable))
            mtime_ns = _off_the_tick(os.fstat(fd).st_mtime_ns)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            status = os.fstat(fd)
            if fsync:
                os.fsync(fd)
            whole = True
        except OSError as error:
            raise translate_os_error(error, name) from error
        finally:
            os.close(fd)
            if not whole:
                self.discard(temp)
        return Written(temp, status.st_ino, status.st_mtime_ns)

    def write_hidden(self, name: bytes, chunks: Iterable[bytes], executable: bool) -> os.stat_result:
        """A file under its own name at once: only for a folder that has a temporary's name itself, so that nobody sees it grow."""
        fd = self._create(name, executable)
        status = None
        try:
            for chunk in chunks:
                write_all(fd, chunk)
            status = os.fstat(fd)
        except OSError as error:
            raise translate_os_error(error, name) from error
        finally:
            os.close(fd)
            if status is None:
                os.unlink(name, dir_fd=self.fd)
        return status

    def link_hidden(self, name: bytes, target: bytes) -> None:
        """A link under its own name at once, as `write_hidden`. Raises FileMoved when the name is taken."""
        _ask(name, os.symlink, target, name, dir_fd=self.fd)

    def _create(self, name: bytes, executable: bool) -> int:
        try:
            return os.open(name, _CREATE_FILE, 0o755 if executable else 0o644, dir_fd=self.fd)
        except OSError as error:
            raise translate_os_error(error, name) from error

    def make_temp_link(self, name: bytes, target: bytes) -> Written:
        """A temporary link for `name`."""
        temp = temp_name(name)
        self.link_hidden(temp, target)
        return self._written(temp)

    def make_temp_dir(self, name: bytes) -> Written:
        """A temporary, empty folder for `name`."""
        temp = temp_name(name)
        self.make_dir(temp)
        return self._written(temp)

    def _written(self, temp: TempName) -> Written:
        status = self.stat(temp)
        if status is None:
            raise FileMoved("a temporary was removed by somebody else")
        return Written(temp, status.st_ino, status.st_mtime_ns)

    def discard(self, temp: TempName) -> None:
        """Remove a temporary that is no folder; it may be gone already."""
        if not temp.startswith(TEMP_PREFIX):
            raise AssertionError("only temporaries are removed by name")
        try:
            os.unlink(temp, dir_fd=self.fd)
        except FileNotFoundError:
            return
        except OSError as error:
            raise translate_os_error(error, temp) from error

    # --- changing what is seen ----------------------------------------------------------------------------------------------------

    def exchange(self, temp: TempName, name: bytes) -> None:
        """Swap the two in one instant. Raises FileMoved when `name` is not there.

        Where the file system cannot, `name` is moved aside first; if somebody takes it just then, FileMoved has the temporary
        that holds what was moved as `details["aside"]`.
        """
        try:
            self._rename(temp, name, _EXCHANGE)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise translate_os_error(error, name) from error
            self._exchange_in_steps(temp, name)

    def place(self, temp: TempName, name: bytes) -> None:
        """Give a temporary its name. Raises FileMoved when that is taken."""
        self._rename_free(temp, name, name)

    def take_aside(self, name: bytes) -> TempName:
        """Give what stands at `name` a temporary name. Raises FileMoved when there is nothing."""
        temp = temp_name(name)
        self._rename_free(name, temp, name)
        return temp

    def make_dir(self, name: bytes) -> None:
        """A new folder, 0755 under the umask. Raises FileMoved when the name is taken."""
        _ask(name, os.mkdir, name, 0o755, dir_fd=self.fd)

    def remove_dir(self, name: bytes) -> bool:
        """Remove an empty folder; False when it is not empty. Raises FileMoved when it is not there or no folder."""
        try:
            os.rmdir(name, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise translate_os_error(error, name) from error
        return True

    def set_executable(self, name: bytes, fd: int, executable: bool) -> None:
        """Set or clear the executable bits of an open file, set only where reading is allowed; `name` is for the error's sentence."""
        _ask(name, os.fchmod, fd, _with_executable(os.fstat(fd).st_mode, executable))

    def sync(self, fd: int = -1) -> None:
        """Make the names in this folder durable; with `fd`, an open file of it."""
        _ask(b".", os.fsync, self.fd if fd < 0 else fd)

    # --- the two renames ----------------------------------------------------------------------------------------------------------

    def _rename(self, source: bytes, target: bytes, flag: int) -> None:
        if _RENAME is None or _RENAME(self.fd, source, self.fd, target, flag) != 0:
            number = errno.ENOSYS if _RENAME is None else ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def _rename_free(self, source: bytes, target: bytes, name: bytes) -> None:
        try:
            try:
                self._rename(source, target, _NO_REPLACE)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._rename_by_link(source, target)
        except OSError as error:
            raise translate_os_error(error, name) from error

    def _rename_by_link(self, source: bytes, target: bytes) -> None:
        """For a file system without flags: a second name refuses a taken one too. Where there cannot be two, it is looked at first."""
        try:
            if target.startswith(TEMP_PREFIX):  # free, for it is ours; and a save to the old name must not be what is unlinked
                raise PermissionError
            os.link(source, target, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        except PermissionError:
            if self.stat(target) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            os.rename(source, target, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        else:
            os.unlink(source, dir_fd=self.fd)

    def _exchange_in_steps(self, temp: TempName, name: bytes) -> None:
        aside = self.take_aside(name)
        try:
            self.place(temp, name)
        except FileMoved as moved:
            raise FileMoved(moved.message, moved.hint, aside=aside) from moved
        self._rename_free(aside, temp, name)


def temp_name(name: bytes) -> TempName:
    """A new temporary name for `name`; it fits wherever any name does."""
    return TempName(b"%s%08x-%012x" % (TEMP_PREFIX, zlib.crc32(name), random.getrandbits(48)))


def is_temp_for(temp: bytes, name: bytes) -> bool:
    """True when `temp` was made for `name`, or for another name with the same tag (1 in 4 billion)."""
    return temp.startswith(b"%s%08x-" % (TEMP_PREFIX, zlib.crc32(name)))


def _off_the_tick(mtime_ns: int) -> int:
    """Up to a millisecond later, and never a whole microsecond: that is how a disk shows which keeps no nanoseconds."""
    mtime_ns += random.getrandbits(20) | 1
    return mtime_ns + (mtime_ns % 1000 == 0)


def _with_executable(mode: int, executable: bool) -> int:
    mode &= 0o777
    return mode | (mode & 0o444) >> 2 if executable else mode & ~0o111


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; a single write may take fewer."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written : written + _WRITE_BYTES])


def sync_file_system(fd: int) -> None:
    """Make everything on this file system durable (syncfs; sync where there is none)."""
    syncfs = getattr(_LIBC, "syncfs", None)
    if syncfs is None:
        os.sync()
    elif syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise translate_os_error(OSError(number, os.strerror(number)), b".")


def has_writer(fd: int) -> bool | None:
    """True when some process has this regular file open for writing, or mapped so; None where the system cannot tell.

    `fd` must be open for reading only. Asks for a read lease (fcntl F_SETLEASE), which the kernel refuses while there is a writer,
    and gives it back at once; a lease break would send SIGURG, which is ignored by default, in place of the deadly SIGIO.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _ask(name: bytes, act: Callable[..., T], *args: object, dir_fd: int | None = None) -> T:
    try:
        return act(*args) if dir_fd is None else act(*args, dir_fd=dir_fd)
    except OSError as error:
        raise translate_os_error(error, name) from error


def translate_os_error(error: OSError, name: bytes) -> FastestError:
    """The system's refusal as one of ours."""
    shown = show_path(name)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return NoSpace(f"no room on the disk for {shown}", "Free some space; the work goes on by itself.")
        case errno.ENOENT | errno.ENOTDIR | errno.ELOOP | errno.EEXIST | errno.EISDIR | errno.ENOTEMPTY | errno.ESTALE:
            return FileMoved(f"{shown} is not what it was")
        case errno.EMFILE | errno.ENFILE | errno.EBUSY | errno.ETXTBSY | errno.EAGAIN:
            return Busy(f"{shown} is in use: {error.strerror}")
        case errno.ENAMETOOLONG | errno.EILSEQ | errno.EINVAL:
            return InvalidValue(f"this disk cannot hold the name {shown}", "Give it another name.")
    return Unwritable(f"the system refused {shown}: {error.strerror}", "Check its permissions and the disk.")
