"""`robo-dream replay` as a writer of files, on a run made with the released checkpoint, and what does not go together."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from robo_dream.cli import main
from robo_dream.control.decision import decision_of, goal_record
from robo_dream.data.cache import open_dataset
from robo_dream.embodiment import ArmState, Frame, Observation
from robo_dream.imagination import Belief, Goal
from robo_dream.models import checkpoint
from robo_dream.recording.record import RunRecord, read_run
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.evaluate import EvaluateConfig
from robo_dream.runtime.pictures import write_pictures
from robo_dream.viewer.video import VideoConfig

torch = pytest.importorskip("torch")
PATH, SIDE = EvaluateConfig().checkpoint, 96


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two decisions of the policy alone, and the eleven control steps around them, with noise for pictures."""
    from robo_dream.planning.baselines import PolicyAloneConfig
    from robo_dream.runtime.model import load_checkpoint_model
    from robo_dream.runtime.planner import build_planner

    root = tmp_path_factory.mktemp("run") / "record"
    model = load_checkpoint_model(PATH)
    planner, goal = build_planner(PolicyAloneConfig(horizon=3), model), Goal(torch.zeros(1, model.spec.config.latent))
    rng, zeros = np.random.default_rng(0), np.zeros(6)
    pictures = {name: rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for name in model.cameras}
    about = {
        "task": "push", "seed": 0, "checkpoint": str(PATH), "checkpoint_sha256": checkpoint.sha256(PATH),
        "action_spec": model.action_spec.to_json(),
    }  # fmt: skip

    def seen(step: int) -> Observation:
        arm = ArmState(0.1 * step, zeros, zeros, zeros[:3], np.array([0.0, 1, 0, 0]), 0.0, 0.0, zeros[:3], 0.0, 0.0)
        return Observation(0.1 * step, {name: Frame(0.1 * step, image, step) for name, image in pictures.items()}, arm)

    with RunWriter(root, about, goal_record(goal, pictures)) as writer:
        for step in range(10):
            if step % 5 == 0:
                belief = Belief(0.1 * torch.randn(1, model.spec.config.latent, generator=torch.Generator().manual_seed(step)))
                plan = planner.plan(belief, goal, [step])
                writer.on_decision(decision_of(plan, 0, step, 0.1 * step, belief, goal))
            writer.on_step(seen(step), np.zeros(5, np.float32), np.zeros(5, np.float32))
        writer.finish(seen(10), {"moderate": True, "strict": False, "distances": [0.1] * 11})
    return root


def test_one_command_writes_every_kind_of_file(record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("--mp4", "run.mp4", "--png", "run.png", "--html", "run.html", "--lerobot", "data")
    words = [word if word.startswith("--") else str(tmp_path / word) for word in names]
    assert main.main(["replay", str(record), *words]) == 0
    out = capsys.readouterr().out
    assert all(str(tmp_path / name) in out for name in names[1::2])
    with av.open(str(tmp_path / "run.mp4")) as video:
        assert video.streams.video[0].frames == 11 + 10  # the end stands for two seconds
    with Image.open(tmp_path / "run.png") as sheet:
        assert sheet.width >= 5 * SIDE and sheet.height >= 4 * SIDE
    assert main.main(["replay", str(record.parent), "--decision", "7", "--png", str(tmp_path / "one.png")]) == 0
    with Image.open(tmp_path / "one.png") as sheet:
        assert sheet.height > 2 * 2 * SIDE and sheet.width > 190 + 5 * SIDE
    data = open_dataset(tmp_path / "data", ("front", "side"))
    assert data.num_episodes == 1 and data.num_frames == 11
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "one.png", "run.html", "run.mp4", "run.png"]


def test_rerun_too(record: Path, tmp_path: Path) -> None:
    rerun = pytest.importorskip("rerun", reason="rerun is not installed: pip install 'robo-dream[rerun]'")
    assert main.main(["replay", str(record), "--rerun", str(tmp_path / "run.rrd")]) == 0
    reader = rerun.chunk.RrdReader(str(tmp_path / "run.rrd"))
    assert len(reader.recordings()) == 1
    assert {"/decisions/000005/plan/front", "/world/futures/plan"} <= {chunk.entity_path for chunk in reader.stream()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--recompute", "--png", "a.png"], "--recompute answers a question and --png writes a file"),
        (["--what-if", "seed=3", "--decision", "5", "--mp4", "a.mp4"], "--what-if answers a question"),
        (["--port", "8700", "--mp4", "a.mp4"], "--port is about the page, which --mp4 does not open"),
        (["--decision", "5", "--mp4", "a.mp4"], "--decision belongs to --recompute, --what-if and --png"),
        (["--out", "a.png", "--recompute"], "--out is where --what-if leaves its picture"),
        (["--mp4", "a.avi"], "its name must end in .mp4"),
        (["--rerun", "a"], "its name must end in .rrd"),
        (["--decision", "99", "--png", "a.png"], "there are decisions at 0, 5"),
        (["--mp4", "a.mp4", "--checkpoint", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(words: list[str], said: str, record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["replay", str(record), *words]) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err and not Path("a.png").exists() and not Path("a.mp4").exists()


def test_only_a_dataset_takes_several_runs(record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["replay", str(record), str(record)]) == 2
    assert "2 runs are given; only --lerobot takes several" in capsys.readouterr().err
    assert main.main(["replay", str(record), str(record), "--lerobot", str(tmp_path / "data")]) == 0
    assert open_dataset(tmp_path / "data").num_episodes == 2


def test_a_run_from_before_its_actions_were_described_asks_its_checkpoint(record: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    for path in record.rglob("*.*"):
        (old / path.relative_to(record)).parent.mkdir(parents=True, exist_ok=True)
        (old / path.relative_to(record)).write_bytes(path.read_bytes())
    about = json.loads((old / "run.json").read_text())
    del about["action_spec"]
    (old / "run.json").write_text(json.dumps(about))
    assert main.main(["replay", str(old), "--lerobot", str(tmp_path / "data")]) == 0
    assert open_dataset(tmp_path / "data").spec.action_spec.kind == "tool_move"


def test_an_episode_counts_though_its_pictures_find_no_room(record: Path, tmp_path: Path) -> None:
    """A full disk, as `robo-dream plan` meets it after the arm has stopped; a file stands where the folder would be."""
    (tmp_path / "taken").write_text("")
    run = read_run(record)

    def draw(latents: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.zeros((len(latents), SIDE, SIDE, 3), np.uint8) for name in run.cameras}

    for kept in (run, RunRecord(run.root, run.about, run.goal, (), (), None)):
        video, sheet = write_pictures(tmp_path / "taken" / "x", kept, draw, VideoConfig(), [0.1] * 11, "success")
        assert video.startswith("not written: ") and sheet.startswith("not written: ")
