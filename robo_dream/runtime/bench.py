"""How long decisions take on this machine, how much work they are, and how both grow."""

import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from itertools import chain, product
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from robo_dream.embodiment import ArmState, Frame, Observation
from robo_dream.errors import ConfigError
from robo_dream.evaluation.latency import line_through, percentiles, product_rate, stolen_seconds, timed, work_of
from robo_dream.imagination import Belief, Goal, Plan, Planner
from robo_dream.models.compiled import Precision, row_runner
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.predictive import PredictiveConfig
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, build_planner, rollouts_a_decision
from robo_dream.schema import Device, configuration

_KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SCALES = {"candidates": (64, 128, 256, 512, 1024, 2048), "horizon": (2, 4, 6, 8, 10), "problems": (1, 2, 4, 8, 16)}


@configuration
class BenchConfig:
    """Which decisions are timed, and how often."""

    checkpoint: Path = Path("configs/checkpoints/jaco_recorded_s.safetensors")
    device: Device = "cpu"
    decisions: Annotated[int, Field(ge=2, le=1_000_000)] = 30  # of each planner
    compiled: tuple[bool, ...] = (False, True)  # plain, compiled, or both one after the other
    precision: tuple[Precision, ...] = ("float32", "bfloat16")  # of matrix products; each one after the other
    threads: Annotated[int, Field(ge=0, le=1_024)] = 0  # of torch; 0 leaves its own choice
    large_search: Annotated[int, Field(ge=0, le=10_000_000)] = 100_000  # candidates of one decision; 0 leaves it out
    planners: Mapping[str, PlanningConfig] = field(
        default_factory=lambda: {
            "policy-guided 128x3x5": PlanningConfig(PolicyGuidedConfig()),
            "cem 300x30x5": PlanningConfig(CemConfig(num_iterations=30)),
        }
    )

    def __post_init__(self) -> None:
        if self.decisions < 2 or not (self.compiled and self.precision and self.planners):
            raise ConfigError(
                f"decisions is {self.decisions} (at least 2); compiled {self.compiled}, precision {self.precision} and planners "
                f"{list(self.planners)} (at least one of each)"
            )


def bench(config: BenchConfig, progress: Callable[[int, int], None]) -> Iterator[str]:
    """What is measured, in lines that come as they are known: all of it takes minutes. Nothing else should run meanwhile."""
    if config.threads:
        torch.set_num_threads(config.threads)
    bench = Bench(config, load_checkpoint_model(config.checkpoint, config.device), progress)
    yield bench.machine()
    yield from chain(bench.decisions(), bench.growth(), bench.large_search())


