"""Writes a folder that LeRobot takes as `--policy.path` (and its policy server as pretrained_name_or_path).

    python -m lerobot_policy_robo_dream.export --out policies/so101 --checkpoint model.safetensors --goal_snapshot goal.npz

Every key of the policy may be given (`--task=reach`, `--goal='{front: front.png, side: side.png}'`). `--size HEIGHT WIDTH` is that of the
robot's cameras, 480 640 without it: LeRobot's policy server stretches pictures of any other size to it.
"""

import argparse
from pathlib import Path

import draccus
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from lerobot_policy_robo_dream.configuration_robo_dream import RoboDreamConfig
from lerobot_policy_robo_dream.modeling_robo_dream import write_folder
from lerobot_policy_robo_dream.processor_robo_dream import make_robo_dream_pre_post_processors
from robo_dream.errors import RoboDreamError
from robo_dream.runtime.driven import JOINTS
from robo_dream.runtime.session import mover_of


def export(config: RoboDreamConfig, folder: Path, height: int, width: int) -> None:
    """Asks the checkpoint what it looks through, so that LeRobot knows; raises where checkpoint or goal cannot be used."""
    with mover_of(config.run(), print) as mover:
        images = {f"{OBS_IMAGES}.{name}": PolicyFeature(FeatureType.VISUAL, (3, height, width)) for name in mover.setup.cameras}
    config.input_features = {OBS_STATE: PolicyFeature(FeatureType.STATE, (len(JOINTS),)), **images}
    config.output_features = {ACTION: PolicyFeature(FeatureType.ACTION, (len(JOINTS),))}
    write_folder(config, folder)
    for pipeline in make_robo_dream_pre_post_processors(config):
        pipeline.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    args, of_policy = parser.parse_known_args()
    config = draccus.parse(RoboDreamConfig, args=of_policy)
    try:
        export(config, args.out, *args.size)
    except RoboDreamError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"wrote {args.out}: lerobot-record --policy.path={args.out} ...")


if __name__ == "__main__":
    main()
