"""`benchmarks/doom.py`: figures over seeds, and what of the file is other commands' stays."""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def doom(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return import_module("doom")


def test_the_headline_is_of_the_temperature_that_did_best_on_other_games(doom: ModuleType) -> None:
    figures = {
        "games": 100.0,
        "random_mean_frames": 300.0,
        "random_std_frames": 100.0,
        "swept_mean_frames": 800.0,
        "swept_std_frames": 400.0,
    }
    figures["seed_0/model_cpu_minutes"] = 5.0
    for seed, (cold, hot) in enumerate(((1000, 700), (900, 800))):
        for stem, real, tuning in (("temperature_0.5", cold, 500), ("temperature_1.3", hot, 600)):
            own = {"real_mean": real, "real_std": 30, "dream_mean": 900, "dream_std": 40, "tuning_mean": tuning}
            figures |= {f"seed_{seed}/{stem}/{name}_frames": float(value) for name, value in own.items()}
    found = doom.over_seeds(figures)
    assert found["best_temperature"] == 1.3 and found["real_mean_frames"] == 750 and found["seeds"] == 2
    assert (found["real_lowest_seed_frames"], found["real_highest_seed_frames"]) == (700, 800)
    assert found["real_std_frames"] == pytest.approx((30**2 + 50**2) ** 0.5)  # of all games, whichever seed played them
    apart = 1.96 * (found["real_std_frames"] ** 2 / 200 + 100**2 / 100) ** 0.5
    assert found["above_random_low"] == pytest.approx(450 - apart) and found["above_swept"] == -50


def test_figures_of_other_commands_stay_in_the_file_and_frames_are_told_to_a_tenth(doom: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "doom.json"
    path.write_text(json.dumps({"_made/short": "python other.py", "short/real_mean_frames": 1.0, "best": 2.0}))
    doom.write(path, "", {"real_mean_frames": 12.3456, "hazard": 0.123456})
    said = json.loads(path.read_text())
    assert (said["short/real_mean_frames"], said["_made/short"]) == (1.0, "python other.py")
    assert "best" not in said and said["real_mean_frames"] == 12.3 and said["hazard"] == 0.1235
    doom.write(path, "second_round/", {"real_mean_frames": 99.0})
    again = json.loads(path.read_text())
    assert again["real_mean_frames"] == 12.3 and again["second_round/real_mean_frames"] == 99.0 and again["short/real_mean_frames"] == 1.0
