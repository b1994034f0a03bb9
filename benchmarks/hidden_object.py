"""What a belief with memory says of a thing that a screen hides, against the same model that sees one frame at a time.

    python benchmarks/hidden_object.py runs/train/jaco_memory/model.safetensors datasets/jaco_memory

Recorded episodes that training did not see are gone through again, one look each half second: two as recorded, and then a screen is set
up before each camera, drawn by the simulator, that covers the object wherever it goes for as long as it stands. The judge compares the
position that the model reads of its belief with the true one, which nothing else is told. `pushed` are the windows in which the object
moves by more than 1 cm behind the screen. `imagined` is the last belief before the screen, imagined on: nothing is looked at.

`hand` are looks of the same episodes at which the arm covers most of the object from a camera.
"""

import argparse
import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported
os.environ.setdefault("LP_NUM_THREADS", "0")

import mujoco
import numpy as np
import torch
from jaxtyping import Float, UInt8
from results_file import write_figures
from tqdm import tqdm

from robo_dream.config import parse
from robo_dream.data.cache import FrameCache, build_cache, open_dataset
from robo_dream.embodiment import Frame, Observation
from robo_dream.imagination import Belief
from robo_dream.models.checkpoint import read_info
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.viewer.pictures import contact_sheet, stacked, write_png
from sim.environment import observation_of
from sim.tabletop.environment import Tabletop
from sim.tabletop.scene import SceneConfig

OUT, STRIPS = Path("docs/results/hidden_object.json"), Path("docs/hidden_object.png")
SECONDS = (0.5, 1.0, 3.0)
BEFORE = 2  # looks before the screen stands
AFTER = 2  # looks after it is gone
DRAWN = 3  # windows of each kind, each of another episode
COLOURS = ((0.5, 0.5, 0.5), (0.15, 0.15, 0.17), (0.85, 0.85, 0.8), (0.55, 0.42, 0.28), (0.2, 0.35, 0.6))
NEARER = 0.75  # of the way from camera to object stands the screen
COVERED = 0.3  # at most this part of the object's pixels is left free by an arm that covers it
BEFORE_HAND = 4  # looks before one at which the arm covers it
BEYOND = (0.01, 0.08)  # m to each side that it reaches beyond the object: where it stands does not tell where the object is


Screen = tuple[np.ndarray, np.ndarray, np.ndarray]  # half size, place and turn of a plate


@dataclass(frozen=True)
class Window:
    """Looks of one recorded episode: `states` and the actions between them; the screen stands from look `first` to before look `end`."""

    states: Float[np.ndarray, "look state"]
    pictures: Mapping[str, UInt8[np.ndarray, "look height width 3"]]  # as they were recorded
    actions: Float[np.ndarray, "gap time action"]
    first: int
    end: int
    is_pushed: bool
    colour: tuple[float, float, float]
    episode: int
    seed: int  # of how far the screen reaches beyond the object


