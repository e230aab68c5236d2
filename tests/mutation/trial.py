"""Tries mutants against tests, each in a forked child of a process that is warm already.

A batch is one pytest session that has collected a module's tests. Its first child runs them all once and tells which functions of the
module each calls, and how long it takes. Then each mutant has a child: the mutant's code takes the place of the code that is there, and
the tests that call its function run, the quickest first, until one fails. What is done while a module is imported cannot be
replaced that way: such a mutant is tried *anew*, in a child that imports everything itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import resource
import shutil
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from itertools import zip_longest
from mmap import mmap
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import IO, NamedTuple

import pytest
from hypothesis import Phase, settings

from tests.mutation.operators import Mutant

CPU_SECONDS = 5
"""A child's limit, on top of three times what the unbroken tests take."""
SHARP = 5
"""So many tests that saw something in a function are asked alone at first."""
WAITS = 4
"""By the clock it has so many times as long."""
MEMORY_BYTES = 4 << 30
PYTEST = [
    *["-q", "-x", "--assert=plain", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"],
    *["-o", "timeout=0", "-o", "addopts=--import-mode=importlib"],
]


WARM = ("hypothesis.strategies", "msgspec", "zstandard", "store.manifest", "tests.alphabet")
"""What most tests import and no mutant is in."""


AGAIN = ("sync", "daemon", "cloud", "tests.lab")
"""What a mutant may be in, or in what it is made of, and `conftest` has imported already."""


ENDED = (signal.SIGXCPU, signal.SIGKILL, signal.SIGALRM)


class Outcome(IntEnum):
    """What became of a mutant; as exit codes of children."""

    LIVED = 40
    ASSERTED = 41
    """An assertion failed, or a law was falsified."""
    RAISED = 42
    """A test failed because the code raised what it should not."""
    BROKEN = 43
    """The tests could not be loaded: no mutant that anybody could have missed."""
    ENDLESS = 44
    """Time or memory ran out: not a kill."""


KILLED = (Outcome.ASSERTED, Outcome.RAISED)


class Target(NamedTuple):
    """A module, its mutants, and the tests that answer for it."""

    name: str
    file: Path
    mutants: Sequence[Mutant]
    tests: Sequence[str]


class _Baseline(NamedTuple):
    """Of the unbroken module: each test's seconds and the functions it calls, and the functions called while everything is loaded."""

    seconds: dict[str, float]
    called: dict[str, set[str]]
    at_import: set[str]

    def cpu_seconds(self, items: Sequence[pytest.Item] | None = None, least: int = CPU_SECONDS) -> int:
        """The limit of a child that runs these tests, or all."""
        names = self.seconds if items is None else [item.nodeid for item in items]
        return least + 3 * int(sum(self.seconds[name] for name in names))

    def is_loaded_once(self, mutant: Mutant) -> bool:
        """Whether it changes what is done while the module is imported."""
        return not mutant.place or mutant.place.endswith(".") or _is_in(mutant, self.at_import)

    def in_order(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """The quickest first, but before them those that see by an assertion that a loop does not end."""
        return sorted(items, key=lambda item: ("test_core_ends" not in item.nodeid, self.seconds.get(item.nodeid, 0)))


def try_mutants(target: Target) -> Iterator[tuple[Mutant, Outcome, float]]:
    """Each mutant's outcome, and the seconds it took. The mutants are code of the module's own file."""
    for name in WARM:
        importlib.import_module(name)
    with _session(target, _InPlace(target)) as told:
        try:
            baseline: _Baseline = pickle.load(told)
        except EOFError:
            raise SystemExit(f"the tests of {target.name} cannot be loaded, or fail without a mutant") from None
        for mutant in target.mutants:
            if not baseline.is_loaded_once(mutant):
                yield mutant, *pickle.load(told)
    with _session(target, _Anew(target, baseline)) as told:
        for mutant in target.mutants:
            if baseline.is_loaded_once(mutant):
                yield mutant, *pickle.load(told)


@contextmanager
def _session(target: Target, plugin: _InPlace | _Anew) -> Iterator[IO[bytes]]:
    """A pytest session in a process of its own; what it tells."""
    receive, send = os.pipe()
    process = os.fork()
    if not process:
        os.close(receive)
        plugin.told = os.fdopen(send, "wb")
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        try:
            pytest.main([*PYTEST, *target.tests], plugins=[plugin])
        finally:
            os._exit(Outcome.BROKEN)
    os.close(send)
    with os.fdopen(receive, "rb") as told:
        yield told
    os.waitpid(process, 0)


class _InPlace:
    """The pytest plugin that tries those of a target's mutants whose code can take the place of the code that is there."""

    told: IO[bytes]

    def __init__(self, target: Target) -> None:
        self._target = target
        self._calls = _Calls(target)
        self._at = mmap(-1, 8)

    def pytest_sessionstart(self) -> None:
        _repeat_and_do_not_shrink()
        sys.setprofile(self._calls.note)
        threading.setprofile(self._calls.note)

    def pytest_collection_finish(self) -> None:
        sys.setprofile(None)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        baseline = self._run_unbroken(session)
        _tell(self.told, baseline)
        sharp: defaultdict[str, list[pytest.Item]] = defaultdict(list)
        """Those that saw something in a function, the last one first."""
        for mutant in self._target.mutants:
            if not baseline.is_loaded_once(mutant):
                began = time.monotonic()
                few = sharp[mutant.place][:SHARP]
                outcome, at = self._attempt(mutant, few, baseline.cpu_seconds(few, least=1))
                if outcome not in KILLED:
                    few = baseline.in_order([item for item in session.items if _is_in(mutant, baseline.called[item.nodeid])])
                    outcome, at = self._attempt(mutant, few, baseline.cpu_seconds(few))
                if outcome in KILLED:
                    sharp[mutant.place] = [few[at], *[item for item in sharp[mutant.place] if item is not few[at]]]
                _tell(self.told, (outcome, time.monotonic() - began))
        os._exit(0)

    def _attempt(self, mutant: Mutant, items: Sequence[pytest.Item], cpu_seconds: int) -> tuple[Outcome, int]:
        """What these tests make of a mutant, and which of them saw it."""
        child = _fork(cpu_seconds)
        if not child:
            _replace_code(sys.modules[self._target.name], mutant.code)
            os._exit(_run_items(items, self._at))
        return _await(child), int.from_bytes(self._at[:])

    def _run_unbroken(self, session: pytest.Session) -> _Baseline:
        receive, send = os.pipe()
        child = os.fork()
        if not child:
            with os.fdopen(send, "wb") as told:
                pickle.dump(self._watch(session.items), told)
            os._exit(0)
        os.close(send)
        with os.fdopen(receive, "rb") as told:
            baseline: _Baseline = pickle.load(told)
        os.waitpid(child, 0)
        return baseline

    def _watch(self, items: Sequence[pytest.Item]) -> _Baseline:
        baseline = _Baseline({}, {}, self._calls.take())
        for item in items:
            began = time.process_time()
            sys.setprofile(self._calls.note)
            outcome = _run_items([item])
            sys.setprofile(None)
            baseline.seconds[item.nodeid] = time.process_time() - began
            baseline.called[item.nodeid] = self._calls.take()
            if outcome is not Outcome.LIVED:
                os._exit(outcome)
        return baseline


class _Calls:
    """Which functions of a target are called, as a profile function."""

    def __init__(self, target: Target) -> None:
        self._file = str(target.file)
        self._called: set[str] = set()

    def note(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename == self._file:
            self._called.add(frame.f_code.co_qualname.partition(".<locals>")[0])

    def take(self) -> set[str]:
        called, self._called = self._called, set()
        return called


class _Anew:
    """The pytest plugin that tries the others: each child collects the tests itself."""

    told: IO[bytes]

    def __init__(self, target: Target, baseline: _Baseline) -> None:
        self._target, self._baseline = target, baseline

    def pytest_sessionstart(self) -> None:
        _repeat_and_do_not_shrink()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        for mutant in self._target.mutants:
            if self._baseline.is_loaded_once(mutant):
                began = time.monotonic()
                child = _fork(self._baseline.cpu_seconds())
                if not child:
                    for name in [name for name in sys.modules if name.startswith(AGAIN)]:
                        del sys.modules[name]
                    sys.meta_path.insert(0, _Importer(self._target, mutant.code))
                    return
                _tell(self.told, (_await(child), time.monotonic() - began))
        os._exit(0)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        os._exit(Outcome.BROKEN if session.testsfailed else _run_items(self._baseline.in_order(session.items)))


class _Importer(MetaPathFinder, Loader):
    """Imports a target as its mutant."""

    def __init__(self, target: Target, code: CodeType) -> None:
        self._target, self._code = target, code

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != self._target.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._target.file, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


def _is_in(mutant: Mutant, functions: set[str]) -> bool:
    """In one of these, or in a function in it."""
    return any(f"{mutant.place}.".startswith(f"{function}.") for function in functions)


def _tell(told: IO[bytes], what: object) -> None:
    pickle.dump(what, told)
    told.flush()


def _fork(cpu_seconds: int) -> int:
    """The child's number; in the child, whose time and memory are bounded, 0."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        signal.alarm(WAITS * cpu_seconds)
    return child


def _await(child: int) -> Outcome:
    status = os.waitpid(child, 0)[1]
    shutil.rmtree(os.environ["PYTEST_DEBUG_TEMPROOT"], ignore_errors=True)  # thousands of folders are slow to number, and to remove
    Path(os.environ["PYTEST_DEBUG_TEMPROOT"]).mkdir(exist_ok=True)
    if os.WIFSIGNALED(status):
        return Outcome.ENDLESS if os.WTERMSIG(status) in ENDED else Outcome.BROKEN
    return Outcome(os.WEXITSTATUS(status))


def _run_items(items: Sequence[pytest.Item], at: mmap | None = None) -> Outcome:
    """Until one fails; `at`, which is shared with the parent, is how many did not."""
    for number, (item, following) in enumerate(zip_longest(items, items[1:])):
        if at is not None:
            at[:] = number.to_bytes(8)
        witness = _Witness()
        item.config.pluginmanager.register(witness)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        item.config.pluginmanager.unregister(witness)
        if witness.outcome is not Outcome.LIVED:
            return witness.outcome
    return Outcome.LIVED


class _Witness:
    """Sees one test fail."""

    def __init__(self) -> None:
        self.outcome = Outcome.LIVED

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport | None:
        """Nobody reads why a mutant died, and to tell it takes longer than to find it."""
        if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception) and self.outcome is Outcome.LIVED:
            if call.excinfo.errisinstance(MemoryError):
                self.outcome = Outcome.ENDLESS
            elif call.excinfo.errisinstance((AssertionError, pytest.fail.Exception, BaseExceptionGroup)):
                self.outcome = Outcome.ASSERTED
            else:
                self.outcome = Outcome.RAISED
            return pytest.TestReport(item.nodeid, item.location, {}, "failed", "", "call")
        return None


def _repeat_and_do_not_shrink() -> None:
    settings.register_profile(
        "mutation", settings.get_profile("fast"), phases=[Phase.explicit, Phase.generate], database=None, derandomize=True, print_blob=False
    )
    settings.load_profile("mutation")


def _replace_code(module: ModuleType, code: CodeType) -> None:
    """Give each function of a module, and of its classes, the code that it has in the mutant."""
    codes = {each.co_qualname: each for each in _codes_in(code)}
    for function in _functions_of(module):
        if function.__module__ == module.__name__ and function.__qualname__ in codes:
            function.__code__ = codes[function.__qualname__]


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes_in(each)


def _functions_of(holder: ModuleType | type) -> Iterator[FunctionType]:
    for value in vars(holder).values():
        match value:
            case FunctionType():
                yield value
            case classmethod(__func__=FunctionType() as function) | staticmethod(__func__=FunctionType() as function):
                yield function
            case property(fget=FunctionType() as function):
                yield function
            case type() if isinstance(holder, ModuleType) and value.__module__ == holder.__name__:
                yield from _functions_of(value)
