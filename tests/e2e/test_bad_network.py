"""Networks that stall, are cut, lie or belong to a hotel: nothing is lost or deleted, saves are kept, and it goes on by itself (N)."""

from __future__ import annotations

import hashlib
import os
import signal
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.lab.compare import digests_in
from tests.lab.fixtures import open_lab
from tests.lab.machine import Machine
from tests.lab.network import BadNetwork, Mode
from tests.lab.pair import Pair
from tests.lab.process import signal_all
from tests.lab.slow import slow
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

MB = 1024 * 1024
ANSWER_SECONDS = 3.0
"""For a whole `fst` command, its own start included, on a machine that does other things."""


class Far(Pair):
    """A pair, each of which reaches the cloud over a network of its own."""

    def open(self) -> dict[str, object]:
        """As of a pair; then both sign in again over their networks."""
        told = super().open()
        self.networks = [BadNetwork(self.cloud.port) for _ in self.machines]
        for machine, network in zip(self.machines, self.networks, strict=True):
            machine.login(network.url, self.cloud.token())
        return told

    def become(self, mode: Mode) -> None:
        """Both networks."""
        for network in self.networks:
            network.become(mode)


@pytest.fixture(scope="module")
def opened(request: pytest.FixtureRequest) -> Iterator[Far]:
    for lab in open_lab(request):
        pair = Far(lab)
        pair.a.root.mkdir(parents=True)
        for at in range(60):
            (pair.a.root / f"file-{at}.txt").write_text(f"{at}\n" * 20)
        pair.open()
        pair.converge(60)
        yield pair
        for network in pair.networks:
            network.close()


@pytest.fixture
def pair(opened: Far) -> Iterator[Far]:
    """At rest before and after."""
    yield opened
    opened.become(Mode.OPEN)
    for network in opened.networks:
        network.cut_after = None


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def save(machine: Machine, name: str, data: bytes) -> str:
    (machine.root / name).write_bytes(data)
    return sha(data)


def assert_kept(machine: Machine, digest: str) -> None:
    """What was just saved is in the history here, whatever the network does."""
    machine.wait_settled(8)
    assert machine.has_content(digest)


def assert_prompt(machine: Machine, *args: str) -> None:
    began = time.monotonic()
    machine.must(*args, codes=(0, 5))
    assert time.monotonic() - began < ANSWER_SECONDS, f"`fst {' '.join(args)}` took {time.monotonic() - began:.1f} s"


def assert_goes_on(pair: Far) -> None:
    """A transfer hangs: what is saved is kept here all the same, and a person is answered."""
    save(pair.a, "first.txt", b"the push of this one hangs\n")
    wait_until(lambda: pair.a.status().get("progress", {}).get("phase") == "waiting for the cloud", 20, "the push waits for the cloud")
    second = save(pair.a, "second.txt", b"saved while it hangs\n")
    assert_kept(pair.a, second)
    assert_prompt(pair.a, "status")
    assert_prompt(pair.a, "snapshot", "-m", "while it hangs")
    assert_prompt(pair.a, "restore", "--from", "1", "file-0.txt")


def test_while_the_network_stalls_saves_are_kept_and_questions_answered(pair: Far) -> None:
    pair.become(Mode.STALLED)
    assert_goes_on(pair)
    pair.become(Mode.OPEN)
    pair.converge(60)
    assert (pair.b.root / "second.txt").read_text() == "saved while it hangs\n"


def test_while_the_cloud_is_paused_saves_are_kept_and_questions_answered(pair: Far) -> None:
    signal_all(pair.lab.processes("cloud"), signal.SIGSTOP)
    try:
        for name in ("first.txt", "second.txt"):
            (pair.a.root / name).unlink(missing_ok=True)
        assert_goes_on(pair)
    finally:
        signal_all(pair.lab.processes("cloud"), signal.SIGCONT)
    pair.converge(60)


