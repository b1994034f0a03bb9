"""Kills `robo-dream train` with SIGKILL at random moments of each stage: `python benchmarks/train_kill.py`. Writes training_kills.json.

    python benchmarks/train_kill.py --kills 20            # in each of the seven stages, on a made-up dataset: some minutes

A training that was killed goes on where it was. After the last kill it runs to its end, and its checkpoints must be those of a training
that nothing disturbed, to the bit, with the same held-out metrics; no file of a killed process may be left beside them.
"""

import argparse
import json
import multiprocessing as mp
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from results_file import write_figures
from safetensors import safe_open

from robo_dream.config import load
from robo_dream.data.episode import Episode
from robo_dream.data.spec import CameraSpec, DatasetSpec
from robo_dream.data.writer import DatasetWriter
from robo_dream.embodiment import ActionSpec

STAGES = ("cache", "representation", "latents", "dream", "policy", "decoder", "release")
CHECKPOINTS = ("representation.safetensors", "model.safetensors")
_PATIENCE = 600.0  # s without a word of a training, after which something is wrong
_SIDE, _EPISODES, _LENGTH = 32, 6, 30


def write_data(root: Path) -> Path:
    """Episodes of noise: what is learned of them is nothing, the way there is the same."""
    high = np.array([0.025, 0.025, 0.025, 0.08, 0.2], np.float32)
    spec = DatasetSpec(
        ActionSpec("tool_move", ("x", "y", "z", "yaw", "gripper"), ("m", "m", "m", "rad", "closure"), -high, high, 0.1),
        (CameraSpec("front", _SIDE, _SIDE),), skills=("none", "push"), recipe={"behavior": "random"},
    )  # fmt: skip
    with DatasetWriter(root, spec) as writer:
        for seed in range(_EPISODES):
            rng, frames = np.random.default_rng(seed), _LENGTH + 1
            pose = rng.normal(size=(frames, 7)).astype(np.float32)
            writer.append(Episode(
                images={"front": rng.integers(0, 256, (frames, _SIDE, _SIDE, 3), np.uint8)},
                proprio=rng.normal(size=(frames, len(spec.proprio_names))).astype(np.float32),
                actions=rng.uniform(-0.02, 0.02, (_LENGTH, 5)).astype(np.float32), object_pose=pose, sim_state=np.zeros((frames, 0)),
                times=0.1 * np.arange(frames), skill=np.zeros(frames, np.int64), task="push", seed=seed, behavior="random", info={},
            ))  # fmt: skip
    return root


def overrides(data: Path, out: Path, steps: int) -> list[str]:
    """A training of `steps` in each stage (a few more in the later ones, by which they are told apart), saved after each of them."""
    return [
        f"out={out}", f"datasets=[{data}]", f"cache={out}/cache", "strips=1", "workers=1", "training.save_seconds=0.0001",
        f"training.model.image_size={_SIDE}", "training.model.latent_dim=16", "training.model.num_heads=2", "training.log_steps=5",
        f"training.representation.steps={steps}", "training.representation.batch_windows=2", "training.representation.unroll=1",
        f"training.dream.steps={steps + 1}", "training.dream.batch=8", "training.dream.unroll=2", f"training.policy.steps={steps + 2}",
        "training.policy.batch=8", f"training.dream.decoder_steps={steps + 3}", "training.dream.decoder_batch=2",
        "training.evaluation_windows=2", "training.grasps=null", "training.model.policy_input=latents",
    ]  # fmt: skip


@dataclass
class _Told:
    """Tells through a pipe which stage is at which step."""

    pipe: Connection
    last: Path  # what is there once the stages were done before
    names: Mapping[int, str] = field(default_factory=dict)
    name: str = ""

    @contextmanager
    def __call__(self, name: str, names: Mapping[int, str], unit: str) -> Iterator["_Told"]:
        short = {"frames into the cache": "cache", "frames into latents": "latents"}
        self.names, self.name = names, short.get(name, name)
        yield self

    def step(self, done: int, total: int) -> None:
        stage = self.names.get(total, self.name)
        self.pipe.send((stage, done))
        if (stage == "decoder" and done == total) or (stage == "latents" and self.last.is_file()):
            self.pipe.send(("release", 0))


