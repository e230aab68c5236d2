from __future__ import annotations

import pytest

from daemon.agenda import RETRY_MAX_SECONDS, Agenda, Looked
from daemon.remote.inbox import MAX_MESSAGES
from daemon.remote.messages import Incoming
from store.errors import Busy
from store.types import Spot, spot_of
from sync.core.settle import Pace

PACE = Pace()
LOGS = spot_of(b"app/today.log")
LARGE = spot_of(b"large")


def fresh() -> Agenda:
    """An agenda after its first look at time 100."""
    agenda = Agenda()
    assert agenda.take_dirty(100.0, PACE) is not None
    return agenda


def test_the_first_look_is_at_everything_and_the_next_waits_for_its_timer() -> None:
    agenda = Agenda()
    taken = agenda.take_dirty(100.0, PACE)
    assert taken is not None and taken.everything
    assert agenda.take_dirty(101.0, PACE) is None
    assert agenda.next_at(PACE, stopped=False, has_owed=False) > 101.0


def test_a_single_save_is_due_after_twenty_milliseconds() -> None:
    agenda = fresh()
    agenda.add_dirty({Spot(b"src", b"a")}, 101.0)
    assert agenda.take_dirty(101.010, PACE) is None
    taken = agenda.take_dirty(101.021, PACE)
    assert taken is not None and not taken.everything and taken.spots == {Spot(b"src", b"a")}
    assert agenda.waiting == 0


def test_a_look_that_failed_is_still_to_be_done() -> None:
    agenda = fresh()
    agenda.add_dirty({Spot(b"src", b"a")}, 101.0)
    taken = agenda.take_dirty(102.0, PACE)
    assert taken is not None
    with pytest.raises(Busy), agenda.looking(taken):
        raise Busy("git is at work")
    assert agenda.waiting == 1
    assert not agenda.look_due(103.0, PACE), "a look that fails must not be tried again at once, for ever"
    agenda.rushed = True
    again = agenda.take_dirty(103.0, PACE)
    assert again is not None and again.spots == {Spot(b"src", b"a")}


def test_what_is_being_looked_at_is_not_done_yet() -> None:
    agenda = Agenda()
    agenda.add_dirty({Spot(b"src", b"a")}, 100.0)
    for everything in (True, False):
        taken = agenda.take_dirty(101.0, PACE)
        assert taken is not None and agenda.waiting == 0
        with agenda.looking(taken):
            assert agenda.waiting == 1 + everything
            agenda.add_dirty({Spot(b"src", b"a")}, 100.5)
        assert agenda.waiting == 1, "saved again meanwhile"


def test_a_rush_takes_what_is_not_due_yet_but_makes_no_work() -> None:
    agenda = fresh()
    agenda.rushed = True
    assert agenda.take_dirty(100.5, PACE) is None
    agenda.add_dirty({spot_of(b"a")}, 100.5)
    assert agenda.take_dirty(100.5, PACE) is not None


def test_what_was_deferred_comes_back_by_themselves() -> None:
    agenda = fresh()
    looked = Looked(everything=False, spots=frozenset({LOGS}), began=100.9)
    agenda.note_looked(looked, {LOGS}, 101.0)
    assert agenda.waiting == 1
    assert agenda.take_dirty(101.05, PACE) is None
    taken = agenda.take_dirty(102.0, PACE)
    assert taken is not None and taken.spots == {LOGS}


def test_waits_grow_and_have_a_bound() -> None:
    agenda = Agenda()
    waits = []
    for failures in range(1, 20):
        agenda.back_off(0.0, failures)
        waits.append(agenda.resume_at)
    assert waits[0] < 2 and all(wait <= RETRY_MAX_SECONDS * 1.2 for wait in waits) and waits[-1] > RETRY_MAX_SECONDS * 0.7


def test_a_machine_that_slept_looks_at_everything() -> None:
    agenda = fresh()
    agenda.notice_sleep(1_000_000, 100.0)
    agenda.notice_sleep(1_010_000, 110.0)
    assert not agenda.rescan
    agenda.notice_sleep(5_000_000, 111.0)
    assert agenda.rescan


def test_what_failed_is_waited_for_and_never_spun_on() -> None:
    agenda = Agenda()
    agenda.add_dirty({spot_of(b"a")}, 100.0)
    agenda.rushed = True
    agenda.hear(Incoming("version", None, None, None, (), (), (), ""))
    agenda.back_off(200.0, 1)
    agenda.hush()
    assert agenda.behind, "what was told is asked for later"
    assert not agenda.should_go(200.0, PACE, stopped=True, online=True, has_owed=True)
    assert not agenda.moved_due(200.0, PACE)
    assert agenda.next_at(PACE, stopped=True, has_owed=True) > 200.0
    agenda.add_dirty({spot_of(b"b")}, 200.1)
    assert agenda.moved_due(200.2, PACE), "news calls again"


def test_what_found_no_room_is_still_to_be_done_and_tried_again() -> None:
    agenda = fresh()
    agenda.add_troubled({LARGE}, 101.0)
    assert agenda.waiting == 1, "not settled: its bytes are not kept"
    assert agenda.take_dirty(102.0, PACE) is None
    taken = agenda.take_dirty(110.0, PACE)
    assert taken is not None and taken.spots == {LARGE} and agenda.waiting == 0


