"""The life of a replica: its states, the signals that move it, and one table of transitions.

Theory. One cycle is scanning -> planning -> applying -> pushing -> idle. Whatever goes wrong in it belongs to one of the four
error families, and the family alone decides where the replica goes: *stale* looks again, *transient* waits, *refused* and *corrupt*
halt. Everything that affects a transition is in this file, and a pair that is not in the table is a mistake of ours: KeyError.
A nudge while a cycle runs changes nothing here: what is dirty is remembered beside the state and scanned by the next cycle.
The picture of the table is docs/state.md, drawn by `python -m tests.house.draw_state`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from store.errors import Corrupt, FastestError, InvalidReply, Refused, Stale, Transient


class State(StrEnum):
    """What a replica is doing."""

    IDLE = "idle"
    SCANNING = "scanning"
    PLANNING = "planning"
    APPLYING = "applying"
    PUSHING = "pushing"
    WAITING = "waiting"
    HALTED = "halted"


class Signal(StrEnum):
    """What can happen to it: something moved, a step was done, a step failed, or it is time to go on."""

    NUDGE = "nudge"
    DONE = "done"
    STALE = "stale"
    TRANSIENT = "transient"
    REFUSED = "refused"
    CORRUPT = "corrupt"
    RESUME = "resume"


CYCLE: Final = (State.SCANNING, State.PLANNING, State.APPLYING, State.PUSHING)
"""The working states, in the order a cycle takes them."""

_AFTER: Final = dict(zip(CYCLE, (*CYCLE[1:], State.IDLE), strict=True))

TRANSITIONS: Final[dict[tuple[State, Signal], State]] = {
    (State.IDLE, Signal.NUDGE): State.SCANNING,
    **{(state, Signal.DONE): after for state, after in _AFTER.items()},
    **{(state, Signal.NUDGE): state for state in CYCLE},
    **{(state, Signal.STALE): State.SCANNING for state in CYCLE},
    **{(state, Signal.TRANSIENT): State.WAITING for state in CYCLE},
    **{(state, Signal.REFUSED): State.HALTED for state in CYCLE},
    **{(state, Signal.CORRUPT): State.HALTED for state in CYCLE},
    # A save need not wait for the network to come back: its bytes are kept here at once.
    (State.WAITING, Signal.NUDGE): State.SCANNING,
    (State.WAITING, Signal.RESUME): State.SCANNING,
    (State.HALTED, Signal.NUDGE): State.HALTED,
    (State.HALTED, Signal.RESUME): State.SCANNING,
}


class Halt(msgspec.Struct, frozen=True):
    """Why a replica stands still: a stable code, a sentence, the next step.

    After a refusal or a wrong answer (`corrupt` False) looking again is harmless, so a nudge may be answered with `resume`: edits
    then stay in the history, and a cause that has gone lets the replica come home. After damage nothing is touched until a person
    resumes.
    """

    code: str
    message: str
    hint: str = ""
    corrupt: bool = False


class Standing(msgspec.Struct, frozen=True):
    """A state, with the reason when (and only when) it is `halted`."""

    state: State = State.IDLE
    halt: Halt | None = None

    def __post_init__(self) -> None:
        if (self.state is State.HALTED) != (self.halt is not None):
            raise AssertionError("a replica halts for a reason, and has none otherwise")


def step(standing: Standing, signal: Signal, halt: Halt | None = None) -> Standing:
    """Where this signal leads; `halt` is the reason when it leads into `halted`. Raises KeyError for a pair not in the table."""
    state = TRANSITIONS[standing.state, signal]
    if state is State.HALTED and standing.state is State.HALTED:
        return standing
    return Standing(state, halt)


def signal_of(error: FastestError) -> Signal:
    """The signal of an error's family."""
    for family, signal in _SIGNALS:
        if isinstance(error, family):
            return signal
    raise AssertionError(f"{type(error).__name__} is in no family")


def halt_of(error: FastestError) -> Halt:
    """The reason that an error gives for halting. What the other side got wrong is no damage here: the folder is kept as ever."""
    return Halt(error.code, error.message, error.hint, isinstance(error, Corrupt) and not isinstance(error, InvalidReply))


_SIGNALS: Final = ((Stale, Signal.STALE), (Transient, Signal.TRANSIENT), (Refused, Signal.REFUSED), (Corrupt, Signal.CORRUPT))
