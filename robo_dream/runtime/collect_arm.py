"""Episodes of play on an arm: which arm, how it is spared, and what becomes of an episode that does not come to its end."""

import shutil
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robo_dream.config import Changes, dump, load
from robo_dream.data.episode import Episode
from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import ConfigError, RoboDreamError, SafetyStopError
from robo_dream.recording.record import STEPS, GoalRecord
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.arm_world import ArmWorld, TooHotError, heat
from robo_dream.runtime.connect import CameraSetup, Connected, Events, connected, go_to_start
from robo_dream.runtime.run import RunConfig, SnapshotGoal
from robo_dream.safety.ending import why
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.schema import Fraction, Unit, configuration
from sim.environment import Environment
from sim.scripts import Playing, ScriptConfig, scripted_episode
from sim.tabletop.behaviours.blind import BLIND
from sim.tabletop.environment import Tabletop

UNDER_WAY, CUT_SHORT = "under_way", "cut_short"  # records of episodes, beside the shards
_LOOK = 1.0  # s between looks at a motor that cools down
_PLAYED_BY = "play: a script that is told of no object"

Say = Callable[[str], None]
Celsius = Annotated[float, Field(ge=10, le=100), Unit("°C")]


@configuration
class ArmPlayConfig:
    """Which arm is played, and how it is spared. `hardware` is the arm's file, as `run` takes it; `changes` is what is changed of it.

    After each episode the arm rests for `rest_seconds`. A motor above `max_temperature` ends the episode, and the arm rests at its start
    pose until all are at `cooled`. A stop of the guard that ends by itself may come `stops_in_a_row` times; the next one ends the
    collection, as one does that a person has to reset. So with an episode in which more than `most_late` of the control steps took half as
    long again as they should: from such times no dynamics are learned.
    """

    hardware: Path
    changes: Changes[RunConfig] = field(default_factory=Changes)
    script: ScriptConfig = field(default_factory=lambda: ScriptConfig(num_steps=130, mix={BLIND: 1.0}, max_noise=0.15))
    picture_size: Annotated[int, Field(ge=16, le=512), Unit("px")] = 96  # of a bench; a twin's are those of its scene
    rest_seconds: Annotated[float, Field(ge=0, le=3600), Unit("s")] = 2.0
    max_temperature: Celsius = 55.0  # STS3215 servos give up at 70
    cooled: Celsius = 45.0
    stops_in_a_row: Annotated[int, Field(ge=0, le=100)] = 0
    most_late: Fraction = 0.1  # of control steps

    def __post_init__(self) -> None:
        if self.cooled >= self.max_temperature:
            raise ConfigError(f"cooled is {self.cooled} °C and max_temperature {self.max_temperature} °C; cooled must be the lower one")
        if unknown := sorted(set(self.script.mix) - {BLIND, "random"}):
            raise ConfigError(f"script.mix names {unknown}; an arm that is told of no object is played by {BLIND} and random")


class LateError(RoboDreamError):
    """Control steps took longer than they should."""


@dataclass(frozen=True)
class ArmStage:
    """The arm of an `ArmPlayConfig`, not yet connected."""

    play: ArmPlayConfig
    run: RunConfig

    @property
    def setup(self) -> CameraSetup:
        """Through which cameras it is looked."""
        cameras, dt = self.run.world.cameras, Tabletop.control_dt
        if self.run.twin:
            return CameraSetup(tuple(camera.name for camera in cameras), min(camera.height for camera in cameras), dt)
        if not self.run.cameras:
            raise ConfigError(
                f"{self.play.hardware} names no cameras, so nothing would be seen; give cameras there, as `robo-dream run` takes them"
            )
        return CameraSetup(tuple(camera.name for camera in self.run.cameras), self.play.picture_size, dt)

    def seen(self) -> tuple[ActionSpec, tuple[CameraSpec, ...], int]:
        """Actions, cameras, and of how many objects the pose is told (of a bench, one that is NaN), before anything is connected."""
        with Tabletop(self.run.world) as model:
            if self.run.twin:
                return model.action_spec, model.cameras, len(model.ground_truth().object_poses)
            size = self.setup.size
            return model.action_spec, tuple(CameraSpec(name, size, size) for name in self.setup.cameras), 1

    def recipe(self) -> dict[str, Any]:
        """What decides how the episodes are, for their dataset."""
        arm, world = {"kind": self.run.arm.kind, "twin": self.run.twin}, dump(self.run.world)
        if self.run.world.randomization is None:
            del world["randomization"]  # as simulated play says of the same world
        return {"arm": arm, "script": dump(self.play.script), "world": world}


