"""The other side of lewm_train.py: trains LeWM of stable-worldmodel 0.1.1 with what that package and stable-pretraining 0.1.8 bring.

Theirs are the model, SIGReg, the dataset that cuts clips, the pictures' and the actions' normalisation, the optimiser and the schedule.
The loop is ours, so that it can stop, go on and keep to a time: their script's is lightning's, and has the same steps in the same order.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lewm_model_side
import numpy as np
import torch
import torchvision_operators  # noqa: F401  (before their package imports it)
from lewm_model_side import ACTION_BLOCK, EMBED, HISTORY, Recipe
from loguru import logger  # type: ignore
from stable_pretraining.data import dataset_stats, transforms  # type: ignore
from stable_pretraining.optim.lr_scheduler import create_scheduler  # type: ignore
from stable_pretraining.optim.utils import create_optimizer  # type: ignore
from stable_worldmodel.data import Dataset, ZScoreScaler  # type: ignore
from stable_worldmodel.wm.lewm import LeWM  # type: ignore
from stable_worldmodel.wm.loss import SIGReg  # type: ignore
from torch import Tensor
from tqdm import tqdm

TICKS = 10_000  # of the learning rate's schedule, in the whole time
SAVE_SECONDS = 300.0
HELD_OUT_CLIPS = 128  # looked at whenever the model is saved
PROBE_FRAMES = {False: 1200, True: 300}  # by whether they are held out
PROBE_RIDGE = 1e-2


class Clips(Dataset):
    """Our cache of frames as one of their datasets: every run of 4 frames, 5 control steps apart, with the 20 actions from the first on.

    Rows are numbered through, episode after episode; an episode's last action is unknown (NaN), as in their files. Where the camera was
    slower than control (`picture_every` of the cache), clips begin at frames with a new picture.
    """

    def __init__(self, cache: Path, held_out: bool) -> None:
        starts, is_train = np.load(cache / "episode_starts.npy"), np.load(cache / "is_train.npy")
        chosen = np.flatnonzero(is_train != held_out)
        super().__init__(np.diff(starts)[chosen], starts[chosen], frameskip=ACTION_BLOCK, num_steps=HISTORY + 1)
        self.every = json.loads((cache / "cache.json").read_text()).get("picture_every", 1)
        if ACTION_BLOCK % self.every:
            raise SystemExit(f"the data have a new picture at every {self.every}th control step; clips need one at every {ACTION_BLOCK}th")
        self.clip_indices = [(episode, start) for episode, start in self.clip_indices if start % self.every == 0]
        counts = -(-np.diff(starts) // self.every)
        self.first_picture = (np.cumsum(counts) - counts)[chosen]
        self.starts, (pictures,) = starts[chosen], cache.glob("images-*.npy")
        self.pixels, self.poses = np.load(pictures, mmap_mode="r"), np.load(cache / "object_pose.npy")
        self.actions = np.load(cache / "actions.npy")
        self.actions[starts[1:] - 1] = np.nan

    @property
    def column_names(self) -> list[str]:
        return ["pixels", "action"]

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate([start + np.arange(length) for start, length in zip(self.starts, self.lengths, strict=True)])

    def get_col_data(self, col: str) -> np.ndarray:
        return {"action": self.actions}[col][self.rows]

    def _load_slice(self, ep_idx: int, start: int, end: int) -> dict[str, Tensor]:
        first, last = self.starts[ep_idx] + start, self.starts[ep_idx] + end
        seen = self.first_picture[ep_idx] + np.arange(start, end, self.frameskip) // self.every
        pixels = np.moveaxis(self.pixels[seen], -1, 1)
        return {"pixels": torch.from_numpy(pixels.copy()), "action": torch.from_numpy(self.actions[first:last])}

    def some_frames(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of pictures, evenly spaced, and the object's places in them."""
        counts = -(-self.lengths // self.every)
        seen = np.concatenate([first + np.arange(count) for first, count in zip(self.first_picture, counts, strict=True)])
        frames = np.concatenate([start + self.every * np.arange(count) for start, count in zip(self.starts, counts, strict=True)])
        some = np.linspace(0, len(seen) - 1, number).astype(int)
        return seen[some], self.poses[frames[some], :3]


@dataclass(frozen=True)
class Preparation:
    """What their script does to a batch before the model sees it; `prepared` here takes the whole batch at once."""

    picture: Any
    scaler: ZScoreScaler
    device: torch.device

    def pictures(self, pixels: Tensor) -> Tensor:
        """(..., 3, height, width), 0 to 255."""
        flat = self.picture({"pixels": pixels.flatten(0, -4)})["pixels"]
        return torch.as_tensor(flat).unflatten(0, pixels.shape[:-3]).to(self.device)

    def __call__(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        pixels, actions = (torch.stack([item[name] for item in items]) for name in ("pixels", "action"))
        blocks = actions.unflatten(-1, (ACTION_BLOCK, -1))  # (clip, frame, block, action)
        scaled = self.scaler.transform(blocks).float().flatten(-2)
        return {"pixels": self.pictures(pixels), "action": torch.nan_to_num(scaled, 0.0).to(self.device)}


def losses(model: LeWM, sigreg: SIGReg, batch: dict[str, Tensor], sigreg_weight: float) -> dict[str, Tensor]:
    """Of LeWM (arXiv 2603.19312): the next embedding's squared error, and how far embeddings are from an isotropic Gaussian."""
    seen = model.encode(dict(batch))
    now, following = seen["emb"][:, :HISTORY], seen["emb"][:, 1:]
    error = (model.predict(now, seen["act_emb"][:, :HISTORY]) - following).pow(2).mean()
    spread = sigreg(seen["emb"].transpose(0, 1))
    still = (now - following).pow(2).mean()  # the error of a model that says nothing will change; not trained on
    return {"loss": error + sigreg_weight * spread, "prediction": error, "sigreg": spread, "still": still}


class Training:
    """The model, what trains it, and how far it has come."""

    def __init__(self, args: argparse.Namespace, recipe: Recipe) -> None:
        self.args, self.recipe, self.device = args, recipe, torch.device(args.device)
        self.path, self.dataset_id = args.out / "lewm.safetensors", json.loads((args.cache / "cache.json").read_text())["dataset_id"]
        self.clips, self.held_out = Clips(args.cache, held_out=False), Clips(args.cache, held_out=True)
        picture = transforms.Compose(
            transforms.ToImage(**dataset_stats.ImageNet, source="pixels", target="pixels"),
            transforms.Resize(recipe.image_size, source="pixels", target="pixels"),
        )
        scaler = ZScoreScaler().fit(self.clips.get_col_data("action"))
        self.prepare = Preparation(picture, scaler, self.device)
        torch.manual_seed(recipe.seed)
        self.model = lewm_model_side.whole_lewm(recipe, ACTION_BLOCK * self.clips.actions.shape[1]).to(self.device).train()
        self.sigreg = SIGReg(knots=recipe.sigreg_knots, num_proj=recipe.sigreg_projections).to(self.device)
        rate = {"type": "AdamW", "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
        self.optimizer = create_optimizer(list(self.model.parameters()), rate, named_params=list(self.model.named_parameters()))
        warm = {"type": "LinearWarmupCosineAnnealingLR", "warmup_steps": max(1, TICKS // 100), "max_steps": TICKS}
        self.scheduler = create_scheduler(self.optimizer, warm)
        self.step, self.seconds, self.ticks = 0, 0.0, 0
        if self.path.exists():
            self._resume()

    @property
    def whole(self) -> float:
        """Seconds of training, all in all."""
        return 60 * self.args.minutes

    def run(self) -> None:
        saved = self.seconds
        with tqdm(total=round(self.whole), initial=round(self.seconds), unit="s", desc="training LeWM") as bar:
            while self.seconds < self.whole:
                began = time.perf_counter()
                found = self.take_step()
                self.seconds += time.perf_counter() - began
                self.step += 1
                bar.update(round(min(self.seconds, self.whole)) - bar.n)
                bar.set_postfix_str(f"step {self.step}, loss {found['loss']:.3f}, prediction {found['prediction']:.3f}")
                self.log({"step": self.step, "seconds": self.seconds, "rate": self.optimizer.param_groups[0]["lr"], **found})
                if self.seconds - saved >= SAVE_SECONDS:
                    saved = self.seconds
                    self.save()
        self.save()

    def take_step(self) -> dict[str, float]:
        self._tick()
        torch.manual_seed(self.recipe.seed + self.step)  # dropout and projections of a step are the same, resumed or not
        batch = self.prepare([self.clips[int(index)] for index in self._clips_of_step()])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            found = losses(self.model, self.sigreg, batch, self.recipe.sigreg_weight)
        found["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        values = {name: float(value.detach()) for name, value in found.items()} | {"gradient": float(norm)}
        if not math.isfinite(values["loss"]):
            raise SystemExit(f"the loss is {values['loss']} at step {self.step}; take a lower --learning-rate, or --precision fp32")
        return values

    def save(self) -> None:
        self.log({"step": self.step, "seconds": self.seconds, "held_out": self.criterion()})
        state = {
            f"optimizer.{name}.{kind}": value.cpu().contiguous()
            for name, weight in self.model.named_parameters()
            for kind, value in self.optimizer.state[weight].items()
        }
        lewm_model_side.write(self.path, self.model, self.about(), {} if self.seconds >= self.whole else state)

    @torch.inference_mode()
    def judge(self) -> dict[str, float]:
        """The losses on held-out clips, evenly spaced."""
        self.model.eval()
        torch.manual_seed(self.recipe.seed)
        few = np.linspace(0, len(self.held_out) - 1, min(HELD_OUT_CLIPS, len(self.held_out))).astype(int)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            found = losses(self.model, self.sigreg, self.prepare([self.held_out[int(i)] for i in few]), self.recipe.sigreg_weight)
        self.model.train()
        return {name: float(value) for name, value in found.items()}

    @torch.inference_mode()
    def probe(self) -> dict[str, float]:
        """Metres by which a linear reading of held-out frames' embeddings misses the cube, and always saying the mean does."""
        self.model.eval()
        features, places = {}, {}
        for held_out, clips in ((False, self.clips), (True, self.held_out)):
            rows, wanted = clips.some_frames(PROBE_FRAMES[held_out])
            found = []
            for some in np.array_split(rows, max(1, len(rows) // 50)):
                pixels = torch.from_numpy(np.moveaxis(clips.pixels[some], -1, 1).copy())
                found.append(self.model.encode({"pixels": self.prepare.pictures(pixels)[:, None]})["emb"][:, 0].float().cpu())
            features[held_out] = torch.cat([torch.cat(found), torch.ones(len(rows), 1)], 1).double()
            places[held_out] = torch.from_numpy(wanted).double()
        self.model.train()
        x, y = features[False], places[False]
        read = torch.linalg.solve(x.T @ x + PROBE_RIDGE * len(x) * torch.eye(EMBED + 1).double(), x.T @ y)
        wrong, blind = features[True] @ read - places[True], y.mean(0) - places[True]
        return {"cube_error": float(wrong.norm(dim=1).mean()), "of_the_mean": float(blind.norm(dim=1).mean())}

    def about(self) -> dict[str, Any]:
        return {
            "recipe": asdict(self.recipe), "minutes": self.args.minutes, "step": self.step, "seconds": self.seconds,
            "dataset_id": self.dataset_id, "num_clips": len(self.clips), "threads": torch.get_num_threads(), "device": str(self.device),
            "action_mean": self.prepare.scaler.mean.ravel().tolist(), "action_std": self.prepare.scaler.std.ravel().tolist(),
            "torch": torch.__version__,
        }  # fmt: skip

    def log(self, line: dict[str, Any]) -> None:
        with (self.args.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _tick(self) -> None:
        """The schedule goes by the share of the time that has passed, so that it ends with the time on any machine."""
        while self.ticks < int(TICKS * self.seconds / self.whole):
            self.scheduler.step()
            self.ticks += 1

    def _clips_of_step(self) -> np.ndarray:
        """Epochs are shuffled by seed and number; their incomplete last batch is left out."""
        size = self.recipe.batch_size
        epoch, place = divmod(self.step, len(self.clips) // size)
        return np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.clips))[place * size : (place + 1) * size]

    def _resume(self) -> None:
        model, about, rest = lewm_model_side.read(self.path)
        for name, mine, found in (
            ("recipe", asdict(self.recipe), about["recipe"]), ("data", self.dataset_id, about["dataset_id"]),
            ("minutes", self.args.minutes, about["minutes"]),
        ):  # fmt: skip
            if mine != found:
                raise SystemExit(f"{self.path} was trained with another {name}: {found}, not {mine}; give another --out")
        self.model.load_state_dict(model.state_dict())
        self.step, self.seconds = about["step"], about["seconds"]
        for name, weight in self.model.named_parameters():
            kinds = {kind.rpartition(".")[2]: value for kind, value in rest.items() if kind.rpartition(".")[0] == f"optimizer.{name}"}
            if kinds:
                self.optimizer.state[weight] = {kind: value if kind == "step" else value.to(self.device) for kind, value in kinds.items()}
        print(f"going on after step {self.step}, {self.seconds / 60:.1f} of {self.args.minutes:g} minutes", file=sys.stderr)


def measure(training: Training, num_steps: int) -> None:
    """Seconds and processor seconds of a step, the first left out; leaves nothing behind."""
    training.take_step()
    wall, worked = time.perf_counter(), time.process_time()
    for _ in range(num_steps):
        training.step += 1
        training.take_step()
    wall, worked = ((now - before) / num_steps for now, before in ((time.perf_counter(), wall), (time.process_time(), worked)))
    print(json.dumps({
        "size": training.recipe.image_size, "patch": training.recipe.patch_size, "batch": training.recipe.batch_size,
        "precision": training.recipe.precision, "threads": torch.get_num_threads(), "seconds_a_step": round(wall, 2),
        "processor_seconds_a_step": round(worked, 2), "steps_an_epoch": len(training.clips) // training.recipe.batch_size,
    }))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="a frames-... folder that robo_dream made")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", type=int, default=0, help="time so many steps instead of training")
    for name, default in (("image-size", 128), ("patch-size", 16), ("batch-size", 32), ("seed", Recipe.seed)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=Recipe.precision)
    args = parser.parse_args()
    logger.remove()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    recipe = replace(
        Recipe(), image_size=args.image_size, patch_size=args.patch_size, batch_size=args.batch_size, seed=args.seed,
        learning_rate=args.learning_rate, precision=args.precision,
    )  # fmt: skip
    training = Training(args, recipe)
    if args.measure:
        measure(training, args.measure)
        return
    training.run()
    found = {"step": training.step, "seconds": training.seconds, "probe": training.probe(), "held_out": training.criterion()}
    training.log(found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
