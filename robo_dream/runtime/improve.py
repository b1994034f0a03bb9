"""Rounds of acting, weighing and learning: what happened is added to the data, weighed by how wrong the model was, and trained on."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robo_dream.config import Changes, dump, load
from robo_dream.control.episode import LoopConfig
from robo_dream.data.cache import open_dataset
from robo_dream.data.layout import json_bytes
from robo_dream.embodiment import Observation
from robo_dream.errors import ConfigError
from robo_dream.evaluation.manifest import write_manifest
from robo_dream.files import replace_file
from robo_dream.foreign import parse_object, read_bytes
from robo_dream.models import checkpoint
from robo_dream.models.config import Precision
from robo_dream.recording.decision import Decision
from robo_dream.recording.events import SafetyEvent
from robo_dream.recording.record import RESULT, GoalRecord, read_run
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.attempt import carry_out, goal_of, prepare, simulated_devices
from robo_dream.runtime.environment import build_environment
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, attempts
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import build_planner
from robo_dream.runtime.train import Bars, TrainConfig, train
from robo_dream.runtime.training_data import open_training_data
from robo_dream.schema import Seed, configuration
from robo_dream.training.priority import PriorityConfig, weigh, window_errors, write_chances
from robo_dream.viewer.episodes import action_spec_of, dataset_spec, write_dataset
from sim.pairs import build_manifest, drawn_pair

FIGURES, ACTED, RECORDED, TRAINED, RECORDS, TUNING = "figures.json", "acted", "recorded", "train", "records", "tuning"
ASKED = "asked.json"  # what decides the rounds
FIRST_TUNING = 3_000_000  # of the tuning pairs' seeds: those of pairs that are reported begin at 1,000,000
CHANCES, VISITS = "chances.npy", "visits.npy"
METHOD = "planner"
Say = Callable[[str], None]


@configuration
class ImproveConfig:
    """What is learned how in each round, from what it begins, and when it is enough.

    `train` is a file of `robo-dream train`, `changes` what is changed of it; its datasets are what there is at first. Round 0 is `init`, or
    is trained as `train` says. Every later round acts out `episodes` attempts at goals of `tasks` in simulation, adds them, and trains on
    from the checkpoint of the round before (stage=dream). `runs` are folders of `robo-dream run`, which the first round adds. It ends after
    `rounds`, or when success on the tuning pairs has not risen for `patience` rounds.
    """

    out: Path = Path("runs/improve/jaco_push")
    train: Path = Path("configs/train/jaco_recorded.yaml")
    changes: Changes[TrainConfig] = field(default_factory=Changes)
    init: Path | None = None
    runs: tuple[Path, ...] = ()
    rounds: Annotated[int, Field(ge=1, le=1000)] = 5
    patience: Annotated[int, Field(ge=1, le=1000)] = 2
    episodes: Annotated[int, Field(ge=0, le=1_000_000)] = 50
    tasks: tuple[str, ...] = ("push",)
    manifests: Path | None = None  # the folder of tuning pairs; null: they are drawn once, in `out`/tuning
    num_pairs: Annotated[int, Field(ge=1, le=100_000)] = 50
    priority: PriorityConfig = field(default_factory=PriorityConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    precision: Precision = "float32"  # of matrix products while imagining
    workers: Annotated[int, Field(ge=1, le=1_024)] = 1  # processes that evaluate; they change no outcome
    seed: Seed = 0

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("tasks is empty; name at least one, such as tasks='[push]'")
        if not self.episodes and not self.runs:
            raise ConfigError("episodes is 0 and runs is empty, so no round would have anything new; give one of them")


@dataclass(frozen=True)
class Round:
    """A round's folder, and what came of it."""

    folder: Path
    figures: Mapping[str, Any]

    @property
    def checkpoint(self) -> Path:
        return Path(self.figures["checkpoint"])

    @property
    def success(self) -> float:
        """Percent, the mean of all tasks."""
        return float(np.mean(list(self.figures["success"].values())))


def improve(config: ImproveConfig, say: Say, bars: Bars) -> list[Round]:
    """All rounds, the first one round 0. Goes on where it was interrupted; a round that is done is not done again.

    Raises `ConfigError` where `config.out` holds rounds of another configuration.
    """
    base = config.changes.of(load(TrainConfig, config.train))
    _require_same(config, base)
    rounds: list[Round] = []
    for number in range(config.rounds + 1):
        folder = config.out / f"round-{number:02d}"
        if not (folder / FIGURES).exists():
            figures = _start(config, base, folder, say, bars) if number == 0 else _next(config, base, folder, number, rounds, say, bars)
            replace_file(folder / FIGURES, json_bytes(figures))
        rounds.append(Round(folder, json.loads((folder / FIGURES).read_text())))
        say(in_words(rounds[-1]))
        if has_stopped(rounds, config.patience):
            say(f"success has not risen for {config.patience} rounds; the best is {best(rounds).checkpoint}")
            break
    return rounds


