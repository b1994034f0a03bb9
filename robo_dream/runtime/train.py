"""From datasets to a checkpoint that plans: what a training reads, what it will cost here, its stages, and what it leaves."""

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from robo_dream.config import dump, to_yaml, typed_again
from robo_dream.data.streamed import GIB
from robo_dream.errors import CheckpointError, ConfigError
from robo_dream.files import clear_leftovers, replacing
from robo_dream.models import checkpoint
from robo_dream.models.checkpoint import CheckpointInfo, GoalSeen, Regime
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.model import device_named
from robo_dream.runtime.planner import PlanningChanges, PlanningConfig, planning_keys, require_known_tasks, settings_json
from robo_dream.runtime.strips import STRIPS, draw_strips
from robo_dream.runtime.training_data import Progress, TrainingData, labels_in_words, looked_at, open_recording, open_training_data
from robo_dream.runtime.training_time import ADDED, added_steps, estimated, in_words, training_seconds
from robo_dream.schema import configuration
from robo_dream.training import dream, futures, labeller, memory, moves, redrawn, representation, video, words
from robo_dream.training.config import TrainingConfig
from robo_dream.training.priority import read_chances
from robo_dream.training.processes import ALONE, Processes, require_shares
from robo_dream.training.recorded import CYCLES

_OF_RECORDINGS = {"labeller": "actions", "video": "how video goes on", "words": "goals in words"}  # need no label, and what they teach
_THEN = {
    "labeller": "`robo-dream label VIDEO --checkpoint {0} --out COPY` tells the actions of video.",
    "video": "planning.planner.kind=video plans with it.",
    "words": "`robo-dream plan checkpoint={0} task=... goal.text='...'` plans towards what is asked for.",
}
Bars = Callable[[str, Mapping[int, str], str], AbstractContextManager[Progress]]
"""Makes a bar for a name, names by their total, and a unit."""


