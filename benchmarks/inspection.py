"""What `robo-dream inspect` finds of the released checkpoints, and of planted faults: `python benchmarks/inspection.py`.

Each checkpoint is inspected on ten fresh episodes of its own world, or on those that lie in FOLDER/NAME; the faults of
tests/spoiled_models.py are planted one at a time in the tabletop's. Writes docs/results/inspect.json:
figures as `CHECKPOINT/FIGURE`, and `CHECKPOINT/doubtful` and
`CHECKPOINT/unfit`, how many findings are so; of a fault `faults/FAULT/FIGURE`, and `faults/FAULT/named`: 1 where the finding that should
tell of it is unfit and says so. With --only, those named are measured again, others kept.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from results_file import write_figures

from robo_dream.data.cache import FrameCache, frames_of, open_dataset
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.inspect import inspect_checkpoint, searches_of
from robo_dream.training.inspection import Measured, measure
from robo_dream.training.verdict import figures, verdict
from tests.spoiled_models import FAULTS, Planted

CHECKPOINTS = Path("configs/checkpoints")
PLANTED_IN = "jaco_s"


def found(name: str, measured: Measured) -> Iterator[tuple[str, float]]:
    words = [finding.word for finding in verdict(measured).findings]
    print(f"| {name} | {verdict(measured).word} | {'; '.join(verdict(measured).reasons)} |", flush=True)
    yield from ((f"{name}/{figure}", value) for figure, value in figures(measured).items())
    yield from ((f"{name}/{word}", words.count(word)) for word in ("doubtful", "unfit"))


def is_named(measured: Measured, check: str, says: str) -> bool:
    return any(one.check == check and one.word == "unfit" and says in one.sentence for one in verdict(measured).findings)


def planted(folder: Path) -> Iterator[tuple[Callable[..., Planted], Measured]]:
    """Every fault, in the tabletop's checkpoint on the episodes in `folder`."""
    path, data = CHECKPOINTS / f"{PLANTED_IN}.safetensors", open_dataset(folder)
    model, cache = checkpoint.load(path), frames_of(data, range(data.num_episodes))
    info = checkpoint.read_info(path)

    def measured(model: LatentVideoModel, cache: FrameCache) -> Measured:
        return measure(model, cache, searches_of(info, model))

    for plant in FAULTS:
        yield plant, measured(*plant(model, cache))


def main(names: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[*names, "faults"], choices=[*names, "faults"])
    parser.add_argument("--datasets", type=Path, metavar="FOLDER", help="episodes to look at, in a folder for each checkpoint")
    parser.add_argument("--out", type=Path, default=Path("docs/results/inspect.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(args.out.read_text()) if args.out.exists() else {}
    result = {key: value for key, value in kept.items() if not key.startswith(("_", *(f"{name}/" for name in args.only)))}
    print("| checkpoint | verdict | reasons |\n|---|---|---|")
    for name in args.only:
        folder = None if args.datasets is None else args.datasets / name
        if name == "faults":
            if args.datasets is None:
                parser.error(f"faults need episodes: name a folder with {PLANTED_IN}/ in it by --datasets")
            for plant, measured in planted(args.datasets / PLANTED_IN):
                result |= dict(found(f"faults/{plant.__name__}", measured))
                result[f"faults/{plant.__name__}/named"] = int(is_named(measured, *FAULTS[plant]))
        else:
            result |= dict(found(name, inspect_checkpoint(CHECKPOINTS / f"{name}.safetensors", folder).measured))
        write_figures(args.out, {key: value for key, value in result.items() if value == value})


if __name__ == "__main__":
    main([path.stem for path in sorted(CHECKPOINTS.glob("*.safetensors"))])