class Stage:
    """The world of the recording, with screens that nobody can touch."""

    def __init__(self, scene: SceneConfig) -> None:
        self.world = Tabletop(scene)
        width, height = scene.cameras[0].width, scene.cameras[0].height
        self.renderer = mujoco.Renderer(self.world.model, height, width)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self.renderer.scene.flags[flag] = 0  # as pictures were drawn
        self.sorting = mujoco.Renderer(self.world.model, height, width)
        self.sorting.enable_segmentation_rendering()
        self.object, table = (self.world.model.geom(name).id for name in (scene.objects[0].name, "table"))
        self.arm = [geom for geom in range(self.world.model.ngeom) if geom not in (self.object, table)]

    def corners(self, state: np.ndarray) -> Float[np.ndarray, "corner 3"]:
        """Of the object's box, in the world."""
        self.world.set_state(state)
        pose, half = self.world.object_pose, np.array(self.world.half_size())
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, pose[3:])
        return pose[:3] + np.array(list(itertools.product((-1, 1), repeat=3))) * half @ turn.reshape(3, 3).T

    def screen(self, camera: str, corners: Float[np.ndarray, "corner 3"], rng: np.random.Generator) -> Screen:
        """Half size, place and turn of a plate before `camera` that covers all `corners`, and more of the table to each side by chance."""
        world_from_camera = self.world.world_from_camera(camera)
        turn, eye = world_from_camera[:3, :3], world_from_camera[:3, 3]
        seen = (corners - eye) @ turn
        depth = NEARER * seen[:, 2].mean()
        flat = seen[:, :2] / seen[:, 2:] * depth
        low, high = flat.min(0) - rng.uniform(*BEYOND, 2), flat.max(0) + rng.uniform(*BEYOND, 2)
        middle = turn @ np.append((low + high) / 2, depth) + eye
        return np.append(0.5 * (high - low), 0.001), middle, turn

    def in_view(self, states: Float[np.ndarray, "look state"], cameras: tuple[str, ...]) -> bool:
        """Whether every picture has the whole object within its edges, whatever is before it."""
        corners = np.concatenate([self.corners(state) for state in states])
        for camera in cameras:
            lens, world_from_camera = self.world.intrinsics(camera), self.world.world_from_camera(camera)
            seen = (corners - world_from_camera[:3, 3]) @ world_from_camera[:3, :3]
            pixels = np.stack([lens.fx * seen[:, 0], lens.fy * seen[:, 1]], -1) / seen[:, 2:] + (lens.cx, lens.cy)
            if (pixels < 0).any() or (pixels > (lens.width, lens.height)).any():
                return False
        return True

    def picture(self, camera: str, screen: Screen, colour: tuple[float, float, float]) -> UInt8[np.ndarray, "height width 3"]:
        """What `camera` shows now, with the screen before it."""
        self.renderer.update_scene(self.world.data, camera)
        scene, (size, place, turn) = self.renderer.scene, screen
        rgba = np.array([*colour, 1.0], np.float32)
        mujoco.mjv_initGeom(scene.geoms[scene.ngeom], mujoco.mjtGeom.mjGEOM_BOX, size, place, turn.flatten(), rgba)
        scene.ngeom += 1
        return self.renderer.render()

    def free(self, camera: str) -> float:
        """The part of the object's pixels that the arm does not cover."""
        self.sorting.update_scene(self.world.data, camera)
        seen = self._pixels()
        for geom in self.sorting.scene.geoms[: self.sorting.scene.ngeom]:
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM and geom.objid in self.arm:
                geom.pos[2] = -100.0
        return seen / max(self._pixels(), 1)

    def _pixels(self) -> int:
        numbers = self.sorting.render()
        return int(((numbers[..., 0] == self.object) & (numbers[..., 1] == mujoco.mjtObj.mjOBJ_GEOM)).sum())

    def screens(self, window: Window, cameras: tuple[str, ...]) -> dict[str, Screen]:
        """A plate before each camera, which covers the object for as long as it stands."""
        corners = np.concatenate([self.corners(state) for state in window.states[window.first : window.end]])
        rng = np.random.default_rng(window.seed)
        return {name: self.screen(name, corners, rng) for name in cameras}

    def looks(self, window: Window, screens: Mapping[str, Screen]) -> list[Observation]:
        """Observations of all looks, with the screens or as they were recorded."""
        found = []
        for look, state in enumerate(window.states):
            self.world.set_state(state)
            pictures = {name: recorded[look] for name, recorded in window.pictures.items()}
            if window.first <= look < window.end:
                pictures |= {name: self.picture(name, screen, window.colour) for name, screen in screens.items()}
            found.append(observation_of(self.world, {name: Frame(self.world.time, picture) for name, picture in pictures.items()}))
        return found

    def truth(self, window: Window) -> Float[np.ndarray, "look 3"]:
        """Where the object is at each look."""
        return np.array([self.corners(state).mean(0) for state in window.states])


