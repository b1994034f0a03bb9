"""What a GPU makes of planning and training, in one command without network: `make gpu-check` (made to take under ten minutes).

    python benchmarks/gpu_check.py                            # writes docs/results/gpu_check.json, or --out
    python benchmarks/gpu_check.py --dry --out FILE           # on this processor, with few of everything: that it runs, and no speed

In this order: the rate of matrix products, whether decisions are those of the CPU, how often one waits for the device, how long decisions
take, how fast size S learns from frames of noise, and true physics by MJX where it is installed. Beside every time stands the share of the
rate of matrix products that was measured in the same run. What fails is told in words and left out (exit code 1), and all else is measured.
"""

import argparse
import copy
import importlib.util
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "off")  # nothing is drawn, and a bare machine has no libraries for it
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take three quarters of the GPU's memory

import numpy as np
import torch
from results_file import write_figures
from torch import Tensor, nn

from robo_dream.data.cache import FrameCache
from robo_dream.errors import ConfigError
from robo_dream.evaluation.latency import percentiles, product_rate, timed, work_of
from robo_dream.imagination import Belief, Goal, Plan
from robo_dream.models import checkpoint
from robo_dream.models.compiled import Precision, row_runner
from robo_dream.models.config import ModelConfig
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.predictive import PredictiveConfig
from robo_dream.runtime.bench import Bench, BenchConfig, noise_observation
from robo_dream.runtime.planner import PlanningConfig, build_planner
from robo_dream.testing.host_waits import host_waits
from robo_dream.training.config import TrainingConfig
from robo_dream.training.dream import DreamBatches, dream_losses, policy_losses
from robo_dream.training.frames import model_spec
from robo_dream.training.optimiser import optimisers
from robo_dream.training.policy import PolicyBatches
from robo_dream.training.representation import Batches, representation_losses
from robo_dream.training.stage import Stage, learn, stage_of

ROOT = Path(__file__).parents[1]
SAME_PLAN = 1e-3  # of half an action's range: float32 sums in another order
Figures = dict[str, float | int | str]


@dataclass(frozen=True)
class Counts:
    """How much of everything."""

    product: int  # rows of the matrices whose product says what the device can do
    decisions: int  # of each way to decide
    before: int  # decisions that warm up and are not timed
    compared: int  # decisions made on the CPU too
    cem_iterations: int
    candidates: int  # of size L
    steps: int  # of training, each stage
    smaller: int  # by how much batches of training are smaller than they are by default
    frames: int  # of an episode of noise; 16 episodes
    rollouts: int  # of MJX; 0 leaves it out


FULL = Counts(8192, 100, 3, 20, 30, 4096, 50, 1, 200, 256)
DRY = Counts(256, 2, 1, 1, 2, 16, 1, 16, 90, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="on the CPU with small counts: that everything runs; its speeds say nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/gpu_check.json")
    args = parser.parse_args()
    if not (args.dry or torch.cuda.is_available()):
        print("gpu-check: this PyTorch sees no CUDA device; run it where there is one, or with --dry (make gpu-check GPU_CHECK=--dry)")
        return 2
    began, device, counts = time.monotonic(), torch.device("cpu" if args.dry else "cuda"), DRY if args.dry else FULL
    note = "dry run on a CPU, with small counts: it shows that the command runs and says nothing about any GPU" if args.dry else "full run"
    figures: Figures = {"device": device.type, "_note": note}
    if device.type == "cuda":
        figures["_gpu"] = torch.cuda.get_device_name(device)
    for name, part in PARTS.items():
        start = time.monotonic()
        try:
            for key, value in part(device, counts, figures):
                figures[key] = value
                print(f"{key:<58}{value:>14.4g}" if isinstance(value, float) else f"{key:<58}{value:>14}", flush=True)
        except Exception as error:  # whoever has a GPU for an hour wants the rest
            traceback.print_exc()
            figures[f"_failed_{name}"] = f"{type(error).__name__}: {str(error)[:300]}"
        print(f"  {name}: {time.monotonic() - start:.0f} s", flush=True)
    shown = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
    write_figures(args.out, {**shown, "_seconds": round(time.monotonic() - began)})
    print(f"{args.out} written ({note})")
    return int(any(key.startswith("_failed") for key in figures))


