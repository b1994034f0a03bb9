"""One training on two processes: `python benchmarks/ddp.py` (about 3 minutes; `--speed-only` 2; writes docs/results/ddp.json; Linux).

Speed: two processes, each on one thread and pinned to a core of its own, take steps of configs/train/jaco_s.yaml on noise, in turn, again
and again: the first alone with the whole batch, then both with half of it each. `speedup_2` is the median ratio of the rates of the
representation stage; the other stages' stand beside it. `core_seconds_ratio` compares core time instead, of one process with that of each
of two: what is won where nobody waits, for the other or for a core that other programs use.

Results: a small training (of `train_kill.py`) by one process, by torchrun on two, by torchrun when one of the two is killed, and across two
network namespaces (as root), each a machine of its own to torchrun. `off/...` is how far any of its logged losses is from one process's,
relative to the loss (or to 0.01, where that is more).
"""

import argparse
import copy
import json
import multiprocessing as mp
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
import torch.distributed as dist
from gpu_check import noise_frames, released
from results_file import write_figures
from torch import Tensor, nn
from train_kill import overrides, write_data

from robo_dream.config import load
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.dream import DreamBatches, dream_losses, policy_losses
from robo_dream.training.frames import model_spec
from robo_dream.training.optimiser import optimisers
from robo_dream.training.policy import PolicyBatches
from robo_dream.training.processes import ALONE, Processes, SharedBatchNorm
from robo_dream.training.representation import Batches, representation_losses
from robo_dream.training.stage import learn, stage_of

ROOT = Path(__file__).parents[1]
STAGES = ("representation", "dream", "policy")
STEPS = {"representation": 1, "dream": 2, "policy": 8}  # of a turn
SPACES = ("robo-dream-0", "robo-dream-1")


def steppers(among: Processes) -> Mapping[str, tuple[Callable[[int], Tensor], Sequence[Tensor]]]:
    """A step of each stage of the training that jaco_s was made by, and what learns in it."""
    config = load(TrainConfig, ROOT / "configs/train/jaco_s.yaml", ["training.policy.skills=[]"]).training
    cache = noise_frames(released(torch.device("cpu")), 120)
    model = LatentVideoModel(model_spec(cache, config.model), config.seed).train()
    if among.count > 1:
        model.encoder.scale = SharedBatchNorm(model.encoder.scale, among)
    latents, seen = (torch.zeros(len(cache.actions), width) for width in (model.spec.config.latent, model.spec.num_seen))
    windows, dreams = Batches(cache, config, among), DreamBatches(cache, config, latents, among)
    pairs, ones = PolicyBatches(cache, config, seen, among=among), [1.0] * len(cache.cameras)
    target = copy.deepcopy(model.temporal_distance)
    learned = nn.ModuleList([model.dynamics, model.inverse_dynamics, model.temporal_distance, model.pose_head])
    found: dict[str, tuple[Callable[[int], Tensor], Sequence[Tensor]]] = {}
    for name, trained, stage, losses in (
        ("representation", model, config.representation,
         lambda step: representation_losses(model, windows(step), config, ones, np.random.default_rng(step))),
        ("dream", learned, config.dream, lambda step: dream_losses(model, target, dreams(step), config)),
        ("policy", model.policy, config.policy, lambda step: policy_losses(model, pairs(step))),
    ):  # fmt: skip
        parameters, rate = list(trained.parameters()), stage_of(name, stage)
        rates = list(optimisers(parameters, rate.learning_rate, rate.muon_lr, rate.weight_decay, among))

        def step(
            number: int,
            parameters: Sequence[Tensor] = parameters,
            rates: Sequence[torch.optim.Optimizer] = rates,
            losses: Callable[[int], Mapping[str, Tensor]] = losses,
        ) -> Tensor:
            return learn(parameters, rates, losses(number), among)

        found[name] = (step, parameters)
    return found


def timed_on(rank: int, folder: str, rounds: int) -> None:
    """One of the two processes; the first writes what it measured."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(minutes=10))
    both, alone = steppers(among := Processes(rank, 2)), steppers(ALONE) if rank == 0 else {}
    found: dict[str, list[float]] = {}
    for number in range(-1, rounds):  # the first is not counted
        for name in STAGES:
            for who, step in (("one", alone[name][0] if alone else None), ("two", both[name][0])):
                among.wait()
                began, worked = time.perf_counter(), time.process_time()
                for one in range(STEPS[name] if step is not None else 0):
                    step(STEPS[name] * number + one + STEPS[name])  # type: ignore[misc]
                worked = time.process_time() - worked
                among.wait()
                if number >= 0:
                    found.setdefault(f"{name}/{who}", []).append((time.perf_counter() - began) / STEPS[name])
                    found.setdefault(f"{name}/{who}/core", []).append(worked / STEPS[name])
    for name in STAGES:
        gradients = [parameter for parameter in both[name][1] if parameter.grad is not None]
        among.wait()
        began = time.perf_counter()
        for _ in range(5):
            among.average_gradients(gradients)
        found[f"{name}/message"] = [(time.perf_counter() - began) / 5, sum(4 * one.numel() for one in gradients) / 2**20]
    if rank == 0:
        (Path(folder) / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def speed(folder: Path, rounds: int) -> Iterator[tuple[str, float]]:
    """Medians over rounds, which other work on the machine disturbs; of ratios those of neighbours in time."""
    workers = [mp.get_context("spawn").Process(target=timed_on, args=(rank, str(folder), rounds)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = json.loads((folder / "found.json").read_text())
    for name in STAGES:
        one, two = (np.array(found[f"{name}/{who}"]) for who in ("one", "two"))
        ratios = one / two
        yield ("speedup_2" if name == "representation" else f"{name}/speedup_2"), round(float(np.median(ratios)), 3)
        core = (np.median(found[f"{name}/{who}/core"]) for who in ("one", "two"))
        yield f"{name}/core_seconds_ratio", round(float(next(core) / next(core)), 3)
        yield f"{name}/speedup_2_p25", round(float(np.percentile(ratios, 25)), 3)
        yield f"{name}/speedup_2_p75", round(float(np.percentile(ratios, 75)), 3)
        for who, seconds in (("one", one), ("two", two)):
            yield f"{name}/steps_per_second_{who}", round(float(1 / np.median(seconds)), 3)
        yield f"{name}/message_ms", round(1e3 * found[f"{name}/message"][0], 2)
        yield f"{name}/message_MiB", round(found[f"{name}/message"][1], 2)


def curves(out: Path) -> dict[tuple[str, int, str], float]:
    """Every logged loss, by stage and step; of a step that was done twice the last time's."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    beside = ("stage", "step", "time", "steps_per_second", "gradient")
    return {
        (row["stage"], row["step"], name): value
        for row in rows if row["stage"] != "held_out"
        for name, value in row.items() if name not in beside
    }  # fmt: skip