def windows_of(stage: Stage, cache: FrameCache, seconds: float, block: int, most: int, seed: int) -> list[Window]:
    """Up to `most` windows of each kind, pushed and not, of held-out episodes, in which every camera has the object in view.

    Of an episode at most three of each.
    """
    rng, behind = np.random.default_rng((seed, round(10 * seconds))), round(seconds / cache.control_dt / block)
    num_looks = BEFORE + behind + AFTER
    found: dict[bool, list[Window]] = {True: [], False: []}
    for number in rng.permutation(np.flatnonzero(~cache.is_train)):
        begin, end = cache.episode_starts[number : number + 2]
        starts = begin + rng.permutation(end - begin - (num_looks - 1) * block)
        taken = {True: 0, False: 0}
        for start in starts:
            frames = start + block * np.arange(num_looks)
            place = cache.object_pose[frames, :3]
            moved = np.linalg.norm(place[BEFORE - 1 : BEFORE + behind] - place[BEFORE - 1], axis=-1).max()
            is_pushed = bool(moved > 0.01)
            if 0.002 < moved <= 0.01 or taken[is_pushed] == 3 or len(found[is_pushed]) == most:
                continue
            if not stage.in_view(np.asarray(cache.sim_state[frames]), cache.cameras):
                continue
            taken[is_pushed] += 1
            actions = np.asarray(cache.actions[start : frames[-1]], np.float32).reshape(num_looks - 1, block, -1)
            colour = COLOURS[int(rng.integers(len(COLOURS)))]
            pictures = {name: np.asarray(cache.images[name][frames]) for name in cache.cameras}
            found[is_pushed].append(
                Window(
                    np.asarray(cache.sim_state[frames]),
                    pictures,
                    actions,
                    BEFORE,
                    BEFORE + behind,
                    is_pushed,
                    colour,
                    int(number),
                    int(rng.integers(2**31)),
                )
            )
    return found[True] + found[False]


@torch.no_grad()
def believed(model: LatentVideoModel, window: Window, looks: list[Observation], remembers: bool) -> Float[torch.Tensor, "look channel"]:
    """The belief at each look, with the past or as if there had been none."""
    if not remembers:
        return torch.cat([model.believe([[look]]).latent for look in looks])
    belief = model.believe([[looks[0]]])
    latents = [belief.latent]
    for actions, look in zip(window.actions, looks[1:], strict=True):
        belief = model.update(belief, torch.from_numpy(actions)[None], [look])
        latents.append(belief.latent)
    return torch.cat(latents)


@torch.no_grad()
def imagined(model: LatentVideoModel, window: Window, seen: torch.Tensor) -> Float[torch.Tensor, "look channel"]:
    """What is seen until the screen stands, and from there on what is imagined to come of the actions."""
    last = window.first - 1
    actions = torch.from_numpy(window.actions[last:]).flatten(0, 1)
    return torch.cat([seen[: last + 1], model.imagine(Belief(seen[last : last + 1]), actions[None, None]).latents[0, 0]])


def covered_by_hand(model: LatentVideoModel, stage: Stage, cache: FrameCache) -> dict[str, float]:
    """How often the arm covers the object from each camera, and from all, and how far off it is believed to be then."""
    block, free, windows = model.action_block, [], []
    for number in np.flatnonzero(~cache.is_train):
        begin, end = cache.episode_starts[number : number + 2]
        for frame in range(begin + BEFORE_HAND * block, end, block):
            stage.world.set_state(cache.sim_state[frame])
            free.append([stage.free(name) for name in cache.cameras])
            if min(free[-1]) > COVERED:
                continue
            frames = frame - block * np.arange(BEFORE_HAND, -1, -1)
            actions = np.asarray(cache.actions[frames[0] : frame], np.float32).reshape(BEFORE_HAND, block, -1)
            pictures = {name: np.asarray(cache.images[name][frames]) for name in cache.cameras}
            states = np.asarray(cache.sim_state[frames])
            windows.append(Window(states, pictures, actions, 0, 0, False, COLOURS[0], int(number), 0))
    figures: dict[str, float] = {"hand/looks": len(free), "hand/windows": len(windows)}
    figures["hand/all_cameras_percent"] = round(100 * float((np.array(free) <= COVERED).all(1).mean()), 2)
    for column, name in enumerate(cache.cameras):
        figures[f"hand/{name}_percent"] = round(100 * float((np.array(free)[:, column] <= COVERED).mean()), 2)
    for name, remembers in (("memory", True), ("one_frame", False)):
        off = []
        for window in windows:
            last = believed(model, window, stage.looks(window, {}), remembers)[-1:]
            off.append(1e3 * float(np.linalg.norm(model.poses(last).object_pos[0, 0].numpy() - stage.truth(window)[-1])))
        if off:
            figures[f"hand/{name}_mm"] = round(float(np.mean(off)), 1)
    return figures


