"""A training on two processes by gloo against the same on one: batches, losses, gradients and what is learned."""

import dataclasses
import json
import multiprocessing as mp
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from squares import SquareFrames, square_frames
from torch import Tensor, nn

from robo_dream.data.camera_effects import CameraEffectRanges
from robo_dream.errors import ConfigError, RoboDreamError
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.training.bridge_targets import bridge_consistency
from robo_dream.training.config import DreamConfig, LocalGoalStage, PolicyConfig, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import DreamBatches, train_dream
from robo_dream.training.local_goals import LocalGoalBatches
from robo_dream.training.losses import as_told, covariance_loss, likelihood_loss, pixel_loss, pose_loss, weighted_mean
from robo_dream.training.policy import PolicyBatches
from robo_dream.training.processes import ALONE, Processes, SharedBatchNorm, require_shares
from robo_dream.training.representation import Batches, train_representation

CONFIG = TrainingConfig(
    model=ModelConfig(image_size=32),
    representation=RepresentationConfig(
        steps=4, batch_windows=4, muon_lr=0.02, shift=2, bridge_consistency=0.1, camera_effects=CameraEffectRanges(noise=0.05)
    ),
    dream=DreamConfig(steps=4, batch=8, muon_lr=0.02, unroll=2, decoder_steps=1, decoder_batch=4),
    policy=PolicyConfig(steps=4, batch=8),
    local_goals=LocalGoalStage(steps=2, batch=8),
    log_steps=1,
)
TWO = (Processes(0, 2), Processes(1, 2))
ROUNDING = 1e-5  # of a loss or gradient: sums of shares are not rounded as the whole sum is
LEARNED = 1e-3  # of a loss some steps later: what is rounded otherwise is learned from again


@pytest.fixture(scope="module")
def cache() -> SquareFrames:
    return dataclasses.replace(square_frames(4, 24), is_train=np.ones(4, bool))  # measuring on held-out episodes is not shared


