"""The state machine, proven over its table."""

from __future__ import annotations

import itertools

import pytest

from store.errors import (
    BlobDamaged,
    BrakeHeld,
    Corrupt,
    FastestError,
    FileMoved,
    InvalidReply,
    NotSignedIn,
    Offline,
    Refused,
    RootLost,
    Stale,
    Transient,
    VersionMoved,
)
from sync.core.state import CYCLE, TRANSITIONS, Halt, Signal, Standing, State, halt_of, signal_of, step

FAMILIES = (Signal.STALE, Signal.TRANSIENT, Signal.REFUSED, Signal.CORRUPT)
WHY = Halt("brake-held", "80 files would go.", "Run `fst approve`.")


def test_what_the_states_and_signals_are_called() -> None:
    """People and other programs read these words."""
    assert [state.value for state in State] == ["idle", "scanning", "planning", "applying", "pushing", "waiting", "halted"]
    assert [signal.value for signal in Signal] == ["nudge", "done", "stale", "transient", "refused", "corrupt", "resume"]


def test_a_halt_has_a_hint_only_where_one_was_given() -> None:
    assert Halt("c", "m") == Halt("c", "m", "", corrupt=False)


@pytest.mark.parametrize(("state", "family"), list(itertools.product(CYCLE, FAMILIES)))
def test_every_working_state_answers_every_family(state: State, family: Signal) -> None:
    assert TRANSITIONS[state, family] in (State.SCANNING, State.WAITING, State.HALTED)


@pytest.mark.parametrize("state", State)
def test_every_state_can_come_home(state: State) -> None:
    reached, edge = {state}, {state}
    while edge:
        edge = {after for (before, _), after in TRANSITIONS.items() if before in edge} - reached
        reached |= edge
    assert State.IDLE in reached


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_reached_and_takes_a_nudge(state: State) -> None:
    assert state is State.IDLE or state in TRANSITIONS.values()
    assert (state, Signal.NUDGE) in TRANSITIONS


def test_home_is_reached_only_by_finishing_the_cycle() -> None:
    assert [pair for pair, after in TRANSITIONS.items() if after is State.IDLE] == [(State.PUSHING, Signal.DONE)]


def test_a_cycle() -> None:
    standing, seen = Standing(), []
    for signal in (Signal.NUDGE, Signal.DONE, Signal.DONE, Signal.DONE, Signal.DONE):
        standing = step(standing, signal)
        seen.append(standing.state)
    assert seen == ["scanning", "planning", "applying", "pushing", "idle"]


@pytest.mark.parametrize(
    ("state", "signal", "after"),
    [
        (State.PUSHING, Signal.STALE, State.SCANNING),
        (State.APPLYING, Signal.STALE, State.SCANNING),
        (State.PUSHING, Signal.TRANSIENT, State.WAITING),
        (State.WAITING, Signal.NUDGE, State.SCANNING),
        (State.WAITING, Signal.RESUME, State.SCANNING),
        (State.APPLYING, Signal.NUDGE, State.APPLYING),
    ],
)
def test_a_step(state: State, signal: Signal, after: State) -> None:
    assert step(Standing(state), signal) == Standing(after)


def test_a_halt_keeps_its_reason_until_somebody_resumes() -> None:
    halted = step(Standing(State.PLANNING), Signal.REFUSED, WHY)
    assert halted == Standing(State.HALTED, WHY)
    assert step(halted, Signal.NUDGE) == halted
    assert step(halted, Signal.RESUME) == Standing(State.SCANNING)


@pytest.mark.parametrize(
    ("state", "signal"), [(State.IDLE, Signal.DONE), (State.IDLE, Signal.RESUME), (State.WAITING, Signal.DONE), (State.HALTED, Signal.DONE)]
)
def test_an_unlisted_pair_is_a_mistake(state: State, signal: Signal) -> None:
    with pytest.raises(KeyError):
        step(Standing(state, WHY if state is State.HALTED else None), signal)


def test_no_halt_without_a_reason_and_no_reason_without_a_halt() -> None:
    for signal, halt in ((Signal.CORRUPT, None), (Signal.DONE, WHY)):
        with pytest.raises(AssertionError, match=r"^a replica halts for a reason, and has none otherwise$"):
            step(Standing(State.SCANNING), signal, halt)


@pytest.mark.parametrize(
    ("error", "signal"),
    [
        (Offline("no route"), Signal.TRANSIENT),
        (VersionMoved("head is 7"), Signal.STALE),
        (FileMoved("a"), Signal.STALE),
        (NotSignedIn("no token"), Signal.REFUSED),
        (RootLost("unmounted"), Signal.REFUSED),
        (BlobDamaged("b"), Signal.CORRUPT),
        (InvalidReply("html"), Signal.CORRUPT),
    ],
)
def test_the_family_decides(error: FastestError, signal: Signal) -> None:
    assert signal_of(error) is signal


def test_every_error_class_is_in_exactly_one_family() -> None:
    def below(cls: type[FastestError]) -> list[type[FastestError]]:
        return [cls, *itertools.chain.from_iterable(below(sub) for sub in cls.__subclasses__())]

    for cls in below(FastestError)[1:]:
        assert sum(issubclass(cls, family) for family in (Stale, Transient, Refused, Corrupt)) == 1, cls
    with pytest.raises(AssertionError, match=r"^FastestError is in no family$"):
        signal_of(FastestError("in no family"))


def test_an_error_tells_why_it_halts() -> None:
    assert halt_of(BrakeHeld("80 files would go.", "Run `fst approve`.")) == WHY
    assert not halt_of(InvalidReply("no answer of ours")).corrupt
    assert halt_of(BlobDamaged("a blob is not itself")) == Halt("blob-damaged", "a blob is not itself", "", corrupt=True)
    assert halt_of(InvalidReply("html")) == Halt("invalid-reply", "html", "", corrupt=False)