@configuration
class TrainConfig:
    """What is learned from, where results go, and how it is trained."""

    out: Path = Path("runs/train/jaco_recorded")
    datasets: tuple[Path, ...] = (Path("datasets/jaco"),)
    demonstrations: tuple[Path, ...] = ()  # datasets, also without pictures, that the policy imitates; none: `datasets`
    redrawn: tuple[Path, ...] = ()  # with stage=redrawn: the same episodes in other looks (`redrawn` of `robo-dream collect`)
    cache: Path = Path("datasets/cache")  # decoded frames; rebuilt when the data has changed
    cache_gib: Annotated[float, Field(gt=0)] | None = None  # of pictures in it at most: more are decoded again when they are looked at
    # from local_goals on: added to `init`
    stage: Literal[
        "all", "representation", "dream", "local_goals", "moves", "memory", "futures", "redrawn", "labeller", "video", "words"
    ] = "all"  # fmt: skip
    init: Path | None = None  # to begin from, where weights fit; stage=dream keeps its encoder (else the one in `out`)
    release: Path | None = None  # where a copy of the finished checkpoint goes
    strips: Annotated[int, Field(ge=0, le=10_000)] = 10  # held-out windows that are drawn
    workers: Annotated[int, Field(ge=1, le=1_024)] = 2  # threads that decode pictures
    resume: bool = True
    training: TrainingConfig = field(default_factory=TrainingConfig)
    planning: PlanningConfig = field(default_factory=PlanningConfig)  # what the checkpoint carries to be planned with
    by_task: Mapping[str, PlanningChanges] = field(default_factory=dict)  # and what is changed of it for these tasks
    goal: GoalSeen = "picture_and_arm"  # what the model will be shown of a goal; a picture alone needs training.model.picture_goals
    chances: Path | None = None  # with stage=dream: an .npy with a number for each frame, how likely a window of the dynamics begins there
    regime: Regime = "recorded"  # nothing is learned from but pictures, joints and actions; privileged: poses and names of scripts too

    def __post_init__(self) -> None:
        if not self.datasets:
            raise ConfigError("datasets is empty; name at least one folder that `robo-dream collect` wrote")
        if self.demonstrations and self.training.model.policy_input == "latents":
            raise ConfigError(
                f"demonstrations are given, of which the policy sees poses, but training.model.policy_input is "
                f"{self.training.model.policy_input}; set it to poses, or name them in datasets"
            )
        is_of_pictures = self.regime == "recorded" and tuple(self.demonstrations) == tuple(self.datasets)
        if self.demonstrations and self.training.model.policy_input == "poses_and_latents" and not is_of_pictures:
            raise ConfigError(
                f"training.model.policy_input is poses_and_latents, and latents are of pictures, which demonstrations do not show: "
                f"name none, or with regime=recorded the same folders as datasets, {[str(folder) for folder in self.datasets]}"
            )
        if self.training.policy.perception_noise > 0 and not self.demonstrations:
            raise ConfigError(
                f"training.policy.perception_noise is {self.training.policy.perception_noise}, and no demonstrations are given: "
                f"what is imitated in datasets is seen as pictures show it anyway; set it to 0, or name demonstrations"
            )
        self._require_stage()
        if self.goal == "picture" and not self.training.model.picture_goals:
            raise ConfigError("goal is picture, but training.model.picture_goals is false: set it to true, or goal to picture_and_arm")
        if self.regime == "privileged" and self.training.grasps is not None:
            raise ConfigError(
                "training.grasps tells poses from joints, but regime is privileged, which reads true ones; set regime to recorded"
            )
        if self.regime == "recorded" and (told := _told(self.training, bool(self.demonstrations))):
            raise ConfigError(f"regime is recorded, but {told}; set it otherwise, or regime to privileged")
        _ = self.settings_json  # changes that cannot be made are told now, not after the training

    def _require_stage(self) -> None:
        """Raises `ConfigError` where what a later stage is added to, or looks at, is not given, or is given to another."""
        model = self.training.model
        for stage, name, size, usual in (("memory", "memory", model.memory, 128), ("futures", "outcomes", model.outcomes, 4)):
            if self.stage == stage and (self.init is None or not size):
                raise ConfigError(
                    f"stage is {stage} with init {self.init} and training.model.{name} {size}; name the finished checkpoint to add to, "
                    f"init=..., and how many, such as training.model.{name}={usual}"
                )
            if self.stage != stage and size:
                raise ConfigError(
                    f"training.model.{name} is {size} with stage {self.stage}; this is added to a finished checkpoint: train with 0, and "
                    f"then stage={stage} init=..."
                )
        if self.stage == "redrawn" and (self.init is None or self.training.redrawn is None or not self.redrawn):
            missing = "init" if self.init is None else "training.redrawn" if self.training.redrawn is None else "redrawn"
            raise ConfigError(
                f"stage is redrawn, in which the encoder of a finished checkpoint learns other looks, and {missing} is not given; name "
                "init=CHECKPOINT, redrawn='[FOLDER]' with the episodes of datasets in other looks, and 'training.redrawn={}'"
            )
        if self.chances is not None and self.stage != "dream":
            raise ConfigError(f"chances is given with stage {self.stage}, which does not draw by them; set stage to dream, or leave it out")
        if self.redrawn and self.stage != "redrawn":
            raise ConfigError(f"redrawn is given with stage {self.stage}, which does not look at it; set stage to redrawn, or leave it out")
        if self.stage in _OF_RECORDINGS and (self.init is None or getattr(self.training, self.stage) is None):
            missing = "init" if self.init is None else f"training.{self.stage}"
            raise ConfigError(
                f"stage is {self.stage}, which teaches a finished checkpoint to tell {_OF_RECORDINGS[self.stage]}, and {missing} is null; "
                f"give init=CHECKPOINT 'training.{self.stage}={{}}'"
            )
        if self.stage in ADDED and (self.init is None or getattr(self.training, self.stage) is None):
            missing = "init" if self.init is None else f"training.{self.stage}"
            raise ConfigError(
                f"stage is {self.stage}, which adds them to a finished checkpoint, and {missing} is null; give init=CHECKPOINT "
                f"'training.{self.stage}={{}}'"
            )

    @property
    def most(self) -> int | None:
        """Bytes of decoded pictures in a cache."""
        return None if self.cache_gib is None else int(self.cache_gib * GIB)

    @property
    def settings_json(self) -> dict[str, Any]:
        """The planning settings that the checkpoint will carry."""
        own = {task: typed_again(changes.of(self.planning), changes.typed, planning_keys(task)) for task, changes in self.by_task.items()}
        return settings_json(self.planning, own)


