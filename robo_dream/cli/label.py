"""`robo-dream label`: actions for video that has none."""

import argparse
from pathlib import Path

from robo_dream.runtime.progress import Bars

_DESCRIPTION = """\
Writes a copy of a LeRobot dataset in which a checkpoint tells what was done at every frame that has no action: an inverse dynamics model
reads it off neighbouring pictures, and says how sure it is of each number. True actions stay as they are, frame by frame, and
meta/labels.json says which checkpoint told the others. A checkpoint learns to do so from a few episodes with actions (stage=labeller of
`robo-dream train`). Where the arm was is not read, as a video does not say it. Kill it whenever you like: the same command goes on with
the files that are missing."""

_EPILOG = """\
example:
  robo-dream train stage=labeller init=runs/train/jaco_recorded/model.safetensors training.labeller={} out=runs/train/labeller
  robo-dream label datasets/video --checkpoint runs/train/labeller/model.safetensors --out datasets/video_labelled

The copy is written beside as OUT.unfinished and becomes OUT when it is whole; name it in `datasets` of `robo-dream train` beside labelled
data, where each pseudo-action counts as far as its label explains it (training.pseudo_actions)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a LeRobotDataset v3.0, or a folder of shards")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="a checkpoint that tells actions")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the copy goes; must not exist")
    parser.add_argument("--device", default="cpu", help="where it is computed; default cpu")


def run(args: argparse.Namespace) -> int:
    from robo_dream.runtime.label import label

    with Bars({}, "labelling", "episode") as bars:
        found = label(args.dataset, args.checkpoint, args.out, args.device, bars)
    kept = f", {found.counts.true} true ones are as they were" if found.counts.true else ""
    print(f"{found.out}: {found.num_episodes} episodes, {found.counts.pseudo} actions told{kept}.")
    return 0