def on_two(work: Callable[[Processes], object], folder: Path) -> None:
    """Runs `work` on two processes that know each other. What either raises is raised here."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    workers = [mp.get_context("fork").Process(target=_one, args=(work, processes, folder)) for processes in TWO]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        worker.kill()
    said = [path.read_text() for path in sorted(folder.glob("raised-*"))]
    assert [worker.exitcode for worker in workers] == [0, 0], said


def _one(work: Callable[[Processes], object], processes: Processes, folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), processes.count)
    dist.init_process_group("gloo", store=store, rank=processes.rank, world_size=processes.count, timeout=timedelta(seconds=60))
    try:
        work(processes)
    except BaseException as error:
        (folder / f"raised-{processes.rank}").write_text(repr(error))
        raise


def shared(values: Tensor, processes: Processes, axis: int = 0) -> Tensor:
    """Its rows."""
    rows = processes.rows(values.shape[axis])
    return values.narrow(axis, rows.start, rows.stop - rows.start)


def losses(x: Tensor, among: Processes) -> Mapping[str, Tensor]:
    """Each loss whose denominator or statistics are of the whole batch, at the share of `among` of (8, 6) numbers `x`, unevenly known."""
    generator = torch.Generator().manual_seed(3)
    weights, pixels, goals = (torch.rand(shape, generator=generator) for shape in ((8, 2), (8, 3, 4, 4), (8, 6)))
    poses = torch.where(torch.arange(48).reshape(8, 6) % 7 < torch.arange(8)[:, None], torch.nan, goals)
    steps = torch.tensor([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 9.0])
    weights, pixels, goals, poses, steps = (shared(whole, among) for whole in (weights, pixels, goals, poses, steps))
    drawn = (x[:, :3, None, None] * torch.ones(4, 4)).sigmoid()
    norm = nn.BatchNorm1d(6, affine=False)
    scale = norm if among.count == 1 else SharedBatchNorm(norm, among)
    return {
        "weighted": weighted_mean(x, weights[:, :1], among),
        "told": (as_told(weights.T, weights, among) * x[:, 0]).mean(),
        "pose": pose_loss(x, poses, among),
        "pixels": pixel_loss(drawn, pixels, torch.full((3, 4, 4), 0.5), 0.3, 4.0, among),
        "covariance": covariance_loss(x, among),
        "bridge": bridge_consistency(torch.stack([x, x.square(), x.sin()], 1), goals, steps, 1, among),
        "likelihood": likelihood_loss(x[:, 0], weights[:, 0], 3, among),
        "normalised": (scale(x) * goals).square().mean() + (scale.eval()(x) * goals).mean(),
    }


def test_the_mean_of_the_losses_of_shares_and_of_their_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    whole = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    steer = torch.linspace(0.5, 2.0, 6)

    def gradients(among: Processes) -> dict[str, tuple[Tensor, Tensor]]:
        found = {}
        for name in losses(shared(whole, among), among):
            parameter = steer.clone().requires_grad_()
            value = losses(shared(whole, among) * parameter, among)[name]
            value.backward()
            among.average_gradients([parameter])
            assert parameter.grad is not None
            found[name] = (among.mean(value.detach()), parameter.grad)
        return found

    alone = gradients(ALONE)

    def work(among: Processes) -> None:
        for name, (value, gradient) in gradients(among).items():
            torch.testing.assert_close(value, alone[name][0], rtol=ROUNDING, atol=1e-6, msg=f"{name}: {value} {alone[name][0]}")
            torch.testing.assert_close(gradient, alone[name][1], rtol=ROUNDING, atol=1e-6, msg=f"{name}: {gradient} {alone[name][1]}")

    on_two(work, tmp_path)


def numbers(batch: object) -> list[Tensor]:
    """Every tensor of a batch, in order."""
    if isinstance(batch, Tensor):
        return [batch]
    if isinstance(batch, list | tuple):
        return [one for part in batch for one in numbers(part)]
    is_made = dataclasses.is_dataclass(batch) and not isinstance(batch, Processes)
    return [one for field in dataclasses.fields(batch) for one in numbers(getattr(batch, field.name))] if is_made else []


def test_shares_of_every_batch_are_the_whole_batch(cache: SquareFrames) -> None:
    latents = torch.randn(len(cache.actions), 6, generator=torch.Generator().manual_seed(0))
    seen = torch.randn(len(cache.actions), 11, generator=torch.Generator().manual_seed(0))
    made: dict[str, Callable[[Processes], Callable[[int], object]]] = {
        "representation": lambda among: Batches(cache, CONFIG, among),
        "dream": lambda among: DreamBatches(cache, CONFIG, latents, among),
        "policy": lambda among: PolicyBatches(cache, CONFIG, seen, among=among),
        "local goals": lambda among: LocalGoalBatches(PolicyBatches(cache, CONFIG, seen, among=among), (5, 10), 8),
    }
    for name, batches in made.items():
        whole, *shares = (numbers(batches(among)(3)) for among in (ALONE, *TWO))
        assert len(whole) > 3
        for number, (all_rows, *parts) in enumerate(zip(whole, *shares, strict=True)):
            is_twice = name == "dream" and len(all_rows) == 16  # starts, then what is imagined of them
            if is_twice:
                parts = [torch.cat(halves) for halves in zip(*(part.chunk(2) for part in parts), strict=True)]
            joins = [torch.cat(parts, axis) for axis in range(all_rows.ndim) if parts[0].shape[axis] < all_rows.shape[axis]]
            joins = [torch.cat(parts)] if is_twice else joins
            assert any(torch.equal(join.nan_to_num(), all_rows.nan_to_num()) for join in joins), f"{name}, tensor {number}"


def curves(run_dir: Path) -> dict[tuple[str, int, str], float]:
    """Every logged loss, by stage and step."""
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    without = ("stage", "step", "time", "steps_per_second")
    return {
        (row["stage"], row["step"], name): value
        for row in rows if row["stage"] != "held_out"
        for name, value in row.items() if name not in without
    }  # fmt: skip


def test_two_processes_learn_what_one_does(cache: SquareFrames, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"

    train_representation(cache, CONFIG, one)
    on_two(lambda among: train_representation(cache, CONFIG, two, processes=among), tmp_path)
    weights, others = (checkpoint.load(folder / "representation.safetensors").state_dict() for folder in (one, two))
    assert any(not torch.equal(weights[name], others[name]) for name in weights)  # else nothing was shared
    shutil.copy(one / "representation.safetensors", two)  # what the second stage stands on
    train_dream(cache, CONFIG, one)
    on_two(lambda among: train_dream(cache, CONFIG, two, processes=among), tmp_path)
    alone, both = curves(one), curves(two)
    assert alone.keys() == both.keys() and {stage for stage, _, _ in alone} >= {"representation", "dream", "policy", "local_goals"}
    off = {key: abs(both[key] - value) / max(abs(value), 0.01) for key, value in alone.items()}
    assert max(off.values()) < LEARNED, max(off.items(), key=lambda item: item[1])


def test_a_process_that_is_lost_is_said_to_be(tmp_path: Path) -> None:
    def work(among: Processes) -> None:
        among.wait()
        if not among.is_first:
            return
        with pytest.raises(RoboDreamError, match="process 0 of 2 lost another one"):
            among.wait()

    on_two(work, tmp_path)


def test_processes_that_see_different_folders_are_told_so(tmp_path: Path) -> None:
    def work(among: Processes) -> None:
        among.require_same(7, "a step")
        with pytest.raises(RoboDreamError, match=r"found \[0, 1\] for a step; they must see the same folders"):
            among.require_same(among.rank, "a step")

    on_two(work, tmp_path)


def test_what_cannot_be_shared_is_refused() -> None:
    require_shares(TWO[0], "all", CONFIG)
    with pytest.raises(ConfigError, match=r"training.representation.batch_windows is 4, which 3 processes cannot share.*set it to 3 or 6"):
        require_shares(Processes(0, 3), "all", CONFIG)
    with pytest.raises(ConfigError, match=r"stage is memory on 2 processes, and only all, .*start it as one process"):
        require_shares(TWO[1], "memory", CONFIG)
    require_shares(ALONE, "memory", CONFIG)
