"""Trains the baseline: LeWM of stable-worldmodel 0.1.1, in an environment of its own, on our dataset and for a given time.

    python benchmarks/lewm_train.py --datasets datasets/ogbench_cube_single --minutes 60
    python benchmarks/lewm_train.py --minutes 60 --device cuda --image-size 224 --patch-size 14 --batch-size 128    (their sizes)

Stop it and start it again as you like: it goes on after the last save (every 5 minutes of training). The frames are those of `robo-dream
train`, decoded into the same cache, and the same episodes are held out. `out` gets lewm.safetensors (weights, and in its header the
recipe, how far it came and the actions' mean and spread; nothing is pickled) and log.jsonl: the losses of each step, with `still`, the
error of a model for which nothing ever changes; now and then those of held-out clips; at the end how well the cube's place can be read
from embeddings of held-out frames by a linear map (`probe`, metres, never trained on). Other options: lewm_train_side.py --help.

Theirs are model, loss terms, cutting of clips, normalisation, optimiser, schedule and every number of scripts/train/config/lewm.yaml at
0.1.1. That script and file are not in the package, so the loop and the sum of the two terms are written anew; on the same weights, batch
and seed loss and gradients were equal to those of their `lejepa_forward`, bit for bit. What is not as there:

- Pictures and patches. Theirs are 224 px and 14 px: 256 patches. Our pictures have 128 px, and enlarging adds nothing but cost, so on a
  processor the default is 128 px in patches of 16: 64 patches, a quarter of the work, with every pixel that our own model sees.
- Batches of 32 clips instead of 128, on a processor: in an hour four times as many updates, of which there are few enough.
- Time instead of 100 epochs: warm-up (1 %) and cosine go by the share of the minutes that has passed. Saving and judging are not counted.
- bf16 is theirs; on a processor without fast bf16 take `--precision fp32`.
- Held out is every tenth episode, as in our training; theirs holds out a tenth of all clips, which overlap with those trained on.
- Their OGBench data also loads `observation`, which LeWM never sees; it is left out. Pictures are ours: one camera of OGBench's.
- Actions are normalised by mean and spread of the training episodes (theirs: of all), in metres and radians a control step of 50 ms.
- Clips of an epoch are shuffled by its number and a step's random numbers come from its own, so that going on changes nothing.
- On a GPU nothing of this was run yet; the code asks nothing of it but `--device cuda`.

What it costs: 75 minutes on one of two AMD EPYC cores (`--threads 1`, bf16, 128 px in patches of 16; the other core busy too) were
1,233 updates of 32 clips, 3.65 s each, on 630 episodes. From it, not measured: their sizes, 17 times the work of a step, are about a minute
a step on a core, and weeks for their 100 epochs.
"""

import argparse
import subprocess
from pathlib import Path

import numpy as np
from stable_worldmodel_env import FOLDER, ROOT, environment

from robo_dream.data.cache import HeldPictures, build_cache, open_dataset
from robo_dream.runtime.progress import Bars


def frames(datasets: list[Path], cache: Path) -> Path:
    """The folder with every frame of the datasets, decoded; the one that `robo-dream train` makes, if it did."""
    source = open_dataset(datasets)
    with Bars({}, "frames into the cache", unit="episode") as bars:
        built = build_cache(source, cache, bars)
    (camera,) = built.cameras
    pictures = built.images[camera]
    pictures = pictures.kept if isinstance(pictures, HeldPictures) else pictures
    assert isinstance(pictures, np.memmap) and pictures.filename is not None
    return Path(pictures.filename).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=Path, nargs="+", default=[ROOT / "datasets/ogbench_cube_single"])
    parser.add_argument("--cache", type=Path, default=ROOT / "datasets/cache_ogbench_cube_single", help="decoded frames; made if missing")
    parser.add_argument("--env", type=Path, default=FOLDER, help="their environment; made if missing")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/lewm_ogbench_cube_single")
    parser.add_argument("--minutes", type=float, default=60.0)
    args, more = parser.parse_known_args()  # what is left is for lewm_train_side.py, which says what it knows
    side = Path(__file__).with_name("lewm_train_side.py")
    command = [environment(args.env.absolute()), "-W", "ignore", side, "--cache", frames(args.datasets, args.cache), "--out", args.out]
    raise SystemExit(subprocess.run([*map(str, command), f"--minutes={args.minutes}", *more], check=False).returncode)


if __name__ == "__main__":
    main()