def train(config: TrainConfig, say: Callable[[str], None], bars: Bars, processes: Processes = ALONE) -> Path:
    """Trains as `config` says and gives the file that it leaves: the checkpoint, or the representation where only that is asked for.

    Goes on where a training in the same folder was interrupted. `say` is told what happens, for people. Of `processes` that share the
    training, this is one; all see the same folders.
    """
    device_named(config.training.device, "training.device")
    require_shares(processes, config.stage, config.training)
    if config.init is not None:
        info = checkpoint.read_info(config.init)  # a checkpoint at all?
        if config.stage in (*ADDED, *_OF_RECORDINGS, "redrawn"):
            config = _of_finished(config, info)
    if config.stage == "redrawn":
        return _train_redrawn(config, say, bars)
    if config.stage in _OF_RECORDINGS:
        return _train_on_recordings(config, say, bars)
    with bars("frames into the cache", {}, "episode") as bar, processes.in_turn():
        data = open_training_data(
            config.datasets, config.demonstrations, config.cache, config.training, config.workers, bar, config.regime, config.most
        )
    say(data.described())
    if config.stage in ("memory", "futures"):
        return _with_part(config, data, say, bars)
    _require_tasks_of(_world_of(data.recipes), config.by_task)
    config.out.mkdir(parents=True, exist_ok=True)
    with bars("looking", {}, "step") as bar, processes.in_turn():
        seen = looked_at(data, config.training, config.out, bar)
    if seen is not data:
        say(labels_in_words(data.play, seen.play))
    data = seen
    if processes.is_first:
        for folder in {config.out, config.out / STRIPS, (config.release or config.out / dream.MODEL_FILE).parent}:
            clear_leftovers(folder)
        (config.out / "config.yaml").write_text(to_yaml(config))
    if config.stage in ADDED:
        return _with_more(config, data, say, bars, processes)
    is_begun = (config.out / f"{representation.STAGE}.state.safetensors").exists()
    if config.stage != "dream" and not is_begun and processes.count == 1:  # what a step takes several, one does not know
        say(in_words(estimated(data.play, config.training)))

    if config.stage != "dream":
        with bars("representation", {}, "step") as bar:
            representation.train_representation(
                data.play, config.training, config.out, init=config.init, progress=bar, resume=config.resume, processes=processes
            )
        if config.stage == "representation":
            return config.out / representation.MODEL_FILE
    return _dreaming(config, data, say, bars, processes)


def _dreaming(config: TrainConfig, data: TrainingData, say: Callable[[str], None], bars: Bars, processes: Processes) -> Path:
    """The checkpoint, on the representation that is there."""
    training, steps, written = config.training, config.training.dream, config.out / dream.MODEL_FILE
    with processes.in_turn():
        _begin_dream(config, config.out / representation.MODEL_FILE, config.out / f"{dream.STAGE}.state.safetensors")
        written.with_suffix(".json").unlink(missing_ok=True)  # of a training before: it describes another file
    names = {steps.steps: "dream", training.policy.steps: "policy", steps.decoder_steps: "decoder", **added_steps(training)}
    with bars("frames into latents", names, "step") as bar:
        model = dream.train_dream(
            data.play, training, config.out, demonstrations=data.demonstrations, progress=bar, resume=config.resume, processes=processes,
            chances=None if config.chances is None else read_chances(config.chances, data.play),
        )  # fmt: skip

    released, seconds = config.release or written, training_seconds(config.out / "metrics.jsonl")
    if not processes.is_first:
        return released  # the first one is left to write it
    settings = checkpoint.Settings(config.settings_json, _world_of(data.recipes), config.goal, config.regime)
    metrics = release(model, written, released, _recipe(config, data.recipes, seconds), settings)
    sheet = draw_strips(model, data.play, config.out / STRIPS, config.strips, training.seed)
    for line in figures(metrics):
        say(line)
    say(f"Trained in {seconds / 60:.1f} minutes.")
    if sheet is not None:
        say(f"Imagined against real: {sheet}")
    return released