Part = Callable[[torch.device, Counts, Figures], Iterator[tuple[str, float | int | str]]]


def rates(device: torch.device, counts: Counts, known: Figures) -> Iterator[tuple[str, float]]:
    """TFLOP/s of a large product; float32 without TF32, as imagination has it."""
    for name, kind in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        yield f"rate/{name}_tflops", product_rate(kind, device, waiting(device), size=counts.product) / 1e12


def parity(device: torch.device, counts: Counts, known: Figures) -> Iterator[tuple[str, float]]:
    """Decisions of the released Jaco on the device and on the CPU, from the same pictures and seeds.

    Pictures of noise show nothing to do, so that many candidates are nearly as good: half precision may take another. Hence also what
    both imagine of the CPU's plan: how far apart, by how far the latent moves.
    """
    here = released(torch.device("cpu"))
    expected = list(decisions(here, counts.compared))
    for precision in ("float32", "bfloat16"):
        there = released(device).running(row_runner(precision=precision))
        made = list(decisions(there, counts.compared))
        apart = [apart_by(plan, other, here.action_half) for (_, plan), (_, other) in zip(made, expected, strict=True)]
        errors = [imagined_error(there, belief, plan) for belief, plan in expected]
        yield f"parity/{precision}/decisions", len(apart)
        yield f"parity/{precision}/same_plan", sum(one <= SAME_PLAN for one in apart)
        yield f"parity/{precision}/most_apart_half_ranges", max(apart)
        yield f"parity/{precision}/median_imagined_error", float(np.median(errors))


def imagined_error(model: LatentVideoModel, belief: Belief, plan: Plan) -> float:
    with torch.inference_mode():
        imagined = model.imagine(Belief(belief.latent.to(model.device)), plan.actions.to(model.device)[:, None]).latents[:, 0].cpu()
    return float((imagined - plan.latents).norm() / (plan.latents - belief.latent[:, None]).norm())


def decisions(model: LatentVideoModel, count: int) -> Iterator[tuple[Belief, Plan]]:
    """Each from its own pictures, without a previous plan: one that differs does not make the next one differ."""
    planner = build_planner(PolicyGuidedConfig(), model)
    for seed in range(count):
        belief = model.believe([[noise_observation(model, 2 * seed)]])
        yield belief, planner.plan(belief, Goal(model.believe([[noise_observation(model, 2 * seed + 1)]]).latent), [seed])


def apart_by(plan: Plan, other: Plan, half_range: Tensor) -> float:
    """The largest difference of an action, in half ranges."""
    return float(((plan.actions.cpu() - other.actions.cpu()).abs() / half_range.cpu()).max())


def waits(device: torch.device, counts: Counts, known: Figures) -> Iterator[tuple[str, int]]:
    """How often a decision waits for the device, from pictures to plan; the one is its read-out. Without a GPU, of shapes on `meta`."""
    model = released(device) if device.type == "cuda" else released(torch.device("cpu")).to("meta")
    with host_waits(model.device.type) as found:
        list(decisions(model, 1))
    yield "waits/in_a_decision", len(found)
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            list(decisions(model, 1))
        torch.cuda.set_sync_debug_mode("default")
        yield "waits/in_a_decision_as_cuda_tells", sum("synchronizing" in str(one.message) for one in told)


