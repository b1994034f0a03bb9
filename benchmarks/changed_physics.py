"""Whether what was felt of a thing helps to imagine it: errors of a 1 s imagination before and after 2 s of moving it.

    python benchmarks/changed_physics.py runs/train/jaco_memory/model.safetensors datasets/jaco_memory

Held-out episodes, each with a mass and friction of its own, are followed look by look from the moment at which the object begins to
move. The judge compares where the object is imagined after 1 s of the recorded actions with where it was. Without memory both
imaginations begin from one frame. `heavy` are boxes of three times the usual mass or more, `slippery` those of half the friction or less.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported

import numpy as np
import torch
from results_file import write_figures

from robo_dream.config import parse
from robo_dream.data.cache import FrameCache, build_cache, open_dataset
from robo_dream.imagination import Belief
from robo_dream.models.memory import times_of
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.training.latents import encode_frames
from sim.tabletop.environment import Tabletop
from sim.tabletop.scene import SceneConfig

OUT = Path("docs/results/changed_physics.json")
FELT, AHEAD = 4, 2  # action blocks: of moving it, and imagined
MOVES = 0.004  # m in a block


def moving(cache: FrameCache, block: int) -> list[int]:
    """Frames of held-out episodes from which on the object moves in each of the blocks that are looked at; none overlap."""
    found, length = [], (FELT + AHEAD) * block
    for number in np.flatnonzero(~cache.is_train):
        begin, end = cache.episode_starts[number : number + 2]
        frame = begin
        while frame + length < end:
            places = cache.object_pose[frame : frame + length + 1 : block, :3]
            if (np.linalg.norm(np.diff(places, axis=0), axis=-1) > MOVES).all():
                found.append(int(frame))
                frame += length
            frame += 1
    return found


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
    imagined = model.poses(model.imagine(belief, actions[:, None]).latents[:, 0, -1]).object_pos[:, 0].numpy()
    return 1e3 * np.linalg.norm(imagined - cache.object_pose[frames + steps, :3], axis=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("datasets/cache_jaco_memory"))
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, data = load_checkpoint_model(args.checkpoint), open_dataset(args.data)
    cache = build_cache(data, args.cache)
    first = np.array(moving(cache, model.action_block))
    later = first + FELT * model.action_block
    wanted = np.unique(np.concatenate([first + number * model.action_block for number in range(FELT + 1)]))
    latents = torch.full((cache.num_frames, model.spec.config.latent), torch.nan)
    latents[wanted] = encode_frames(model, cache, wanted)
    found = {
        "first_second": errors(model, cache, Belief(latents[first]), first),
        "later_without": errors(model, cache, Belief(latents[later]), later),
        "later_memory": errors(model, cache, felt(model, cache, latents, first), later),
    }
    recipe = data.parts[0].spec.recipe["world"]
    with Tabletop(parse(SceneConfig, {key: value for key, value in recipe.items() if key != "kind"}, f"{args.data}")) as world:
        drawn = []
        for frame in first:
            world.set_state(cache.sim_state[frame])
            assert world.variation is not None
            drawn.append((world.variation.objects[0].mass, world.variation.objects[0].friction))
    mass, friction = np.array(drawn).T
    figures: dict[str, float] = {}
    for name, some in {"all": mass > 0, "heavy": mass >= 3, "slippery": friction <= 0.5}.items():
        figures[f"{name}/windows"] = int(some.sum())
        if some.any():
            figures |= {f"{name}/{key}_mm": round(float(values[some].mean()), 1) for key, values in found.items()}
            figures[f"{name}/falls_by_percent"] = round(
                100 * (1 - figures[f"{name}/later_memory_mm"] / figures[f"{name}/first_second_mm"]), 1
            )
    write_figures(args.out, figures)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