def _of_finished(config: TrainConfig, info: CheckpointInfo) -> TrainConfig:
    """`config` for adding to the finished checkpoint of `info`, whose model it then names. Raises `ConfigError` for another regime."""
    if info.settings.regime not in (None, config.regime):
        raise ConfigError(f"regime is {config.regime}, and {config.init} learned in the {info.settings.regime} one; set regime to that")
    size = info.spec.config
    if config.stage in _OF_RECORDINGS:  # memory and futures stay as they are in the checkpoint: here they would be asked for
        size = replace(size, memory=0, outcomes=0)
    return replace(config, training=replace(config.training, model=size))


def _with_more(config: TrainConfig, data: TrainingData, say: Callable[[str], None], bars: Bars, processes: Processes) -> Path:
    """The file with the checkpoint `config.init`, to which local goals or moves were added; its settings are as they were."""
    assert config.init is not None
    written, training = config.out / dream.MODEL_FILE, config.training
    (name, heeded), is_of_latents = ADDED[config.stage], config.stage == "local_goals"
    with bars("frames into latents" if is_of_latents else name, added_steps(training), "step") as bar:
        if is_of_latents:
            model = dream.add_local_goals(
                data.play,
                training,
                config.out,
                config.init,
                demonstrations=data.demonstrations,
                progress=bar,
                resume=config.resume,
                processes=processes,
            )
        else:
            model = moves.add_moves(data.play, training, config.out, config.init, progress=bar, resume=config.resume, processes=processes)
    released, info = config.release or written, checkpoint.read_info(written)
    if not processes.is_first:
        return released
    seconds = training_seconds(config.out / "metrics.jsonl")
    release(model, written, released, {**info.recipe, config.stage: _recipe(config, data.recipes, seconds)}, info.settings)
    say(f"Added {name} in {seconds / 60:.1f} minutes. A plan heeds them where {heeded} is given.")
    return released


def _begun(config: TrainConfig, name: str) -> Path:
    """Where a later stage leaves its checkpoint; what a training before left half-written there is gone."""
    written = config.out / name
    config.out.mkdir(parents=True, exist_ok=True)
    for folder in {config.out, (config.release or written).parent}:
        clear_leftovers(folder)
    (config.out / "config.yaml").write_text(to_yaml(config))
    written.with_suffix(".json").unlink(missing_ok=True)  # of a training before: it describes another file
    return written


def _with_part(config: TrainConfig, data: TrainingData, say: Callable[[str], None], bars: Bars) -> Path:
    """The checkpoint `init` with a memory, or with several futures. How it is planned with, its world and its goals stay as they are."""
    assert config.init is not None
    about, training, written = checkpoint.read_info(config.init), config.training, _begun(config, dream.MODEL_FILE)
    is_memory = config.stage == "memory"
    learn, steps = (memory.train_memory, training.memory) if is_memory else (futures.train_futures, training.futures)
    with bars("frames into latents", {steps.steps: config.stage}, "step") as bar:
        model = learn(data.play, training, config.out, config.init, progress=bar, resume=config.resume)
    released, seconds = config.release or written, training_seconds(config.out / "metrics.jsonl")
    recipe = {**_recipe(config, data.recipes, seconds), "init": dict(about.recipe)}
    metrics = release(model, written, released, recipe, about.settings)
    if config.stage in metrics:
        say((memory if is_memory else futures).in_words(metrics[config.stage]))
    say(f"Trained in {seconds / 60:.1f} minutes.")
    return released