class Bench:
    """A model, and beliefs and goals to plan with that are as large as real ones."""

    def __init__(self, config: BenchConfig, model: LatentVideoModel, progress: Callable[[int, int], None]) -> None:
        self.config, self.plain, self.progress = config, model, progress
        self.device = torch.device(config.device)
        self.observation = noise_observation(model)

    def synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def machine(self) -> str:
        """What runs this, and how fast it multiplies matrices now."""
        rates = [f"{name} {product_rate(kind, self.device, self.synchronise) / 1e9:.0f}" for name, kind in _KINDS.items()]
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else _processor()
        return (
            f"{name}, {torch.get_num_threads()} threads of torch {torch.__version__}, load {os.getloadavg()[0]:.1f}; "
            f"matrix products, GFLOP/s: {', '.join(rates)}"
        )

    def decisions(self) -> Iterator[str]:
        """The table of decision times."""
        yield f"\n{'decision':<44}{'rollouts':>9}{'p50':>9}{'p95':>9}{'p99 ms':>9}{'GFLOP':>9}{'GB':>7}{'of fp32 rate':>14}{'stolen':>8}"
        rate = product_rate(torch.float32, self.device, self.synchronise)
        for name, planning in self.config.planners.items():
            for compiled, precision in product(self.config.compiled, self.config.precision):
                model = self.plain.running(row_runner(compiled, precision))
                way = f"{name}{', compiled' if compiled else ''}{', bf16' if precision == 'bfloat16' else ''}"
                decide = self.decider(
                    model, build_planner(planning.planner, model, planning.cost, planning.proposals, futures=planning.futures)
                )
                timed(decide, 3, self.synchronise, _silent)  # compiles, and warms up
                start, before = time.perf_counter(), stolen_seconds()
                spent = percentiles(timed(decide, self.config.decisions, self.synchronise, self.progress))
                stolen = (stolen_seconds() - before) / ((os.cpu_count() or 1) * (time.perf_counter() - start))
                plain = build_planner(planning.planner, self.plain, planning.cost, planning.proposals, futures=planning.futures)
                work = work_of(lambda plain=plain: self.decider(self.plain, plain)(0))
                rollouts = rollouts_a_decision(planning.planner, planning.futures)
                yield (
                    f"{way:<44}{rollouts:>9}{spent.p50:>9.1f}{spent.p95:>9.1f}{spent.p99:>9.1f}"
                    f"{work.flops / 1e9:>9.2f}{work.bytes / 1e9:>7.2f}{work.flops / spent.p50 * 1e3 / rate:>14.0%}{stolen:>8.1%}"
                )

    def growth(self) -> Iterator[str]:
        """How time grows with each size, all others held."""
        yield "\nOne iteration of imagining and scoring; time = start + constant x size (R2 of the line):"
        for name, sizes in _SCALES.items():
            seconds, amounts = [], []
            for i, size in enumerate(sizes):
                sample = replace(PredictiveConfig(num_proposals=0), **_sized(name, size))
                problems = size if name == "problems" else 1
                decide = self.searcher(sample, problems)
                timed(decide, 2, self.synchronise, _silent)
                seconds.append(float(np.median(timed(decide, 7, self.synchronise, _silent))))
                amounts.append(sample.num_samples * sample.horizon * problems)
                self.progress(i + 1, len(sizes))
            line = line_through(amounts, seconds)
            yield (
                f"  {name:<11} {sizes[0]} to {sizes[-1]}: {line.start * 1e3:.1f} ms + {line.slope * 1e6:.2f} us for each candidate's "
                f"imagined step (R2 {line.explained:.3f}); {', '.join(f'{value * 1e3:.0f}' for value in seconds)} ms"
            )

    def large_search(self) -> Iterator[str]:
        """Time and memory of one decision over very many candidates."""
        if not self.config.large_search:
            return
        planner = PredictiveConfig(num_samples=self.config.large_search, num_proposals=0, sample_budget=2048)
        before, start = _peak_memory(self.device), time.perf_counter()
        self.searcher(planner, 1)(0)
        self.synchronise()
        grown = _peak_memory(self.device) - before
        yield (
            f"\n{self.config.large_search} candidates in one decision, {planner.sample_budget} at once: "
            f"{time.perf_counter() - start:.1f} s, {grown / 2**20:.0f} MiB more at the peak"
        )

    def decider(self, model: LatentVideoModel, planner: Planner) -> Callable[[int], Plan]:
        """A decision as the loop makes it: the pictures encoded once, the last plan as a start."""
        goal = Goal(model.believe([[noise_observation(model, seed=1)]]).latent)
        last: list[Plan | None] = [None]

        def decide(seed: int) -> Plan:
            plan = planner.plan(model.believe([[self.observation]]), goal, [seed], last[0])
            last[0] = plan
            return plan

        return decide

    def searcher(self, config: PredictiveConfig, num_problems: int) -> Callable[[int], Plan]:
        """A search from given beliefs."""
        planner = build_planner(config, self.plain)
        latent = self.plain.believe([[self.observation]]).latent.expand(num_problems, -1)
        belief: Belief = Belief(latent)
        goal: Goal = Goal(self.plain.believe([[noise_observation(self.plain, seed=1)]]).latent.expand(num_problems, -1))
        return lambda seed: planner.plan(belief, goal, range(seed, seed + num_problems))


def noise_observation(model: LatentVideoModel, seed: int = 0) -> Observation:
    """Pictures of noise and an arm in the middle of its range, in the sizes that `model` asks for."""
    rng, side = np.random.default_rng(seed), model.spec.config.image_size
    frames = {name: Frame(0.0, rng.integers(0, 255, (side, side, 3), dtype=np.uint8), 0) for name in model.cameras}
    joints, pos = np.zeros(6), np.array([0.43, 0.0, 0.15])
    arm = ArmState(0.0, joints, joints, pos, np.array([0.0, 1.0, 0.0, 0.0]), 0.0, 0.0, pos, 0.0, 0.0)
    return Observation(0.0, frames, arm)


def _silent(done: int, total: int) -> None:
    """For what is too short for a progress bar."""


def _sized(name: str, size: int) -> dict[str, int]:
    return {"num_samples": size} if name == "candidates" else {"horizon": size, "num_samples": 256} if name == "horizon" else {}


def _peak_memory(device: torch.device) -> int:
    """Bytes, since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else 'processor'}, {len(names)} cores"