def train_in_child(words: list[str], pipe: Connection) -> None:
    """A whole training, told step by step."""
    import torch

    from robo_dream.runtime.train import TrainConfig, train

    torch.set_num_threads(1)
    config = load(TrainConfig, None, words)
    told = _Told(pipe, config.out / CHECKPOINTS[-1])

    @contextmanager
    def bars(name: str, names: Mapping[int, str], unit: str) -> Iterator[object]:
        with told(name, names, unit):
            yield told.step

    train(config, lambda text: None, bars)  # type: ignore[arg-type]
    pipe.send(("done", 0))


def context() -> mp.context.ForkServerContext:
    """Where processes begin with everything imported."""
    made = mp.get_context("forkserver")
    made.set_forkserver_preload(["robo_dream.runtime.train"])
    return made


def run(words: list[str], stage: str = "done", draw: random.Random | None = None, longest: float = 0.2) -> bool:
    """Trains until `stage` is under way, and kills there at a random moment; False where it came to its end before.

    A release is struck within `longest` seconds of its begin.
    """
    made = context()
    mine, theirs = made.Pipe()
    process = made.Process(target=train_in_child, args=(words, theirs))
    process.start()
    theirs.close()
    more = 0 if draw is None or stage in ("latents", "release") else draw.randrange(3)
    try:
        while mine.poll(_PATIENCE):
            said, _ = mine.recv()
            if said == "done":
                return stage == "done"
            if said != stage:
                continue
            if more == 0 and draw is not None:
                time.sleep(draw.uniform(0, longest if stage == "release" else 0.1))
                is_over = mine.poll() and stage == "release" and mine.recv()[0] == "done"
                process.kill()
                return not is_over
            more -= 1
        raise TimeoutError(f"a training said nothing for {_PATIENCE:.0f} s")
    except EOFError:
        raise RuntimeError(f"a training ended by itself with code {process.exitcode}") from None
    finally:
        if stage != "done":
            process.kill()
        process.join()


def facts(out: Path) -> dict[str, object]:
    """What must be the same to the bit: weights and held-out metrics."""
    found: dict[str, object] = {}
    for name in CHECKPOINTS:
        with safe_open(out / name, framework="np") as file:
            header = json.loads(file.metadata()["robo_dream"])
        found |= {f"{name} weights": header["weights_sha256"], f"{name} metrics": header["metrics"]}
    return found


def killed(folder: Path, kills: int, seed: int = 0, stages: tuple[str, ...] = STAGES, steps: int | None = None) -> dict[str, int]:
    """How many kills there were in each stage, whether the checkpoints are as those of a training without any, and what was left over."""
    data, draw, count = write_data(folder / "data"), random.Random(seed), Counter[str]()
    steps = 4 * kills + 8 if steps is None else steps
    undisturbed = overrides(data, folder / "undisturbed", steps)
    assert run(undisturbed)
    words = overrides(data, folder / "killed", steps)
    longest = 0.2  # s
    for stage in stages:
        for _ in range(5 * kills):  # some come to their end before they are struck
            if run(words, stage, draw, longest):
                count[stage] += 1
            elif stage == "release":  # over before: on this machine it takes less
                longest *= 0.5
            else:  # all is done, so this stage comes no more
                shutil.rmtree(folder / "killed")
            if count[stage] == kills:
                break
    assert run(words)
    same = facts(folder / "undisturbed") == facts(folder / "killed")
    left = [path for path in (folder / "killed").rglob("*") if ".tmp" in path.name]
    return {**{f"kills/{stage}": count[stage] for stage in stages}, "same_to_the_bit": int(same), "left_over_files": len(left)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="in each stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/training_kills.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = killed(Path(folder), args.kills, args.seed)
    write_figures(args.out, found)
    print(json.dumps(found))
    return 0 if found["same_to_the_bit"] and not found["left_over_files"] else 1


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(main())
