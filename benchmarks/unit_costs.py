"""What one frame, one shard and one step of training cost here, and what that makes of two million episodes and size L, on paper.

    python benchmarks/unit_costs.py     # writes docs/results/unit_costs.json; some minutes on one core, 1 GB of disk

Measured, the best of some passes: episodes of configs/collect/jaco.yaml are played, kept as PNG and as video, decoded and read again, and a
shard is sent through a server that speaks S3 on this machine (extras s3, s3-tests); steps of configs/train/jaco_s.yaml are done with
frames of noise, and the products of matrices in them are counted, for L too: in two small batches, which tell what grows with the batch and
what does not (Muon's). `assumed/` is what was not measured: how long an episode of such data is, what a link carries, and what a GPU of a
data centre reaches. `oxe/` is arithmetic with both.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("MUJOCO_GL", "egl")

import numpy as np
import torch
from gpu_check import noise_frames, released, stepper
from results_file import write_figures

from robo_dream import store
from robo_dream.config import load
from robo_dream.data.cache import Datasets, build_cache, open_dataset, picture_bytes, shard_root
from robo_dream.data.reader import Dataset
from robo_dream.data.streamed import SHARD_BYTES
from robo_dream.data.writer import DatasetWriter
from robo_dream.evaluation.latency import work_of
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.collect import CollectConfig, collect, dataset_spec, seeds_of
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.config import TrainingConfig
from robo_dream.training.dream import DreamBatches, dream_losses
from robo_dream.training.frames import model_spec, pictures
from robo_dream.training.representation import Batches, representation_losses
from robo_dream.training.stage import stage_of

ROOT = Path(__file__).parents[1]
ASSUMED = {
    "episodes": 2_000_000,
    "frames_an_episode": 120,
    "link_gigabits": 10.0,
    "gpu_bf16_tflops": 790.0,  # of products of matrices
    "gpu_share_reached": 0.3,  # of them, in training
    "rounds": 10,  # over the data
    "L_windows": 1024,  # in a batch of the representation
}
_FEW = (2, 4)  # windows in a batch
Figures = dict[str, float | int]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="of each stage of training")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/unit_costs.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder, Bars({}, "parts", "part") as bars:
        parts = (partial(data, Path(folder), args.episodes), partial(many_rows, Path(folder)), transfer, partial(training, args.steps))
        for done, part in enumerate(parts, 1):
            figures |= part()
            bars(done, len(parts))
    figures |= {f"assumed/{key}": value for key, value in ASSUMED.items()}
    figures |= on_paper(figures)
    write_figures(args.out, {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in figures.items()})
    print(f"{args.out} written")
    return 0


def data(folder: Path, num_episodes: int) -> Figures:
    """Seconds and bytes a frame (two cameras of 96 x 96): encoded, decoded into the cache, and read from it by chance."""
    found: Figures = {}
    for storage in ("image", "video"):
        config = load(
            CollectConfig, ROOT / "configs/collect/jaco.yaml",
            [f"out={folder}/{storage}", f"storage={storage}", f"num_episodes={num_episodes}", "workers=1"],
        )  # fmt: skip
        list(collect(config, dataset_spec(config), seeds_of(config)))
        source = open_dataset(config.out)
        frames = source.num_frames
        passes = [(_seconds(partial(_read, source)), _core_seconds(partial(_read, source))) for _ in range(3)]
        found[f"{storage}/decode_ms_a_frame"] = 1e3 * min(wall for wall, _ in passes) / frames
        found[f"{storage}/decode_core_ms_a_frame"] = 1e3 * min(core for _, core in passes) / frames
        stored = sum(path.stat().st_size for path in shard_root(config.out, 0).rglob("*.parquet"))
        stored += sum(path.stat().st_size for path in shard_root(config.out, 0).rglob("*.mp4"))
        found[f"{storage}/stored_bytes_a_frame"] = stored / frames
        caching = (_seconds(partial(build_cache, source, folder / f"cache_{storage}_{number}", workers=1)) for number in range(3))
        found[f"{storage}/cache_ms_a_frame"] = 1e3 * min(caching) / frames
        cache = build_cache(source, folder / f"cache_{storage}_0")
        found["picture_bytes_a_frame"] = picture_bytes(source) / frames
        numbers = sum(path.stat().st_size for path in (folder / f"cache_{storage}_0").rglob("*.npy") if "images" not in path.name)
        found["number_bytes_a_frame"] = numbers / frames
        rng = np.random.default_rng(0)
        began = time.perf_counter()
        for _ in range(50):
            for name in cache.cameras:
                pictures(cache.images[name], rng.integers(frames, size=64))
        found["read_us_a_frame"] = 1e6 * (time.perf_counter() - began) / (50 * 64)
    return found


def many_rows(folder: Path, num_episodes: int = 400) -> Figures:
    """What an episode costs a reader before anything of it is read: its row of metadata, of which opening a dataset reads all."""
    part = Dataset.open(shard_root(folder / "image", 0))
    spec = replace(part.spec, cameras=(), sim_state_size=0)
    short = part.episode(0)
    short = replace(
        short, images={}, proprio=short.proprio[:3], actions=short.actions[:2], object_pose=short.object_pose[:3],
        sim_state=np.zeros((3, 0)), times=short.times[:3], skill=short.skill[:3],
    )  # fmt: skip
    with DatasetWriter(folder / "rows", spec) as writer:
        began = time.perf_counter()
        for _ in range(num_episodes):
            writer.append(short)
        append = (time.perf_counter() - began) / num_episodes
    began = time.perf_counter()
    opened = Dataset.open(folder / "rows")
    assert len(opened) == num_episodes
    return {"open_us_an_episode": 1e6 * (time.perf_counter() - began) / num_episodes, "append_ms_an_episode": 1e3 * append}


def transfer(repeats: int = 5) -> Figures:
    """Seconds a shard of as many bytes as are decoded at a time: the best of some, by a server in Python on this machine."""
    content = np.random.default_rng(0).integers(0, 256, SHARD_BYTES, dtype=np.uint8).tobytes()
    with s3_server():
        store.filesystem("s3").mkdir("bucket")
        path = store.place("s3://bucket/shard")
        put = min(_seconds(lambda: store.replace_file(path, content)) for _ in range(repeats))
        got = min(_seconds(lambda: store.read_bytes(path)) for _ in range(repeats))
        small = store.place("s3://bucket/small")
        store.replace_file(small, content[:10_000])
        asked = min(_seconds(lambda: store.read_bytes(small)) for _ in range(4 * repeats))
    return {
        "shard_MiB": SHARD_BYTES >> 20, "put_s_a_shard": put, "get_s_a_shard": got,
        "get_MB_per_second": SHARD_BYTES / got / 1e6, "get_ms_a_small_file": 1e3 * asked,
    }  # fmt: skip


@contextmanager
def s3_server() -> Iterator[None]:
    code = (
        "import time\nfrom moto.server import ThreadedMotoServer\nserver = ThreadedMotoServer('127.0.0.1', 0, verbose=False)\n"
        "server.start()\nprint(server.get_host_and_port()[1], flush=True)\ntime.sleep(3600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            os.environ |= {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(server.stdout.readline())}", "AWS_ACCESS_KEY_ID": "x",
                "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1",
            }  # fmt: skip
            yield
        finally:
            server.terminate()


def _read(source: Datasets) -> None:
    for episode in source:
        assert episode.num_frames


def _core_seconds(call: Callable[[], object]) -> float:
    """Of all threads of this process: what it costs beside other work."""
    began = time.process_time()
    call()
    return time.process_time() - began


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def training(steps: int) -> Figures:
    """Seconds a step of S as the released configuration has it, and what is multiplied in a step of S and of L: always, and a window."""
    base = load(TrainConfig, ROOT / "configs/train/jaco_s.yaml").training
    found: Figures = {"representation/windows": base.representation.batch_windows, "dream/windows": base.dream.batch}
    found["representation/pictures_a_window"] = base.representation.unroll + 2
    for size in ("S", "L"):
        config = replace(base, model=replace(base.model, size=size))
        (few, model), (more, _) = (stages_of(_of_windows(config, windows)) for windows in _FEW)
        found[f"{size}/million_parameters"] = sum(one.numel() for one in model.parameters()) / 1e6
        found[f"{size}/latent_bytes_a_frame"] = 4 * model.spec.config.latent
        for name in few:
            counted = [work_of(partial(stages[name], 0)).flops / 1e12 for stages in (few, more)]
            slope = (counted[1] - counted[0]) / (_FEW[1] - _FEW[0])
            found[f"{size}/{name}/tflop_a_window"] = slope
            found[f"{size}/{name}/tflop_always"] = counted[0] - _FEW[0] * slope
    for name, step in stages_of(base)[0].items():
        found[f"S/{name}/tflop_a_step"] = work_of(partial(step, 0)).flops / 1e12
        found[f"S/{name}/seconds_a_step"] = min(_seconds(partial(step, number)) for number in range(steps))
    return found


def _of_windows(config: TrainingConfig, windows: int) -> TrainingConfig:
    return replace(
        config, representation=replace(config.representation, batch_windows=windows), dream=replace(config.dream, batch=windows)
    )  # fmt: skip


def stages_of(config: TrainingConfig) -> tuple[Mapping[str, Callable[[int], None]], LatentVideoModel]:
    cache = noise_frames(released(torch.device("cpu")), 64)
    model = LatentVideoModel(model_spec(cache, config.model)).train()
    windows = Batches(cache, config)
    dreams = DreamBatches(cache, config, torch.zeros(cache.num_frames, model.spec.config.latent))
    ones = [1.0] * len(cache.cameras)
    learned = torch.nn.ModuleList([model.dynamics, model.inverse_dynamics, model.temporal_distance, model.pose_head])
    return {
        "representation": stepper(
            stage_of("representation", config.representation), model,
            lambda step: representation_losses(model, windows(step), config, ones, np.random.default_rng(step)), None,
        ),
        "dream": stepper(
            stage_of("dream", config.dream), learned, lambda step: dream_losses(model, model.temporal_distance, dreams(step), config), None
        ),
    }, model  # fmt: skip


def on_paper(known: Mapping[str, float | int]) -> Figures:
    """Of two million episodes."""
    frames = ASSUMED["episodes"] * ASSUMED["frames_an_episode"]
    found: Figures = {"oxe/million_frames": frames / 1e6, "oxe/decoded_TB": frames * known["picture_bytes_a_frame"] / 1e12}
    found["oxe/numbers_GB"] = frames * known["number_bytes_a_frame"] / 1e9
    found["oxe/opening_minutes"] = ASSUMED["episodes"] * known["open_us_an_episode"] / 60e6
    for storage in ("image", "video"):
        stored = frames * known[f"{storage}/stored_bytes_a_frame"]
        found[f"oxe/{storage}/stored_TB"] = stored / 1e12
        found[f"oxe/{storage}/decode_core_hours"] = frames * known[f"{storage}/decode_core_ms_a_frame"] / 3.6e6
        found[f"oxe/{storage}/link_hours"] = stored * 8 / (ASSUMED["link_gigabits"] * 1e9) / 3600
    pictured = known["representation/pictures_a_window"]
    windows = ASSUMED["rounds"] * frames / pictured
    found["oxe/million_windows"] = windows / 1e6
    here = known["S/representation/seconds_a_step"] / known["representation/windows"]
    found["oxe/S/representation_core_years_here"] = windows * here / (365.25 * 86_400)
    step = known["L/representation/tflop_always"] + ASSUMED["L_windows"] * known["L/representation/tflop_a_window"]
    steps, rate = windows / ASSUMED["L_windows"], ASSUMED["gpu_bf16_tflops"] * ASSUMED["gpu_share_reached"]
    found["oxe/L/representation_tflop_a_step"] = step
    found["oxe/L/representation_gpu_hours"] = steps * step / rate / 3600
    for size in ("S", "L"):
        found[f"oxe/{size}/latents_GB"] = frames * known[f"{size}/latent_bytes_a_frame"] / 1e9
    pace = rate / step * ASSUMED["L_windows"] * pictured
    found["oxe/L/frames_per_second_a_gpu"] = pace
    for storage in ("image", "video"):
        found[f"oxe/L/{storage}/decoding_cores_a_gpu"] = pace * known[f"{storage}/decode_core_ms_a_frame"] / 1e3
    return found


if __name__ == "__main__":
    sys.exit(main())