def off(out: Path, alone: Path) -> float:
    one, other = curves(alone), curves(out)
    if one.keys() != other.keys():
        raise RuntimeError(f"{out} logged {len(other)} losses, and {alone} {len(one)}")
    return max(abs(other[key] - value) / max(abs(value), 0.01) for key, value in one.items())


def launched(words: Sequence[str], *flags: str, space: str | None = None) -> subprocess.Popen[bytes]:
    """torchrun with `robo-dream train`, in a network namespace if one is named."""
    inside = [] if space is None else ["ip", "netns", "exec", space, "env", "GLOO_SOCKET_IFNAME=robo0"]
    command = [*inside, sys.executable, "-m", "torch.distributed.run", *flags, "-m", "robo_dream.cli.main", "train", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def ended(*started: subprocess.Popen[bytes]) -> None:
    for one in started:
        _, said = one.communicate(timeout=600)
        if one.returncode:
            raise RuntimeError(f"torchrun ended with {one.returncode}: {said.decode()[-3000:]}")


def kill_second(torchrun: int) -> None:
    """SIGKILL for the process of rank 1."""
    for child in (Path("/proc") / str(torchrun) / "task" / str(torchrun) / "children").read_text().split():
        if "\0RANK=1\0" in (Path("/proc") / child / "environ").read_text():
            os.kill(int(child), signal.SIGKILL)


@contextmanager
def namespaces() -> Iterator[None]:
    """Two with a wire between them: 10.77.0.1 and 10.77.0.2."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    try:
        for space in SPACES:
            ip("netns", "add", space)
        ip("link", "add", "robo0", "netns", SPACES[0], "type", "veth", "peer", "name", "robo0", "netns", SPACES[1])
        for number, space in enumerate(SPACES):
            ip("-n", space, "addr", "add", f"10.77.0.{number + 1}/24", "dev", "robo0")
            for device in ("lo", "robo0"):
                ip("-n", space, "link", "set", device, "up")
        yield
    finally:
        for space in SPACES:
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)


def results(folder: Path, steps: int) -> Iterator[tuple[str, float]]:
    """How far what torchrun trains is from what one process does."""
    data = write_data(folder / "data")
    outs = {name: folder / name for name in ("one", "two", "killed", "namespaces")}
    words = {name: [*overrides(data, out, steps), "training.log_steps=1"] for name, out in outs.items()}
    subprocess.run([sys.executable, "-m", "robo_dream.cli.main", "train", *words["one"]], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    ended(launched(words["two"], "--standalone", "--nproc-per-node=2"))
    yield "off/two_processes", off(outs["two"], outs["one"])
    run = launched(words["killed"], "--standalone", "--nproc-per-node=2", "--max-restarts=1")
    while not (outs["killed"] / "dream.state.safetensors").exists() and run.poll() is None:
        time.sleep(0.01)
    kill_second(run.pid)
    ended(run)
    yield "off/killed_and_restarted", off(outs["killed"], outs["one"])
    if os.geteuid() == 0:
        with namespaces():
            static = ("--nnodes=2", "--nproc-per-node=1", "--master-addr=10.77.0.1", "--master-port=29400")
            ended(*(launched(words["namespaces"], *static, f"--node-rank={rank}", space=SPACES[rank]) for rank in (0, 1)))
        yield "off/two_namespaces", off(outs["namespaces"], outs["one"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=8, help="of each stage of the small trainings")
    parser.add_argument("--speed-only", action="store_true", help="keep what the file says of results")
    parser.add_argument("--results-only", action="store_true", help="keep what the file says of speed")
    parser.add_argument("--out", type=Path, default=Path("docs/results/ddp.json"))
    args = parser.parse_args()
    kept = json.loads(args.out.read_text()) if args.out.is_file() else {}
    figures: dict[str, float | int | str | None] = {key: value for key, value in kept.items() if not key.startswith("_")}
    with tempfile.TemporaryDirectory() as folder:
        if not args.speed_only:
            for key, value in results(Path(folder), args.steps):
                print(f"{key}: {value:.2g}", flush=True)
                figures[key] = float(f"{value:.2g}")
        if not args.results_only:
            load_before = os.getloadavg()[0]
            for key, value in speed(Path(folder), args.rounds):
                print(f"{key}: {value}", flush=True)
                figures[key] = value
            figures["load_before"], figures["rounds"] = round(load_before, 1), args.rounds  # of other work: 0 is a quiet machine
    write_figures(args.out, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