class Play:
    """An agenda beside a clock that goes on by 10 ms; `spent`: how long looking at a spot takes."""

    def __init__(self, spent: float = 0.001) -> None:
        self.agenda = fresh()
        self.now = 100.0
        self.looks: dict[Spot, list[float]] = {}
        self._spent = spent

    def tick(self, *dirty: Spot, written: Spot | None = None) -> None:
        """Events came for these; `written` is open for writing, and so deferred by each look."""
        self.now += 0.01
        if dirty:
            self.agenda.add_dirty(set(dirty), self.now)
        taken = self.agenda.take_dirty(self.now, PACE)
        if taken is None:
            return
        self.now += self._spent
        for spot in taken.spots:
            self.looks.setdefault(spot, []).append(self.now)
        self.agenda.note_looked(taken, {written} & taken.spots if written else set(), self.now)


def test_a_log_that_always_grows_is_looked_at_less_and_less_often() -> None:
    play, other = Play(), spot_of(b"src/main.py")
    while play.now < 160:
        play.tick(LOGS)
    assert len(play.looks[LOGS]) < 60, "every half second it would be 120, and every tick 6,000"
    # What else changes does not wait for it, nor it for ever.
    saved_at = play.now
    play.tick(LOGS, other)
    while play.now < saved_at + 10:
        play.tick(LOGS)
    assert play.looks[other] and play.looks[other][0] - saved_at < 0.1
    ended_at = play.now
    while play.now < ended_at + 3:
        play.tick()
    assert play.looks[LOGS][-1] > ended_at - 2.1 and play.agenda.waiting == 0
    # Once it has rested it is as quick as any.
    play.now += 10
    saved_at = play.now
    play.tick(LOGS)
    while play.looks[LOGS][-1] < saved_at:
        play.tick()
    assert play.looks[LOGS][-1] - saved_at < 0.1


def test_a_file_that_is_written_for_minutes_is_not_asked_for_ten_times_a_second() -> None:
    play = Play()
    play.tick(LOGS, written=LOGS)
    while play.now < 160:
        play.tick(written=LOGS)
    assert len(play.looks[LOGS]) < 60


def test_a_large_file_that_never_rests_takes_a_fifth_of_the_time_at_most() -> None:
    play = Play(spent=1.0)
    while play.now < 400:
        play.tick(LOGS)
    assert len(play.looks[LOGS]) < 300 / 5 + 6


def test_rest_is_for_whom_is_looked_at_again_and_again() -> None:
    play, names = Play(spent=30.0), {Spot(b"", b"%d" % number) for number in range(1000)}
    play.tick(*names)
    while set(play.looks) != names:
        play.tick()
    play.tick(*names)
    began = play.now
    while play.agenda.waiting:
        play.tick()
    assert play.now - began < 31, "a large burst once more is as quick as the first"
    for _ in range(5):  # nor do many that come in turn grow the memory of the agenda
        play.tick(*({Spot(b"x%d" % number, b"") for number in range(2000)}))
        play.now += 40
        play.tick()
    assert len(play.agenda._warm) <= 4000


def test_who_rests_is_looked_at_all_the_same_when_somebody_asks() -> None:
    play = Play()
    while play.now < 110:
        play.tick(LOGS)
    while play.agenda.take_dirty(play.now, PACE):
        play.tick(LOGS)
    play.agenda.add_dirty({LOGS}, play.now)
    assert play.agenda.take_dirty(play.now, PACE) is None and play.agenda.waiting == 1
    play.agenda.rushed = True
    taken = play.agenda.take_dirty(play.now, PACE)
    assert taken is not None and taken.spots == {LOGS}


def test_a_cloud_that_asked_for_time_is_left_alone_while_saves_are_kept() -> None:
    agenda = fresh()
    agenda.unpushed = True
    agenda.back_off(200.0, 1, 60.0)
    assert 260.0 <= agenda.transfer_at <= 272.0 and agenda.resume_at < 203.0
    agenda.add_dirty({LOGS}, 201.0)
    assert agenda.should_go(203.0, PACE, stopped=True, online=False, has_owed=False), "a save is looked at"
    assert agenda.take_dirty(203.0, PACE) is not None
    assert not agenda.should_go(204.0, PACE, stopped=False, online=False, has_owed=False), "and then nothing is asked"
    agenda.hurry(rescan=False, online=True)
    assert agenda.transfer_at == 0.0, "a person need not wait"


def test_too_many_messages_become_one_question() -> None:
    agenda = fresh()
    message = Incoming("version", None, None, None, (), (), (), "")
    for _ in range(MAX_MESSAGES):
        agenda.hear(message)
    assert len(agenda.incoming) == MAX_MESSAGES and not agenda.behind
    agenda.hear(message)
    assert agenda.behind and not agenda.incoming


def test_ones_own_name_on_a_push_one_did_not_make_is_news() -> None:
    agenda = fresh()
    assert agenda.is_echo(5, 5, pushing=False) and not agenda.is_echo(6, 5, pushing=False)
    assert agenda.is_echo(6, 5, pushing=True)
    agenda.settle_echo(6)
    assert not agenda.behind, "the push made it"
    assert agenda.is_echo(8, 6, pushing=True) and agenda.is_echo(7, 6, pushing=True)
    agenda.settle_echo(7)
    assert agenda.behind, "a copy of this machine made the eighth"
