"""Whether what was felt of a thing helps to imagine it, and to push it where it is wanted.

    python benchmarks/changed_physics.py configs/checkpoints/jaco_recorded_s.safetensors runs/train/jaco_memory/model.safetensors \
        datasets/jaco_memory datasets/jaco_memory_pushes

Held-out episodes of the first dataset and all of the second, each with a mass and friction of its own, are followed look by look from the
moment at which the object begins to move. The judge compares where the object is imagined after 1 s of the recorded actions with where
it was. Without memory both imaginations begin from one frame. `heavy` are boxes of three times the usual mass or more, `slippery` those of
half the friction or less. `physics` is what there is to gain: how far off a simulator is that knows everything but mass and friction, and
expects the mean of what follows of those that the recipe draws. Pushes are tried in scenes of one mass and friction, with memory and
without on the same pairs.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported
os.environ.setdefault("LP_NUM_THREADS", "0")

import numpy as np
import torch
from delays import Fault, successes
from jaxtyping import Float
from results_file import write_figures
from tqdm import tqdm

from robo_dream.config import parse
from robo_dream.data.cache import FrameCache, build_cache, open_dataset
from robo_dream.evaluation.manifest import read_manifest, write_manifest
from robo_dream.imagination import Belief
from robo_dream.models.checkpoint import read_info
from robo_dream.models.dynamics import times_of
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.environment import build_environment, world_of
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import planning_for
from robo_dream.training.latents import encode_frames
from sim.pairs import build_manifest
from sim.tabletop.environment import Tabletop
from sim.tabletop.randomization import PhysicsRanges, Randomization
from sim.tabletop.scene import SceneConfig

OUT = Path("docs/results/changed_physics.json")
FELT, AHEAD = 4, 2  # action blocks: of moving it, and imagined
MOVES = 0.004  # m in a block
LIFTED = 0.015  # m: what is carried does not slide
DRAWN = 8  # masses and frictions, of which the simulator that does not know takes the mean
FIRST_SEED = 3_500_000  # frozen pairs begin at 1,000,000, those of delays.py at 3,000,000
PHYSICS = {"heavy_x3": (3.0, 1.0), "heavy_x10": (10.0, 1.0), "slippery_x0.3": (1.0, 0.3)}  # times the usual mass and friction


def moving(cache: FrameCache, numbers: np.ndarray, block: int) -> np.ndarray:
    """Frames of some episodes from which on the object slides in each of `FELT` blocks, whatever it does after them; none overlap."""
    found, length = [], (FELT + AHEAD) * block
    for number in numbers:
        begin, end = cache.episode_starts[number : number + 2]
        frame = begin
        while frame + length < end:
            places = cache.object_pose[frame : frame + length + 1 : block, :3]
            moves = np.linalg.norm(np.diff(places[: FELT + 1], axis=0), axis=-1)
            if (moves > MOVES).all() and np.abs(places[:, 2] - places[0, 2]).max() < LIFTED:
                found.append(int(frame))
                frame += length
            frame += 1
    return np.array(found, np.int64)


@torch.no_grad()
def felt(model: LatentVideoModel, cache: FrameCache, latents: torch.Tensor, first: np.ndarray) -> Belief:
    """What is believed after `FELT` blocks of looks at the pictures as they were recorded."""
    block = model.action_block
    latent, memory = latents[first], latents.new_zeros(len(first), model.spec.config.memory)
    for number in range(1, FELT + 1):
        frames = first + number * block
        actions = torch.from_numpy(np.stack([cache.actions[frame - block : frame] for frame in frames]))
        expected = model.imagine(Belief(latent, memory=memory), actions[:, None]).latents[:, 0, -1]
        late = torch.zeros(len(first), len(model.cameras))
        times = times_of(torch.full((len(first),), float(block)), late)
        proprio = torch.from_numpy(np.asarray(cache.proprio[frames], np.float32))
        latent, memory = model.filtered(memory, expected, latents[frames], proprio, times)
    return Belief(latent, memory=memory)


@torch.no_grad()
def errors(model: LatentVideoModel, cache: FrameCache, belief: Belief, frames: np.ndarray) -> np.ndarray:
    """Millimetres between where the object is imagined to be after `AHEAD` blocks of the recorded actions and where it was."""
    steps = AHEAD * model.action_block
    actions = torch.from_numpy(np.stack([cache.actions[frame : frame + steps] for frame in frames]))
    return off_by(model, cache, model.imagine(belief, actions[:, None]).latents[:, 0, -1], frames + steps)


@torch.no_grad()
def off_by(model: LatentVideoModel, cache: FrameCache, latents: torch.Tensor, frames: np.ndarray) -> np.ndarray:
    """Millimetres between the object as the model reads it of `latents` and where it is."""
    return 1e3 * np.linalg.norm(model.poses(latents).object_pos[:, 0].numpy() - cache.object_pose[frames, :3], axis=-1)


def physics_alone(world: Tabletop, cache: FrameCache, frame: int, block: int, seeds: np.ndarray) -> float:
    """Millimetres between where the object was after `AHEAD` blocks and the mean of where masses and frictions of `seeds` bring it."""
    ends = []
    for seed in seeds:
        world.set_state(cache.sim_state[frame])
        world.vary(int(seed))
        for action in np.asarray(cache.actions[frame : frame + AHEAD * block], np.float64):
            world.step(action)
        ends.append(world.object_pose[:3].copy())
    return 1e3 * float(np.linalg.norm(np.mean(ends, 0) - cache.object_pose[frame + AHEAD * block, :3]))


def imagining(model: LatentVideoModel, folder: Path, cache_folder: Path, is_held_out: bool) -> dict[str, Float[np.ndarray, " window"]]:
    """Errors of all windows of a dataset, how far the object moved, and its mass and friction, as multiples of the usual."""
    data = open_dataset(folder)
    cache, block = build_cache(data, cache_folder), model.action_block
    first = moving(cache, np.flatnonzero(~cache.is_train) if is_held_out else np.arange(len(cache.is_train)), block)
    later = first + FELT * block
    asked = np.unique(np.concatenate([first + number * block for number in range(FELT + AHEAD + 1)]))
    latents = torch.full((cache.num_frames, model.spec.config.latent), torch.nan)
    latents[asked] = encode_frames(model, cache, asked)
    remembered = felt(model, cache, latents, first)
    found = {
        "first_second": errors(model, cache, Belief(latents[first]), first),
        "later_without": errors(model, cache, Belief(latents[later]), later),
        "later_memory": errors(model, cache, remembered, later),
        "later_forgotten": errors(model, cache, Belief(remembered.latent), later),  # the same belief; nothing felt
        "then_seen": off_by(model, cache, latents[later + AHEAD * block], later + AHEAD * block),
    }
    for name, frames in (("first", first), ("later", later)):
        found[f"{name}_moved"] = 1e3 * np.linalg.norm(
            cache.object_pose[frames + AHEAD * block, :3] - cache.object_pose[frames, :3], axis=-1
        )
    recipe, alone, drawn = data.parts[0].spec.recipe["world"], [], []
    with Tabletop(parse(SceneConfig, {key: value for key, value in recipe.items() if key != "kind"}, f"{folder}")) as world:
        for frame in tqdm(later, desc=f"physics of {folder.name}", unit="window"):
            world.set_state(cache.sim_state[frame])
            assert world.variation is not None
            drawn.append((world.variation.objects[0].mass, world.variation.objects[0].friction))
            alone.append(physics_alone(world, cache, int(frame), block, np.random.default_rng(int(frame)).integers(2**31, size=DRAWN)))
    mass, friction = np.array(drawn).T
    return {**found, "physics": np.array(alone), "mass": mass, "friction": friction}


def summed_up(found: dict[str, Float[np.ndarray, " window"]]) -> dict[str, float]:
    """Means of all windows, of those with heavy boxes and of those with slippery ones."""
    figures: dict[str, float] = {}
    for name, some in {"all": found["mass"] > 0, "heavy": found["mass"] >= 3, "slippery": found["friction"] <= 0.5}.items():
        figures[f"{name}/windows"] = int(some.sum())
        if some.any():
            means = {key: float(values[some].mean()) for key, values in found.items() if key not in ("mass", "friction")}
            figures |= {f"{name}/{key}_mm": round(value, 1) for key, value in means.items()}
            figures[f"{name}/falls_by_percent"] = round(100 * (1 - means["later_memory"] / means["first_second"]), 1)
    return figures


def pushed(paths: dict[str, Path], of: Path, mass: float, friction: float, num_pairs: int, manifests: Path) -> dict[str, float]:
    """Success of pushes in the world of checkpoint `of` with this mass and friction, on pairs that are cut from play there."""
    info = read_info(of)
    world = world_of(info, of)
    assert isinstance(world, SceneConfig)
    physics = PhysicsRanges(mass=(mass, mass), friction=(friction, friction))
    figures: dict[str, float] = {"pairs": num_pairs}
    with build_environment(replace(world, randomization=Randomization(physics=physics))) as environment:
        path = manifests / f"push_mass_{mass:g}_friction_{friction:g}_{num_pairs}.safetensors"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_manifest(path, build_manifest(environment, "push", num_pairs, first_seed=FIRST_SEED))
        manifest = read_manifest(path, len(environment.state))
        for name, checkpoint in paths.items():
            model = load_checkpoint_model(checkpoint)
            found = successes(environment, model, planning_for(info, "push"), manifest, num_pairs, Fault(), 0)
            figures[f"{name}/moderate"] = round(100 * float(np.mean([one[0] for one in found])), 1)
            figures[f"{name}/strict"] = round(100 * float(np.mean([one[1] for one in found])), 1)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("without", type=Path, help="the checkpoint without memory")
    parser.add_argument("memory", type=Path, help="the same with memory")
    parser.add_argument("data", type=Path, help="what the memory was trained on; its held-out episodes are judged")
    parser.add_argument("pushes", type=Path, help="episodes that no training had; all are judged")
    parser.add_argument("--cache", type=Path, default=Path("datasets/cache_jaco_memory"))
    parser.add_argument("--pairs", type=int, default=40, help="pushes in each scene; 0: none, and their figures stay as they are")
    parser.add_argument("--only", choices=("without", "memory"), help="push with this checkpoint alone; the other's figures stay")
    parser.add_argument("--manifests", type=Path, default=Path("runs/changed_physics"), help="where pairs are kept")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    before = json.loads(args.out.read_text()) if args.out.is_file() else {}
    figures: dict[str, float] = {key: value for key, value in before.items() if key[0] != "_"}
    if args.only is None:
        model = load_checkpoint_model(args.memory)
        beside = args.cache.with_name(f"{args.cache.name}_pushes")  # a folder keeps one dataset's frames
        parts = [imagining(model, args.data, args.cache, True), imagining(model, args.pushes, beside, False)]
        figures |= summed_up({key: np.concatenate([part[key] for part in parts]) for key in parts[0]})
        write_figures(args.out, figures)
    for name, (mass, friction) in PHYSICS.items() if args.pairs else ():
        paths = {key: getattr(args, key) for key in ("without", "memory") if args.only in (None, key)}
        there = pushed(paths, args.without, mass, friction, args.pairs, args.manifests)
        figures |= {f"push/{name}/{key}": value for key, value in there.items()}
        write_figures(args.out, figures)  # what was measured is kept, whatever comes
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
