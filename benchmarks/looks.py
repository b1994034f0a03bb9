"""What a wider world costs: frames a second of collecting, plain and randomized, side by side: `python benchmarks/looks.py`.

Writes docs/results/looks.json. One process plays and encodes the same episodes' worth of steps in every case, one episode of each case in
turn; what counts is its processor time, so that others on the machine do not. `--sheets` draws docs/looks.png and docs/looks_held_out.png:
24 starts each, as training has them and as it never does.
"""

import argparse
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from PIL import Image
from results_file import write_figures

from robo_dream import config
from robo_dream.data.writer import encode
from robo_dream.runtime.collect import CollectConfig, dataset_spec
from sim.scripts import scripted_episode
from sim.tabletop.environment import Tabletop
from sim.tabletop.randomization import ASPECTS, Randomization, VisualRanges
from sim.tabletop.scene import SceneConfig

RECIPE = Path("configs/collect/jaco_wider.yaml")
FIRST_SEED = 70_000_000  # of no dataset


def cases(wide: Randomization) -> dict[str, Randomization | None]:
    """By name: nothing, each part of the recipe alone, and all of it."""
    visual = wide.visual
    return {
        "none": None,
        "colours_and_patterns": Randomization(VisualRanges(colours=visual.colours, patterns=visual.patterns)),
        "lights": Randomization(VisualRanges(lamp_moved=visual.lamp_moved, light=visual.light)),
        "shadows": Randomization(VisualRanges(shadows=visual.shadows)),
        "cameras": Randomization(
            VisualRanges(camera_pos=visual.camera_pos, camera_turn=visual.camera_turn, focal_length=visual.focal_length)
        ),
        "effects": Randomization(VisualRanges(effects=visual.effects)),
        "distractors": Randomization(VisualRanges(distractors=visual.distractors)),
        "physics_and_kinds": Randomization(physics=wide.physics, kinds=wide.kinds),
        "all_but_shadows": replace(wide, visual=replace(visual, shadows=0.0)),
        "all": wide,
    }


@dataclass
class Spent:
    """Of one case."""

    frames: int = 0
    seconds: float = 0.0
    stored: int = 0  # bytes


def measure(recipe: CollectConfig, scene: SceneConfig, wide: Randomization, rounds: int, num_steps: int) -> dict[str, Spent]:
    spent = {name: Spent() for name in cases(wide)}
    with ExitStack() as stack:
        played = {}
        for name, randomization in cases(wide).items():
            world = replace(scene, randomization=randomization)
            spec = dataset_spec(replace(recipe, world=world))
            played[name] = stack.enter_context(Tabletop(world)), spec
        play = replace(recipe.play, num_steps=num_steps)
        for number in range(-1, rounds):
            for name, (world, spec) in played.items():
                began = time.process_time()
                encoded = encode(scripted_episode(world, FIRST_SEED + max(number, 0), play), spec)
                if number < 0:
                    continue  # to warm up
                spent[name].seconds += time.process_time() - began
                spent[name].frames += num_steps + 1
                spent[name].stored += encoded.table.nbytes
    return spent


def sheet(scene: SceneConfig, wide: Randomization, count: int, columns: int) -> Image.Image:
    """Starts, one after the other, each seen from the front and below it from the side."""
    cameras = tuple(replace(camera, width=96, height=96, oversample=2) for camera in scene.cameras)
    with Tabletop(replace(scene, cameras=cameras, randomization=wide)) as world:
        pictures = []
        for number in range(count):
            world.reset(np.random.default_rng(FIRST_SEED + number))
            pictures.append(np.concatenate([world.image(camera.name) for camera in cameras]))
    rows = [np.concatenate(pictures[first : first + columns], axis=1) for first in range(0, count, columns)]
    return Image.fromarray(np.concatenate(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="episodes of each case")
    parser.add_argument("--num-steps", type=int, default=130)
    parser.add_argument("--out", type=Path, default=Path("docs/results/looks.json"))
    parser.add_argument("--sheets", type=Path, help="a folder: draw the sheets into it, and measure nothing")
    args = parser.parse_args()
    recipe = config.load(CollectConfig, RECIPE)
    scene = recipe.world
    assert isinstance(scene, SceneConfig) and scene.randomization is not None
    wide = scene.randomization
    if args.sheets is not None:
        for name, held_out in (("looks", ()), ("looks_held_out", ASPECTS)):
            drawn = sheet(scene, replace(wide, held_out=held_out), 24, 12)
            drawn.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(args.sheets / f"{name}.png", optimize=True)
        return
    figures: dict[str, float | int | str | None] = {"episodes": args.rounds, "num_steps": args.num_steps}
    for name, one in measure(recipe, scene, wide, args.rounds, args.num_steps).items():
        figures[f"{name}/frames_per_s"] = round(one.frames / one.seconds, 1)
        figures[f"{name}/kb_a_frame"] = round(one.stored / one.frames / 1e3, 1)
        print(f"{name:<24}{figures[f'{name}/frames_per_s']:>8} frames/s{figures[f'{name}/kb_a_frame']:>8} kB a frame")
    write_figures(args.out, figures)


if __name__ == "__main__":
    main()