def latency(device: torch.device, counts: Counts, known: Figures) -> Iterator[tuple[str, float | int | str]]:
    """Decisions as the loop makes them, pictures encoded and uploaded each time, plain and compiled."""
    small = released(device)
    large = LatentVideoModel(replace(small.spec, config=replace(small.spec.config, size="L"))).to(device).eval().requires_grad_(False)
    cem = CemConfig(num_iterations=counts.cem_iterations)
    ways = {
        "policy_guided_128x3x5": (small, PlanningConfig(PolicyGuidedConfig())),
        f"cem_300x{counts.cem_iterations}x5": (small, PlanningConfig(cem, CostConfig(distance=0.0, latent=1.0))),
        f"predictive_L_{counts.candidates}x1x5": (large, PlanningConfig(PredictiveConfig(num_samples=counts.candidates, num_proposals=0))),
    }
    for name, (model, planning) in ways.items():
        work = work_of(partial(decider(model, planning, device), 0)).flops
        yield f"{name}/gflop", work / 1e9
        runs: list[tuple[bool, Precision]] = [(False, "float32"), (False, "bfloat16")]
        for compiled, precision in runs if counts is DRY else [*runs, (True, "bfloat16")]:
            key = f"{name}/{'compiled_' if compiled else ''}{precision}"
            try:
                decide = decider(model.running(row_runner(compiled, precision)), planning, device)
                timed(decide, counts.before, waiting(device), silent)  # compiles, and warms up
            except (ConfigError, RuntimeError) as error:
                if not compiled:
                    raise
                yield f"_{key}", f"left out: {str(error).splitlines()[0][:200]}"
                continue
            spent = percentiles(timed(decide, counts.decisions, waiting(device), silent))
            yield f"{key}/p50_ms", spent.p50
            yield f"{key}/p95_ms", spent.p95
            yield f"{key}/percent_of_rate", percent_of_rate(known, precision, work, spent.p50 / 1e3)


def decider(model: LatentVideoModel, planning: PlanningConfig, device: torch.device) -> Callable[[int], Plan]:
    planner = build_planner(planning.planner, model, planning.cost, planning.proposals)
    return Bench(BenchConfig(device=device.type), model, silent).decider(model, planner)


def noise_frames(model: LatentVideoModel, length: int, episodes: int = 16) -> FrameCache:
    """Episodes of noise in the model's sizes."""
    rng, spec, count, side = np.random.default_rng(0), model.action_spec, episodes * length, model.spec.config.image_size
    poses = rng.normal(size=(count, 7)).astype(np.float32)
    poses[:, 3:] /= np.linalg.norm(poses[:, 3:], axis=-1, keepdims=True)
    return FrameCache(
        cameras=model.cameras,
        images={name: rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8) for name in model.cameras},
        proprio=rng.normal(size=(count, len(model.spec.proprio.mean))).astype(np.float32),
        actions=rng.uniform(spec.low, spec.high, (count, spec.size)).astype(np.float32), object_pose=poses,
        skill=np.zeros(count, np.int64), sim_state=np.zeros((count, 0)), episode_starts=np.arange(episodes + 1) * length,
        is_train=np.arange(episodes) < episodes - 2, skills=("noise",), action_spec=spec, control_dt=0.1, dataset_id="noise",
    )  # fmt: skip


