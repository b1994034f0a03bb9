"""`robo-dream improve` with a tiny model in a fast world: rounds, kills at any moment, and the same rounds to the bit."""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from robo_dream.config import load
from robo_dream.data.cache import open_dataset
from robo_dream.errors import ConfigError
from robo_dream.evaluation.manifest import read_manifest
from robo_dream.models import checkpoint
from robo_dream.runtime.collect import CollectConfig, collect, dataset_spec, seeds_of
from robo_dream.runtime.improve import ImproveConfig, Round, has_stopped, improve
from sim.pairs import FIRST_SEED

SMALL = "{image_size: 32, latent_dim: 32}"
CHANGES = (
    "changes.strips=0", f"changes.training.model={SMALL}", "changes.training.model.policy_input=latents",
    "changes.training.representation={steps: 2, batch_windows: 2, decoded_frames: 1, muon_lr: 0.02}",
    "changes.training.dream={steps: 3, batch: 8, unroll: 2, shortest_goal: 5, longest_goal: 15, decoder_steps: 0}",
    "changes.training.policy={steps: 2, batch: 8, longest_goal: 15}", "changes.training.log_steps=1",
    "changes.training.evaluation_windows=2", "changes.planning.planner={kind: best_of, horizon: 2, num_samples: 4}",
)  # fmt: skip


class KilledError(Exception):
    """As a kill, at a step that a bar counts."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With data/ of random play."""
    folder = tmp_path_factory.mktemp("improve")
    small = ("world.picture.size=32", "script.num_steps=20", "script.mix={random: 1.0}", "script.picture_every=5")
    made = load(
        CollectConfig, "configs/collect/crossing.yaml", [f"out={folder}/data", "num_episodes=6", "workers=1", "test_fraction=0.34", *small]
    )
    list(collect(made, dataset_spec(made), seeds_of(made)))
    return folder


def config(folder: Path, *more: str) -> ImproveConfig:
    own = [f"out={folder}/run", "train=configs/train/crossing.yaml", "tasks=[cross]"]
    data = [f"changes.datasets=[{folder}/data]", f"changes.cache={folder}/cache"]
    few = ["rounds=2", "patience=9", "episodes=2", "num_pairs=2"]
    return load(ImproveConfig, None, [*own, *data, *CHANGES, *few, *more])


def counting(bars_at: Callable[[str, int], None]):
    @contextmanager
    def bars(name: str, names: Mapping[int, str], unit: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, total: bars_at(name, done)

    return bars


def result(rounds: list[Round]) -> list[dict[str, object]]:
    """All that a round decides: figures, weights, what was done, and every number of the checkpoint."""
    kept = []
    for one in rounds:
        figures = {name: value for name, value in one.figures.items() if name != "checkpoint_sha256"}  # of minutes and dates, too
        numbers = {name: value.clone() for name, value in checkpoint.load(one.checkpoint, "cpu").state_dict().items()}
        acted = open_dataset(one.folder / "acted") if (one.folder / "acted").exists() else []
        chances = (one.folder / "chances.npy").read_bytes() if (one.folder / "chances.npy").exists() else b""
        kept.append({"figures": figures, "numbers": numbers, "actions": [episode.actions for episode in acted], "chances": chances})
    return kept


def test_two_rounds_that_are_killed_all_the_time_are_those_of_an_undisturbed_run_to_the_bit(folder: Path) -> None:
    undisturbed = result(improve(config(folder), lambda text: None, counting(lambda name, done: None)))
    drawn = read_manifest(folder / "run/tuning/cross.safetensors")
    assert len(drawn) == 2 and (drawn.episodes > FIRST_SEED + 1_000_000).all()  # far from the seeds of pairs that are reported
    shutil.rmtree(folder / "run")
    seen: set[tuple[str, int]] = set()

    def kill_once(name: str, done: int) -> None:
        if done in (1, 2) and (name, done) not in seen:
            seen.add((name, done))
            raise KilledError

    for tries in itertools.count():
        assert tries < 100
        try:
            rounds = improve(config(folder), lambda text: None, counting(kill_once))
            break
        except KilledError:
            continue
    assert {"round 1: acting", "round 2: acting", "round 1: tuning pairs", "frames into latents"} <= {name for name, _ in seen}
    for one, other in zip(undisturbed, result(rounds), strict=True):
        assert one["figures"] == other["figures"] and one["chances"] == other["chances"]
        assert all(np.array_equal(a, b) for a, b in zip(one["actions"], other["actions"], strict=True))  # type: ignore[arg-type]
        assert all(torch.equal(value, other["numbers"][name]) for name, value in one["numbers"].items())  # type: ignore[index,attr-defined]
    last = json.loads((rounds[2].folder / "figures.json").read_text())
    assert last["environment_steps"] > 0 and last["priority"] == "surprise" and set(last["success"]) == {"cross"}
    assert not (rounds[2].folder / "records").exists() and rounds[1].checkpoint.exists()


def test_rounds_of_another_configuration_are_not_taken_for_its_own(folder: Path) -> None:
    nobody = counting(lambda name, done: None)
    for more in (["priority.kind=uniform"], ["changes.training.dream.steps=4"]):
        with pytest.raises(ConfigError, match=f"rounds in {folder}/run were made with another (priority|train); continue with the same"):
            improve(config(folder, *more), lambda text: None, nobody)
    assert len(improve(config(folder, "workers=2", "patience=8"), lambda text: None, nobody)) == 3  # nothing is done again


def test_it_ends_when_success_has_not_risen() -> None:
    def rounds(*success: float) -> list[Round]:
        return [Round(Path(f"{number}"), {"success": {"push": percent}}) for number, percent in enumerate(success)]

    assert not has_stopped(rounds(10), 1) and has_stopped(rounds(10, 10), 1)
    assert not has_stopped(rounds(10, 20, 15), 2) and has_stopped(rounds(10, 20, 15, 20), 2)