def test_a_daemon_goes_down_at_once_while_the_network_stalls(pair: Far) -> None:
    pair.become(Mode.STALLED)
    save(pair.a, "third.txt", b"in mid push\n")
    wait_until(lambda: not pair.a.status()["uploaded"], 20, "the push is under way")
    assert_prompt(pair.a, "down")
    pair.become(Mode.OPEN)
    wait_until(lambda: not pair.a.daemon_processes(), 10, "it is gone")
    pair.a.start()
    pair.converge(60)


def test_a_sign_in_page_deletes_nothing_and_is_forgotten(pair: Far) -> None:
    before = digests_in(pair.a.root)
    pair.become(Mode.PORTAL)
    wait_until(lambda: pair.a.report()["daemon"]["cloud"] == "offline", 30, "a tells that the cloud is away")
    kept = [save(machine, f"on-{machine.name}.txt", f"written on {machine.name}\n".encode()) for machine in pair.machines]
    for machine, digest in zip(pair.machines, kept, strict=True):
        assert_kept(machine, digest)
        assert "halt" not in machine.status()
    assert digests_in(pair.b.root).items() >= before.items()
    pair.become(Mode.OPEN)
    pair.converge(60)
    assert len(digests_in(pair.a.root)) == len(before) + 2


@slow
def test_a_line_that_is_cut_again_and_again_goes_on_where_it_was(pair: Far) -> None:
    """Up over one network, down over the other: each dies after 3 MB, and 10 MB come through without being sent twice over."""
    data = os.urandom(10 * MB)
    before = [(network.up, network.down, network.cuts) for network in pair.networks]
    for network in pair.networks:
        network.cut_after = 3 * MB
    save(pair.a, "large.bin", data)
    wait_until(lambda: (pair.b.root / "large.bin").exists(), 90, "the large file has arrived")
    assert sha((pair.b.root / "large.bin").read_bytes()) == sha(data)
    up = pair.networks[0].up - before[0][0]
    down = pair.networks[1].down - before[1][1]
    cuts = [network.cuts - was for network, (_, _, was) in zip(pair.networks, before, strict=True)]
    print(f"10 MB: {up / MB:.1f} MB up in spite of {cuts[0]} cuts, {down / MB:.1f} MB down of {cuts[1]}")
    assert min(cuts) >= 2 and max(up, down) < 2 * len(data)
    for network in pair.networks:
        network.cut_after = None
    pair.converge(60)


@slow
def test_a_sign_in_that_is_revoked_in_mid_work_loses_nothing(pair: Far) -> None:
    token = pair.cloud.token()
    pair.a.login(pair.networks[0].url, token)
    wait_until(lambda: pair.a.report()["daemon"]["cloud"] == "connected", 20, "a is connected")
    pair.networks[0].cut_after = 2 * MB
    save(pair.a, "large-2.bin", os.urandom(12 * MB))
    wait_until(lambda: pair.a.status()["state"] in ("pushing", "waiting"), 20, "its push is under way")
    asked = urllib.request.Request(f"{pair.cloud.url}/v1/auth/logout", b"{}", {"Authorization": f"Bearer {token}"}, method="POST")
    urllib.request.urlopen(asked, timeout=10).close()
    wait_until(lambda: pair.a.report()["daemon"]["cloud"] == "signed-out", 30, "a tells that it is signed out")
    asked_before = pair.networks[0].up
    kept = save(pair.a, "alone.txt", b"kept without a sign-in\n")
    assert_kept(pair.a, kept)
    assert_prompt(pair.a, "status")
    assert pair.networks[0].up == asked_before, "nobody is asked in a loop"
    assert not (pair.b.root / "alone.txt").exists()
    pair.networks[0].cut_after = None
    pair.a.login(pair.networks[0].url, pair.cloud.token())
    pair.converge(60)
    assert (pair.b.root / "large-2.bin").stat().st_size == 12 * MB
    pair.check()