def _train_redrawn(config: TrainConfig, say: Callable[[str], None], bars: Bars) -> Path:
    """The checkpoint `init` with an encoder that knows the looks of `redrawn`; nothing else of it changes."""
    training, stage = config.training, config.training.redrawn
    assert config.init is not None and stage is not None
    about = checkpoint.read_info(config.init)
    with bars("frames into the cache", {}, "episode") as bar:
        usual = open_recording(config.datasets, config.cache, training, config.workers, bar, most=config.most)
    with bars("redrawn frames into the cache", {}, "episode") as bar:
        seen = open_recording(config.redrawn, config.cache / "redrawn", training, config.workers, bar, most=config.most)
    say(f"{usual.described()}\nRedrawn: {seen.described()}")
    written = _begun(config, redrawn.MODEL_FILE)
    with bars("frames into latents", {stage.steps: "redrawn"}, "step") as bar:
        model = redrawn.train_redrawn(usual.play, seen.play, training, config.out, config.init, progress=bar, resume=config.resume)
    released, seconds = config.release or written, training_seconds(config.out / "metrics.jsonl")
    added = {**_recipe(config, usual.recipes, seconds), "redrawn_data": seen.recipes["data"]}
    settings = replace(about.settings, perception=None)  # what is usual to see was measured with the encoder of before
    metrics = release(model, written, released, {**about.recipe, "redrawn": added}, settings)
    if "redrawn" in metrics:
        before, after, usual = (metrics["redrawn"][name] for name in ("before", "after", "usual"))
        say(
            f"Held out: in other looks objects are read {after['object_median_mm']:.1f} mm from where usual pictures show them (median; "
            f"before: {before['object_median_mm']:.1f} mm), and {after['object_far_percent']:.0f} % over 2 cm from there "
            f"(before: {before['object_far_percent']:.0f} %); in the usual ones {usual['object_median_mm']:.1f} mm."
        )
    say(f"Trained in {seconds / 60:.1f} minutes.")
    return released


def _train_on_recordings(config: TrainConfig, say: Callable[[str], None], bars: Bars) -> Path:
    """The checkpoint `init` that tells actions of video, how video goes on, or goals in words, too; nothing else of it changes.

    Pictures, joints and actions are all that is read.
    """
    training, name = config.training, config.stage
    stage, taught = getattr(training, name), {"labeller": labeller, "video": video, "words": words}[name]
    assert config.init is not None and stage is not None
    with bars("frames into the cache", {}, "episode") as bar:
        data = open_recording(config.datasets, config.cache, training, config.workers, bar, name == "video", config.most)
    say(data.described())
    written = _begun(config, labeller.MODEL_FILE)
    given = (data.play, data.tasks) if name == "words" else (data.play,)
    with bars("frames into latents", {stage.steps: name}, "step") as bar:
        model = getattr(taught, f"train_{name}")(*given, training, config.out, config.init, progress=bar, resume=config.resume)
    released, info, seconds = config.release or written, checkpoint.read_info(written), training_seconds(config.out / "metrics.jsonl")
    metrics = release(model, written, released, {**info.recipe, name: _recipe(config, data.recipes, seconds)}, info.settings)
    if name in metrics:
        say(taught.in_words(metrics[name]))
    say(f"Trained in {seconds / 60:.1f} minutes. {_THEN[name].format(released)}")
    return released


def _require_tasks_of(world: Mapping[str, Any], by_task: Mapping[str, PlanningChanges]) -> None:
    """Raises `ConfigError` for a task that the data's `world` lacks; of a bench nobody knows them, nor where nothing can be simulated."""
    if not world or not by_task:
        return
    try:
        from robo_dream.runtime.environment import tasks_in, world_in
    except ImportError:  # a machine that only trains may have no graphics
        return
    require_known_tasks(by_task, tasks_in(world_in(world, "the data")))