def training(device: torch.device, counts: Counts, known: Figures) -> Iterator[tuple[str, float]]:
    """Steps a second of each stage of size S as it is set by default, batches gathered and uploaded; and how long all of them take."""
    cache = noise_frames(released(torch.device("cpu")), counts.frames)
    config = TrainingConfig(model=ModelConfig(image_size=cache.images[cache.cameras[0]].shape[1]), device=device.type)
    config = replace(
        config,
        representation=replace(config.representation, batch_windows=config.representation.batch_windows // counts.smaller),
        dream=replace(config.dream, batch=config.dream.batch // counts.smaller),
        policy=replace(config.policy, batch=config.policy.batch // counts.smaller),
    )
    model = LatentVideoModel(model_spec(cache, config.model)).to(device).train()
    latents, seen = (torch.zeros(len(cache.actions), width, device=device) for width in (model.spec.config.latent, model.spec.num_seen))
    windows, dreams, pairs = Batches(cache, config), DreamBatches(cache, config, latents), PolicyBatches(cache, config, seen)
    target, ones = copy.deepcopy(model.temporal_distance), [1.0] * len(cache.cameras)
    learned = nn.ModuleList([model.dynamics, model.inverse_dynamics, model.temporal_distance, model.pose_head])

    def representation(step: int) -> Mapping[str, Tensor]:
        return representation_losses(model, windows(step), config, ones, np.random.default_rng(step))

    stages: Mapping[str, tuple[Stage, nn.Module, Callable[[int], Mapping[str, Tensor]]]] = {
        "representation": (stage_of("representation", config.representation), model, representation),
        "dream": (stage_of("dream", config.dream), learned, lambda step: dream_losses(model, target, dreams(step), config)),
        "policy": (stage_of("policy", config.policy), model.policy, lambda step: policy_losses(model, pairs(step))),
    }
    minutes = 0.0
    for name, (stage, trained, losses) in stages.items():
        step = stepper(stage, trained, losses, device if config.autocast else None)
        work = work_of(partial(step, 0)).flops
        timed(step, 1, waiting(device), silent)
        start = time.perf_counter()
        for number in range(counts.steps):
            step(number)
        waiting(device)()
        seconds = (time.perf_counter() - start) / counts.steps
        minutes += stage.steps * seconds / 60
        yield f"training_S/{name}/steps_per_second", 1 / seconds
        yield f"training_S/{name}/percent_of_rate", percent_of_rate(known, "bfloat16" if config.autocast else "float32", work, seconds)
    yield "training_S/minutes", minutes


def stepper(
    stage: Stage, trained: nn.Module, losses: Callable[[int], Mapping[str, Tensor]], lowered: torch.device | None
) -> Callable[[int], None]:
    """A step of training, in half precision on a device that is `lowered`."""
    parameters = list(trained.parameters())
    rates = list(optimisers(parameters, stage.learning_rate, stage.muon_lr, stage.weight_decay))

    def step(number: int) -> None:
        with nullcontext() if lowered is None else torch.autocast(lowered.type, torch.bfloat16):
            parts = losses(number)
        learn(parameters, rates, parts)

    return step


def physics(device: torch.device, counts: Counts, known: Figures) -> Iterator[tuple[str, float | int | str]]:
    """Control steps a second of true physics on JAX's own device."""
    is_there = all(importlib.util.find_spec(name) for name in ("jax", "mujoco.mjx"))
    yield "mjx/installed", int(is_there)
    if not is_there:
        yield "_mjx", "not installed: pip install 'robo-dream[mjx]', and the jax of this GPU"
        return
    if not counts.rollouts:
        yield "_mjx", "installed, and not run dry: compiling takes a minute"
        return
    import jax

    from sim.physics.mjx import MjxOracle
    from sim.tabletop.world import World

    yield "_mjx", f"on {jax.default_backend()}"
    with World() as world, MjxOracle(world) as oracle:
        world.home()
        actions = torch.zeros(1, counts.rollouts, 5, oracle.action_spec.size)
        imagine = partial(oracle.imagine, Belief(torch.from_numpy(world.state)[None]), actions)
        imagine()  # compiles
        start = time.perf_counter()
        imagine()
        yield "mjx/control_steps_per_second", actions.shape[1] * actions.shape[2] / (time.perf_counter() - start)


PARTS: Mapping[str, Part] = {"rates": rates, "parity": parity, "waits": waits, "latency": latency, "training": training, "physics": physics}


def released(device: torch.device) -> LatentVideoModel:
    return checkpoint.load(ROOT / "configs/checkpoints/jaco_s.safetensors", device)


def percent_of_rate(known: Figures, precision: str, flops: int, seconds: float) -> float:
    """Of the product of matrices in the same precision, measured in the same run."""
    return 100 * flops / seconds / (float(known[f"rate/{precision}_tflops"]) * 1e12)


def waiting(device: torch.device) -> Callable[[], None]:
    return partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None


def silent(done: int, total: int) -> None:
    """No progress bar."""


if __name__ == "__main__":
    sys.exit(main())