def strip(model: LatentVideoModel, hidden: list[Observation], latents: dict[str, torch.Tensor]) -> UInt8[np.ndarray, "height width 3"]:
    """Of the first camera: what it shows, and below it what each belief looks like."""
    camera = model.cameras[0]
    rows = [np.concatenate([look.frames[camera].image for look in hidden], 1)]
    rows += [np.concatenate(list(model.decode(some)[camera].cpu().numpy()), 1) for some in latents.values()]
    return stacked(rows, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("datasets/cache_jaco_memory"), help="where its frames are decoded")
    parser.add_argument("--windows", type=int, default=40, help="of each kind and duration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--strips", type=Path, default=STRIPS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_checkpoint_model(args.checkpoint)
    data = open_dataset(args.data)
    cache = build_cache(data, args.cache)
    scene = parse(SceneConfig, {key: value for key, value in data.parts[0].spec.recipe["world"].items() if key != "kind"}, f"{args.data}")
    stage, figures, sheet = Stage(scene), {}, []
    recipe = read_info(args.checkpoint).recipe
    trained = recipe["train"]["training"]["memory"]
    figures["held_out_episodes"] = int((~cache.is_train).sum())
    figures |= {"trained/episodes": recipe["data"]["num_episodes"], "trained/steps": trained["steps"], "trained/batch": trained["batch"]}
    for seconds in SECONDS:
        windows = windows_of(stage, cache, seconds, model.action_block, args.windows, args.seed)
        errors: dict[tuple[str, str], list[float]] = {}
        drawn: dict[str, list[int]] = {"pushed": [], "still": []}
        for window in tqdm(windows, desc=f"{seconds} s", unit="window"):
            hidden, clear = (stage.looks(window, screens) for screens in (stage.screens(window, model.cameras), {}))
            true = stage.truth(window)
            one_frame = believed(model, window, hidden, False)
            latents = {
                "memory": believed(model, window, hidden, True),
                "one_frame": one_frame,
                "imagined": imagined(model, window, one_frame),
            }
            latents["uncovered"] = believed(model, window, clear, False)
            kind = "pushed" if window.is_pushed else "still"
            for name, some in latents.items():
                off = 1e3 * np.linalg.norm(model.poses(some).object_pos[:, 0].numpy() - true, axis=-1)
                for part in (kind, "all"):
                    errors.setdefault((name, part), []).append(float(off[window.end - 1]))
                    errors.setdefault((name, f"{part}_after"), []).append(float(off[window.end]))
            if seconds == SECONDS[1] and window.episode not in drawn[kind] and len(drawn[kind]) < DRAWN:
                drawn[kind].append(window.episode)
                looks = {name: latents[name] for name in ("memory", "one_frame")}
                sheet.append((f"a screen for {seconds:g} s: camera, belief with memory, belief of one frame", strip(model, hidden, looks)))
        for (name, part), values in errors.items():
            figures[f"{seconds:g}s/{part}/{name}_mm"] = round(float(np.mean(values)), 1)
            figures[f"{seconds:g}s/{part}/{name}_p90_mm"] = round(float(np.percentile(values, 90)), 1)
        for part in ("pushed", "still"):
            figures[f"{seconds:g}s/{part}/windows"] = len(errors.get(("memory", part), ()))
    for part in ("all", "pushed", "still"):
        figures[f"error_ratio_1s{'' if part == 'all' else '_' + part}"] = round(
            figures[f"1s/{part}/memory_mm"] / figures[f"1s/{part}/one_frame_mm"], 3
        )
    figures |= covered_by_hand(model, stage, cache)
    print(json.dumps({key: value for key, value in figures.items() if "p90" not in key}, indent=1))
    write_figures(args.out, figures)
    if sheet:
        print(write_png(args.strips, contact_sheet(sheet)))


if __name__ == "__main__":
    main()