def arm_stage(play: ArmPlayConfig) -> ArmStage:
    """Reads the arm's file. Raises `ConfigError`."""
    run = play.changes.of(load(RunConfig, play.hardware))
    return ArmStage(play, replace(run, goal=SnapshotGoal()))  # nothing is aimed at


@dataclass(frozen=True)
class _HeldWhenBlind:
    """As `script`, and told to hold still where pictures are not fit to act on: what is recorded is what was sent."""

    script: ScriptConfig

    @property
    def num_steps(self) -> int:
        return self.script.num_steps

    @property
    def picture_every(self) -> int:
        return self.script.picture_every

    def skills(self, environment: Environment) -> tuple[str, ...]:
        return self.script.skills(environment)

    def require(self, environment: Environment) -> None:
        self.script.require(environment)

    def begin(self, environment: Environment, rng: np.random.Generator) -> Playing:
        assert isinstance(environment, ArmWorld)
        playing = self.script.begin(environment, rng)
        moves = ((label, environment.hold_action if environment.is_blind else action) for label, action in playing.actions)
        return replace(playing, actions=moves)


def arm_episodes(stage: ArmStage, out: Path, seeds: Sequence[int], say: Say) -> Iterator[Episode]:
    """One episode after another on the connected arm; the caller has committed each before it asks for the next.

    Raises `SafetyStopError` where a person must look at a stop, or too many came in a row.
    """
    play, run, events = stage.play, stage.run, Events()
    with connected(run, stage.setup, False, events, say) as bench:
        say(f"connected: {run.arm.kind}{' (twin)' if run.twin else ''}, {' and '.join(stage.setup.cameras)}")
        say("space, e or escape: emergency stop   Ctrl-C: decelerate, hold and end; finished episodes are kept")
        if bench.arm.state().motor_temperatures is None:
            say("this arm tells no temperatures, so nobody watches them: feel its motors now and then")
        _, cameras, _ = stage.seen()
        with ArmWorld(bench, cameras, run.loop, play.max_temperature) as world:
            num_stops = 0
            for seed in seeds:
                episode = None
                while episode is None:
                    _cool(stage, bench, say)
                    try:
                        episode = _recorded_episode(stage, bench, world, events, out, seed, say)
                    except TooHotError:
                        continue  # as it says; next it is cooled
                    except (SafetyStopError, LateError) as error:
                        num_stops += 1
                        if _reasons(bench) or num_stops > play.stops_in_a_row:
                            raise SafetyStopError(
                                f"the arm holds, and collecting has ended: {error}. Look at the record and at the arm, mend it, "
                                "and give the same command to go on"
                            ) from error
                        say(f"the arm held, and goes on: {num_stops} stops in a row, allowed are {play.stops_in_a_row}")
                num_stops = 0
                yield episode
                shutil.rmtree(_folder(out, seed), ignore_errors=True)
                bench.clock.sleep_until(bench.clock.now() + play.rest_seconds)


def cut_short(out: Path, committed: Container[int], say: Say) -> None:
    """Says of every episode that was under way when an earlier program was killed; its record is put aside."""
    for folder in sorted((out / UNDER_WAY).glob("[0-9]*")):
        seed = int(folder.name)
        if seed in committed:  # killed between commit and the removal of its record
            shutil.rmtree(folder)
            continue
        steps = len(list((folder / "record" / STEPS).glob("*.npz")))
        kept = _kept(folder, out)
        say(f"episode {seed} was cut short after {steps} control steps and does not count: the program was killed\n  record   {kept}")


