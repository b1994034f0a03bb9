"""The writer never holds up the loop, loses nothing that it reports as written, and gives up quietly."""

import errno
import logging
import threading
import time
from pathlib import Path

import pytest
from recorded_runs import action, decision, new_writer, observation

from robo_dream.errors import DataError
from robo_dream.files import replace_file
from robo_dream.recording.record import INTERRUPTED, read_run

SLOW = 0.1  # s a file, so 2 s for what is handed over here
AT_ONCE = 1.0  # s for all of it: it waits for no disk, but tests run on busy machines, with every type checked


class FailingDisk:
    """Takes `room` files, then none."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, path: Path, content: bytes) -> None:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        self.room -= 1
        replace_file(path, content)


def test_a_full_disk_stops_the_recording_with_one_warning_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), new_writer(tmp_path, write=FailingDisk(2 + 3)) as writer:
        for number in range(20):
            writer.on_decision(decision(number))
            writer.on_step(observation(number), action(number), action(number))
        writer.finish(observation(20), {"end": "BUDGET"})
    assert len(caplog.records) == 1 and "No space left" in caplog.records[0].getMessage()
    run = read_run(tmp_path)
    assert [kept.step for kept in run.decisions] == [0, 1] == list(writer.written) and len(run.steps) == 1
    assert run.result is None and not run.damaged and isinstance(writer.failure, OSError)


def test_a_run_that_is_interrupted_says_why_in_its_last_word(tmp_path: Path) -> None:
    with new_writer(tmp_path) as writer:
        writer.on_step(observation(0), action(0), action(0))
        writer.interrupt(["told to end (SIGTERM)"], {"distances": [0.5]})
    run = read_run(tmp_path)
    assert run.result == {"end": INTERRUPTED, "reasons": ["told to end (SIGTERM)"], "distances": [0.5]} and len(run.steps) == 1


def test_a_disk_that_is_full_before_anything_moves_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No space left"):
        new_writer(tmp_path, write=FailingDisk(1))


def test_a_file_that_could_not_be_written_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "a.npz", b"half")
    assert list(tmp_path.iterdir()) == []


def test_a_slow_disk_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    def slow(path: Path, content: bytes) -> None:
        time.sleep(SLOW)
        replace_file(path, content)

    with new_writer(tmp_path, write=slow) as writer:
        happened = [(decision(number), observation(number)) for number in range(10)]
        start = time.perf_counter()
        for record, seen in happened:
            writer.on_decision(record)
            writer.on_step(seen, action(0), action(0))
        assert time.perf_counter() - start < AT_ONCE and len(writer.written) < 10
    assert len(read_run(tmp_path).decisions) == 10 == len(writer.written)


def test_what_is_reported_as_written_is_there(tmp_path: Path) -> None:
    with new_writer(tmp_path) as writer:
        for number in range(30):
            writer.on_decision(decision(number))
            reported = writer.written
            assert set(reported) <= {int(path.stem) for path in (tmp_path / "decisions").glob("*.npz")}


def test_a_disk_that_hangs_makes_the_loop_wait_once_and_then_never(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hanging = threading.Event()

    def stuck(path: Path, content: bytes) -> None:
        if "decisions" in str(path):
            hanging.wait(20)
        replace_file(path, content)

    with caplog.at_level(logging.WARNING), new_writer(tmp_path, write=stuck, queue_size=4, max_wait=0.02) as writer:
        start = time.perf_counter()
        for _ in range(50):
            writer.on_decision(decision(0))
        waited = time.perf_counter() - start
        hanging.set()
    assert waited < 2.0 and len(caplog.records) == 1 and "files are waiting" in caplog.records[0].getMessage()


def test_a_mistake_in_the_program_is_no_fault_of_the_disk_and_is_raised_at_the_end(tmp_path: Path) -> None:
    def mistaken(path: Path, content: bytes) -> None:
        if "decisions" in str(path):
            raise AttributeError("no such thing")
        replace_file(path, content)

    writer = new_writer(tmp_path, write=mistaken)
    writer.on_decision(decision(0))
    with pytest.raises(AttributeError, match="no such thing"):
        writer.close()


def test_an_episode_that_breaks_off_keeps_what_was_handed_over(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broke"), new_writer(tmp_path) as writer:
        for number in range(5):
            writer.on_decision(decision(number))
        raise RuntimeError("the arm broke")
    assert len(read_run(tmp_path).decisions) == 5
