"""Loads what is written here with the official `lerobot` 0.4.4, in an environment of its own, and compares every frame.

    python benchmarks/lerobot_reads.py --python /tmp/lerobot_env/bin/python

`lerobot` pins another torch than ours, so it is never a dependency. To make the environment where no GPU packages are wanted:

    python3 -m venv /tmp/lerobot_env && cd /tmp/lerobot_env/bin && ./pip install torch==2.13.0 && \\
    ./pip install --no-deps lerobot==0.4.4 torchvision==0.28.0 accelerate && \\
    ./pip install datasets huggingface_hub einops av jsonlines packaging pandas psutil safetensors draccus==0.10.0 imageio
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

READ = """
import sys
import av
import numpy as np
import torch

library = torch.library.Library("torchvision", "FRAGMENT")
for name in "nms qnms roi_align ps_roi_align roi_pool ps_roi_pool deform_conv2d".split():  # of a torchvision built for CUDA, on a machine without
    for operator in (name, f"_{name}_backward"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor none) -> Tensor")

from lerobot.datasets.lerobot_dataset import LeRobotDataset

import torchvision


class VideoReader:  # torchvision 0.28 has none any more; lerobot 0.4.4 asks it for (picture, time) from a time on, with PyAV beneath
    def __init__(self, path, stream):
        self.container = av.open(str(path))
        self.frames = iter(())

    def seek(self, seconds, keyframes_only):
        video = self.container.streams.video[0]
        self.container.seek(int(seconds / video.time_base), stream=video)
        self.frames = self.container.decode(video)

    def __iter__(self):
        for frame in self.frames:
            yield {"data": torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1), "pts": float(frame.time)}


if not hasattr(torchvision.io, "VideoReader"):
    torchvision.io.VideoReader = VideoReader
root, expected, exact = sys.argv[1], np.load(sys.argv[2]), sys.argv[3] == "image"
data = LeRobotDataset("robo_dream/written", root=root, video_backend="pyav")
episode, dt = expected["episode"], 1 / data.fps
assert data.num_episodes == episode.max() + 1 and len(data) == len(episode), (data.num_episodes, len(data))
worst = 0.0
for i in range(len(data)):
    item = data[i]
    assert int(item["episode_index"]) == episode[i] and int(item["frame_index"]) == expected["frame"][i]
    assert abs(float(item["timestamp"]) - expected["frame"][i] * dt) < 1e-4
    assert item["task"] == str(expected["task"][i]), item["task"]
    for key, name in (("action", "action"), ("observation.state", "state")):
        np.testing.assert_array_equal(item[key].numpy(), expected[name][i])
    for camera in ("front", "side"):
        seen = item[f"observation.images.{camera}"].numpy().transpose(1, 2, 0) * 255
        worst = max(worst, float(np.abs(seen - expected[camera][i]).mean()))
assert worst < (1e-3 if exact else 8.0), worst
ahead = LeRobotDataset("robo_dream/written", root=root, video_backend="pyav", delta_timestamps={"action": [0.0, dt, 2 * dt]})
for i in range(len(ahead)):
    last = np.flatnonzero(episode == episode[i]).max()
    wanted = expected["action"][[min(i + k, last) for k in range(3)]]
    np.testing.assert_array_equal(ahead[i]["action"].numpy(), wanted)
print(f"{data.num_episodes} episodes, {len(data)} frames of {sys.argv[3]} storage: all numbers equal, pictures off by at most {worst:.3g} of 255 a frame")
"""  # noqa: E501


def write(root: Path, storage: str) -> None:
    """Three episodes of different lengths, of the real scene, and what a reader must find in `expected.npz`."""
    import numpy as np

    from robo_dream.data.writer import DatasetWriter
    from robo_dream.runtime.collect import CollectConfig, dataset_spec
    from sim.scripts import scripted_episode
    from sim.tabletop.behaviours.play import PlayConfig
    from sim.tabletop.environment import Tabletop

    spec = dataset_spec(CollectConfig(storage=storage))  # type: ignore[arg-type]
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("episode", "frame", "task", "action", "state", "front", "side")}
    with Tabletop() as world, DatasetWriter(root / "data", spec) as writer:
        for seed, num_steps in enumerate((12, 30, 20)):
            episode = scripted_episode(world, seed, PlayConfig(num_steps=num_steps))
            writer.append(episode)
            frames = num_steps + 1
            columns["episode"].append(np.full(frames, seed))
            columns["frame"].append(np.arange(frames))
            columns["task"].append(np.full(frames, episode.task))
            columns["action"].append(np.concatenate([episode.actions, np.zeros_like(episode.actions[:1])]))
            columns["state"].append(episode.proprio)
            for name in ("front", "side"):
                columns[name].append(episode.images[name])
    np.savez(root / "expected.npz", **{name: np.concatenate(parts) for name, parts in columns.items()})


def expect(data: Path, path: Path) -> str:
    """Writes what our own reader finds in the dataset `data` to `path`; gives its storage."""
    import numpy as np

    from robo_dream.data.cache import open_dataset

    dataset = open_dataset(data, ("front", "side"))
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("episode", "frame", "task", "action", "state", "front", "side")}
    for number, episode in enumerate(dataset):
        columns["episode"].append(np.full(episode.num_frames, number))
        columns["frame"].append(np.arange(episode.num_frames))
        columns["task"].append(np.full(episode.num_frames, episode.task))
        columns["action"].append(np.concatenate([episode.actions, np.zeros_like(episode.actions[:1])]))
        columns["state"].append(episode.proprio)
        for name in ("front", "side"):
            columns[name].append(episode.images[name])
    np.savez(path, **{name: np.concatenate(parts) for name, parts in columns.items()})
    return dataset.spec.storage


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the interpreter of an environment that has lerobot 0.4.4")
    parser.add_argument("--data", type=Path, help="a dataset with cameras front and side, instead of new ones; against our own reader")
    args = parser.parse_args()
    status = 0
    if args.data is not None:
        with tempfile.TemporaryDirectory() as folder:
            storage = expect(args.data, Path(folder) / "expected.npz")
            command = [args.python, "-c", READ, str(args.data), str(Path(folder) / "expected.npz"), storage]
            return subprocess.run(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False).returncode
    for storage in ("image", "video"):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write(root, storage)
            command = [args.python, "-c", READ, str(root / "data"), str(root / "expected.npz"), storage]
            status |= subprocess.run(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False).returncode
    return status


if __name__ == "__main__":
    os.environ.setdefault("MUJOCO_GL", "egl")
    sys.exit(main())