def _recorded_episode(stage: ArmStage, bench: Connected, world: ArmWorld, events: Events, out: Path, seed: int, say: Say) -> Episode:
    """An episode, and its record beside, as `run` keeps one. Where it is cut short, the arm comes to rest, and it is said."""
    run, folder = stage.run, _folder(out, seed)
    about = {
        "task": BLIND, "seed": seed, "goal": f"{BLIND}{' on a twin' if run.twin else ''}", "config": dump(run),
        "moves": dump(bench.arm.limits), "action_spec": bench.arm.action_spec.to_json(), "loop": dump(run.loop), "policy": _PLAYED_BY,
    }  # fmt: skip
    with RunWriter(folder / "record", about, GoalRecord({}, np.zeros(0, np.float32), None, None)) as writer:
        events.record_by(writer.on_event)
        world.recorder = writer
        try:
            episode = scripted_episode(world, seed, _HeldWhenBlind(stage.play.script))
            world.close()
            _require_in_time(episode, world.action_spec.control_dt, stage.play.most_late)
            return episode
        except BaseException as error:
            try:
                world.close()  # before anything is said
            finally:
                steps, reasons = writer.num_steps, tuple(dict.fromkeys((why(error), *_reasons(bench))))
                writer.interrupt(reasons)
                kept = _kept(folder, out)
                with suppress(OSError):  # the terminal may be what is gone
                    said = "; ".join(reasons)
                    say(f"episode {seed} was cut short after {steps} control steps and does not count: {said}\n  record   {kept}")
            raise
        finally:
            events.record = world.recorder = None


def _require_in_time(episode: Episode, control_dt: float, most_late: float) -> None:
    """Raises `LateError` where more than `most_late` of the control steps took half as long again as they should."""
    took = np.diff(episode.times)
    if (late := float((took > 1.5 * control_dt).mean())) > most_late:
        raise LateError(
            f"{100 * late:.0f} % of the control steps took longer than {1.5 * control_dt:g} s (the median {np.median(took):.2f} s), "
            f"allowed are {100 * most_late:g} %: cameras or computer are too slow; close other programs, or use fewer or smaller pictures"
        )


def _cool(stage: ArmStage, bench: Connected, say: Say) -> None:
    """Returns when no motor is too hot. Where one is, the arm goes to its start pose and waits."""
    play, names, clock = stage.play, bench.joints.action_spec.names, bench.clock
    hot = heat(bench.arm.state(), names, play.max_temperature)
    if not hot:
        return
    say(f"{hot}; allowed are {play.max_temperature:g} °C. The arm rests at its start pose until all have {play.cooled:g} °C")
    began, start = clock.now(), stage.run.start
    go_to_start(bench.joints, replace(start, kind="home"), np.asarray(start.joints or bench.world.scene.arm.home), clock)
    while heat(bench.arm.state(), names, play.cooled):
        clock.sleep_until(clock.now() + _LOOK)
    say(f"cooled down after {clock.now() - began:.0f} s; going on")


def _reasons(bench: Connected) -> tuple[str, ...]:
    """Why the guard keeps the arm stopped; empty where it would go on."""
    return bench.joints.reasons if isinstance(bench.joints, GuardProcess) else ()


def _folder(out: Path, seed: int) -> Path:
    return out / UNDER_WAY / f"{seed:06d}"


def _kept(folder: Path, out: Path) -> Path:
    """The record of an episode that was cut short, put aside."""
    beside = out / CUT_SHORT
    beside.mkdir(exist_ok=True)
    free = next(path for number in count() if not (path := beside / f"{folder.name}-{number}").exists())
    return folder.rename(free) / "record"
