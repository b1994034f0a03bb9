"""What the guard did is kept, one durable line an event, and read back whatever happened to the file."""

from pathlib import Path

from recorded_runs import action, new_writer, observation

from robo_dream.recording.events import EVENTS, SafetyEvent, append_line, read_events
from robo_dream.recording.record import STEPS, read_run
from robo_dream.recording.timeline import read_step_glimpse, step_row

CLIP = SafetyEvent(1.5, "clip", "joint_2 is kept to its speed limit", {"requested": 2.0, "allowed": 1.0})
STOP = SafetyEvent(2.5, "emergency stop", "emergency key b' '", {})


def test_events_are_kept_with_the_control_step_and_come_back(tmp_path: Path) -> None:
    with new_writer(tmp_path) as writer:
        writer.on_step(observation(0), action(0), action(0))
        writer.on_event(CLIP)
        writer.on_step(observation(1), action(1), action(1))
        writer.on_event(STOP)
        writer.finish(observation(2), {"end": "SAFETY"})
    run = read_run(tmp_path)
    assert [(event.kind, event.step, event.reason) for event in run.events] == [
        ("clip", 1, CLIP.reason),
        ("emergency stop", 2, STOP.reason),
    ]
    assert run.events[0].numbers == {"requested": 2.0, "allowed": 1.0} and not run.damaged
    rows = [step_row(read_step_glimpse(file), None, {}) for file in sorted((tmp_path / STEPS).iterdir())]
    assert [[event["kind"] for event in row.get("events", [])] for row in rows] == [[], ["clip"], ["emergency stop"]]


def test_run_without_events_has_none(tmp_path: Path) -> None:
    with new_writer(tmp_path) as writer:
        writer.finish(observation(0), {})
    assert read_run(tmp_path).events == () and not (tmp_path / EVENTS).exists()


def test_file_cut_at_any_byte_gives_the_whole_lines_and_names_the_damage(tmp_path: Path) -> None:
    with new_writer(tmp_path) as writer:
        for _ in range(3):
            writer.on_event(CLIP)
        writer.finish(observation(0), {})
    whole = (tmp_path / EVENTS).read_bytes()
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(0, len(whole), 7):
        (tmp_path / EVENTS).write_bytes(whole[:size])
        run = read_run(tmp_path)
        num_whole = sum(end <= size for end in ends)
        assert len(run.events) == num_whole
        assert (EVENTS in run.damaged) == (size > 0 and size not in ends and size - 1 not in ends)


def test_line_after_a_crash_is_not_glued_to_the_one_cut_short(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    path.write_bytes(CLIP.to_line() + CLIP.to_line()[:20])
    append_line(path, STOP.to_line())
    events, num_damaged = read_events(path)
    assert [event.kind for event in events] == ["clip", "emergency stop"] and num_damaged == 1


def test_other_bytes_are_damage_and_no_error(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    path.write_bytes(b'\xff\xfe\n[]\n{"time": 1}\nnull\n' + CLIP.to_line())
    events, num_damaged = read_events(path)
    assert events == (CLIP,) and num_damaged == 4