def _require_same(config: ImproveConfig, base: TrainConfig) -> None:
    """Keeps what decides the rounds beside them, and raises `ConfigError` where they were made by something else."""
    asked = json.loads(json_bytes({**dump(config), "train": dump(base)}))
    for name in ("out", "changes", "rounds", "patience", "workers"):  # change no round; `changes` are in `train`
        del asked[name]
    path = config.out / ASKED
    if not path.exists():
        replace_file(path, json_bytes(asked))
    known = parse_object(read_bytes(path), str(path))
    if odd := sorted(name for name in asked if known.get(name) != asked[name]):
        raise ConfigError(f"rounds in {config.out} were made with another {', '.join(odd)}; continue with the same, or give another out")


def best(rounds: Sequence[Round]) -> Round:
    """The first of those with the highest success."""
    return max(rounds, key=lambda one: one.success)


def has_stopped(rounds: Sequence[Round], patience: int) -> bool:
    return len(rounds) - 1 - list(rounds).index(best(rounds)) >= patience


def in_words(one: Round) -> str:
    told = ", ".join(f"{task} {percent:.1f} %" for task, percent in one.figures["success"].items())
    added = f", {one.figures['environment_steps']} control steps added" if one.figures["environment_steps"] else ""
    return f"{one.folder.name}: {told}{added}; {one.checkpoint}"


def _start(config: ImproveConfig, base: TrainConfig, folder: Path, say: Say, bars: Bars) -> dict[str, Any]:
    path = config.init or train(replace(base, out=folder / TRAINED, release=None), say, bars)
    return _figures(config, 0, path, bars) | {"environment_steps": 0, "episodes": 0}


def _next(
    config: ImproveConfig, base: TrainConfig, folder: Path, number: int, rounds: Sequence[Round], say: Say, bars: Bars
) -> dict[str, Any]:
    before = rounds[-1].checkpoint
    if config.episodes:
        _act(config, before, folder, number, bars)
    if config.runs and number == 1 and not (folder / RECORDED).exists():
        _write_runs([record for root in config.runs for record in sorted(root.glob("**/record"))], folder / RECORDED)
    added = [one / name for one in (*(done.folder for done in rounds), folder) for name in (RECORDED, ACTED) if (one / name).exists()]
    datasets = (*base.datasets, *added)
    same = tuple(base.demonstrations) == tuple(base.datasets)
    shown = replace(base, datasets=datasets, demonstrations=datasets if same else base.demonstrations, cache=config.out / "cache")
    figures = _weigh(config, shown, before, folder, rounds, bars)
    chances = None if config.priority.kind == "uniform" else folder / CHANCES
    path = train(replace(shown, out=folder / TRAINED, stage="dream", init=before, chances=chances, release=None, strips=0), say, bars)
    return _figures(config, number, path, bars) | figures


def _act(config: ImproveConfig, path: Path, folder: Path, number: int, bars: Bars) -> None:
    """Acts out the round's episodes with the checkpoint in `path`, and keeps them as a dataset."""
    if (folder / ACTED).exists():
        return
    evaluation = Evaluation.of(_evaluation(config, path))
    model = load_checkpoint_model(path, "cpu", False, config.precision)
    with build_environment(evaluation.world) as environment, bars(f"round {number}: acting", {}, "episode") as bar:
        for episode in range(config.episodes):
            root, task = folder / RECORDS / f"{episode:05d}", config.tasks[episode % len(config.tasks)]
            if not (root / RESULT).exists():
                shutil.rmtree(root, ignore_errors=True)  # cut short by a kill: it is done again
                seed = int(np.random.SeedSequence((config.seed, number, episode)).generate_state(1)[0])
                pair = drawn_pair(environment, task, np.random.default_rng(seed), episode)
                prepared = prepare(environment, pair, config.loop)
                planning = evaluation.planning_of(METHOD, task)
                planner = build_planner(planning.planner, model, planning.cost, planning.proposals, futures=planning.futures)
                goal = goal_of(prepared, model, evaluation.shown)
                about = {
                    "task": task, "seed": seed, "goal": f"{task}, drawn", "action_spec": environment.action_spec.to_json(),
                    "checkpoint_sha256": checkpoint.sha256(path), "config": {"world": dump(evaluation.world)},
                }  # fmt: skip
                with RunWriter(root, about, GoalRecord({}, np.zeros(0, np.float32), None, None), queue_size=10_000) as writer:
                    kept = _StepsAlone(writer)
                    devices = simulated_devices(prepared, model, kept)
                    done = carry_out(prepared, devices, model, planner, goal, seed, with_truth=True, recorder=kept)
                    writer.finish(done.last, {"end": done.end.value, "moderate": prepared.attempt.is_reached})
            bar(episode + 1, config.episodes)
    _write_runs(sorted((folder / RECORDS).iterdir()), folder / ACTED)
    shutil.rmtree(folder / RECORDS)