def _told(training: TrainingConfig, has_demonstrations: bool) -> str:
    """What of `training` reads more than pictures, joints and actions; empty where nothing does.

    Losses of poses do not: where no object's is told, they are the tool's, which joints tell.
    """
    found = [f"training.policy.skills chooses among scripts: of {list(CYCLES)} joints tell"] * bool(
        set(training.policy.skills) - set(CYCLES)
    )
    if training.grasps is None:
        found += [f"training.model.policy_input is {training.model.policy_input}, and training.grasps is null"] * (
            training.model.policy_input != "latents"
        )
        found += ["demonstrations are imitated by their poses, and training.grasps is null"] * has_demonstrations
        found += [f"training.policy.skills is {list(training.policy.skills)}, and training.grasps is null"] * bool(training.policy.skills)
    return "; ".join(found)


def _world_of(recipes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of the world that the data came from; empty where they do not say."""
    recipe = recipes["data"]
    recipe = recipe["parts"][0] if "parts" in recipe else recipe
    if "world" in recipe:
        return recipe["world"]
    return {"kind": "tabletop", **recipe["scene"]} if "scene" in recipe else {}


def release(
    model: LatentVideoModel, written: Path, released: Path, recipe: Mapping[str, Any], settings: checkpoint.Settings
) -> Mapping[str, Any]:
    """Writes the finished checkpoint `written` again with its whole `recipe` and `settings`, at both paths; gives its held-out metrics.

    Beside each lies a JSON file of the same name with all this and its hash, for people.
    """
    info = checkpoint.read_info(written)
    for path in dict.fromkeys((written, released)):
        write_described(model, path, info, recipe, settings)
    return info.metrics


def write_described(
    model: LatentVideoModel, path: Path, info: checkpoint.CheckpointInfo, recipe: Mapping[str, Any], settings: checkpoint.Settings
) -> Path:
    """Writes the checkpoint of `info` to `path`, and beside it the JSON file that describes it."""
    checkpoint.save(model, path, recipe, info.dataset_id, info.metrics, settings=settings)
    about = {"recipe": recipe, "metrics": info.metrics, "dataset": info.dataset_id, "sha256": checkpoint.sha256(path)}
    about |= settings.to_json()
    path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    return path


def figures(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The held-out metrics that matter, in sentences."""
    if "open_loop" in metrics:
        loop = metrics["open_loop"]
        for step in (1, 5, 10):
            if step <= len(loop["copy_over_imagined"]):
                ratio = loop["copy_over_imagined"][step - 1]
                yield f"Held out: {step:2d} steps ahead, imagined pictures err {ratio:.2f} times less than copying the last frame."
        yield f"Held out: disagreement against error, Spearman {loop['spearman']:.2f}."
    if "actions" in metrics:
        parts = ", ".join(f"off {name} {part:.0%}" for name, part in metrics["actions"].items())
        yield f"Held out: variance of actions that is not read {parts}."
    for name, errors in metrics.get("pose", {}).items():
        yield f"Held out: median pose errors of the {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in errors.items()) + "."


def _begin_dream(config: TrainConfig, representation: Path, state: Path) -> None:
    """Puts a dream's `init` where it begins; raises `CheckpointError` when a dream of another one is under way there."""
    if config.init is not None and config.stage == "dream":
        if representation.exists() and checkpoint.sha256(representation) == checkpoint.sha256(config.init):
            return
        if state.exists():
            raise CheckpointError(
                f"{config.out} holds a dream begun from another representation than {config.init}; give another folder with out=..."
            )
        with replacing(representation) as beside:
            shutil.copyfile(config.init, beside)
    elif not representation.exists():
        raise CheckpointError(f"no representation at {representation}; run stage=representation first, or name one with init=...")


def _recipe(config: TrainConfig, data: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """How to make this checkpoint again: commands, configuration, data, and what it took."""
    return {
        "commands": [*("lerobot-record" if "lerobot" in made else "robo-dream collect" for made in data.values()), "robo-dream train"],
        **data,
        **({} if config.init is None else {"init_sha256": checkpoint.sha256(config.init)}),
        "train": dump(config),
        "training_minutes": round(seconds / 60, 1),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "device": config.training.device},
        "versions": {name: metadata.version(name) for name in ("robo-dream", "torch", "numpy")},
        "date": datetime.now(UTC).date().isoformat(),
    }