@dataclass(frozen=True)
class _StepsAlone:
    """What is learned from: not what was imagined."""

    writer: RunWriter

    def on_event(self, event: SafetyEvent) -> None:
        self.writer.on_event(event)

    def on_decision(self, decision: Decision) -> None: ...

    def on_step(self, before: Observation, sent: np.ndarray, applied: np.ndarray) -> None:
        self.writer.on_step(before, sent, applied)


def _write_runs(roots: Sequence[Path], folder: Path) -> None:
    if not roots:
        raise ConfigError("runs name no recorded run; give folders that `robo-dream run` wrote")
    runs = [read_run(root) for root in roots]
    spec = action_spec_of(runs[0])
    if spec is None:
        raise ConfigError(f"{runs[0].root} does not say what its actions are; export it with `robo-dream replay --lerobot` and name that")
    write_dataset(folder, runs, dataset_spec(runs[0], spec))


def _weigh(config: ImproveConfig, shown: TrainConfig, before: Path, folder: Path, rounds: Sequence[Round], bars: Bars) -> dict[str, Any]:
    """How likely each window is drawn in this round, kept in `folder`, and in figures how wrong the model was on old and new data."""
    with bars("frames into the cache", {}, "episode") as bar:
        data = open_training_data(
            shown.datasets, shown.demonstrations, shown.cache, shown.training, shown.workers, bar, regime=shown.regime
        )
    steps = shown.training.dream
    model = checkpoint.load(before, shown.training.device)
    errors = window_errors(model, data.play, steps.unroll)
    visits = _visits(len(errors), rounds)
    weighed = weigh(errors, visits, config.priority)
    write_chances(folder / CHANCES, weighed.chances)
    write_chances(folder / VISITS, visits + steps.batch * steps.steps * weighed.chances)
    num_new, steps_new = _num_new(folder)
    old, new = errors[: len(errors) - num_new], errors[len(errors) - num_new :]
    return {
        "environment_steps": steps_new, "episodes": config.episodes,
        "error_old": float(np.nanmean(old)), "error_new": float(np.nanmean(new)) if np.isfinite(new).any() else None,
        "chance_new": float(weighed.chances[len(errors) - num_new :].sum()),
        "share_new": float(np.isfinite(new).sum() / np.isfinite(errors).sum()),
    }  # fmt: skip


def _visits(num_frames: int, rounds: Sequence[Round]) -> np.ndarray:
    """How often each window was drawn by the rounds until now, as is to be expected."""
    file, visits = rounds[-1].folder / VISITS, np.zeros(num_frames)
    if file.exists():
        known = np.load(file, allow_pickle=False)
        visits[: len(known)] = known  # what is added comes last
    return visits


def _num_new(folder: Path) -> tuple[int, int]:
    """Frames and control steps of the datasets that `folder` holds; they come last."""
    new = [open_dataset(folder / name) for name in (RECORDED, ACTED) if (folder / name).exists()]
    return sum(data.num_frames for data in new), sum(data.num_frames - data.num_episodes for data in new)


def _evaluation(config: ImproveConfig, path: Path) -> EvaluateConfig:
    return EvaluateConfig(
        checkpoint=path, manifests=config.manifests, tasks=config.tasks, methods=(METHOD,), num_pairs=config.num_pairs, seed=config.seed,
        workers=config.workers, precision=config.precision, loop=config.loop,
    )  # fmt: skip


def _tuned_on(config: ImproveConfig, path: Path, bars: Bars) -> ImproveConfig:
    """`config` with tuning pairs of the world of the checkpoint in `path`, drawn where no folder of them is named."""
    if config.manifests is not None:
        return config
    folder = config.out / TUNING
    missing = [task for task in config.tasks if not (folder / f"{task}.safetensors").exists()]
    if missing:
        with build_environment(Evaluation.of(_evaluation(config, path)).world) as environment:
            for task in missing:
                with bars(f"{task}: tuning pairs", {}, "pair") as bar:
                    drawn = build_manifest(environment, task, config.num_pairs, bar, FIRST_TUNING + config.seed)
                write_manifest(folder / f"{task}.safetensors", drawn)
    return replace(config, manifests=folder)


def _figures(config: ImproveConfig, number: int, path: Path, bars: Bars) -> dict[str, Any]:
    """Success on the tuning pairs."""
    asked = _evaluation(_tuned_on(config, path, bars), path)
    jobs = list(Evaluation.of(asked).jobs())
    found: dict[str, list[bool]] = {task: [] for task in config.tasks}
    with bars(f"round {number}: tuning pairs", {}, "pair") as bar:
        for done, result in enumerate(attempts(asked, jobs), 1):
            found[result.task].append(result.moderate)
            bar(done, len(jobs))
    success = {task: 100 * float(np.mean(reached)) for task, reached in found.items()}
    return {
        "round": number, "success": success, "pairs": config.num_pairs, "checkpoint": str(path),
        "checkpoint_sha256": checkpoint.sha256(path), "priority": config.priority.kind,
    }  # fmt: skip
