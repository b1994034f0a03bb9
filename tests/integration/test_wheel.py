"""The wheel, built and installed as a stranger would have it: it plans from an empty folder, with the files that come with it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOES_IN = ("robo_dream", "sim", "hardware", "configs", "pyproject.toml", "README.md", "LICENSE")
MAX_SIZE = 30 * 2**20  # bytes


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command that sees neither this checkout nor what PYTHONPATH says."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source, out = folder / "source", folder / "dist"
    source.mkdir()
    for name in GOES_IN:  # a copy: building leaves build/ and *.egg-info behind, and reads what an earlier build left
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    offline = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", out, source, cwd=folder)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment that holds the wheel, and sees the libraries of this one but not its editable install."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment)
    programs = environment / "bin"
    pip = (sys.executable, "-m", "pip", "--python", programs / "python")
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=environment)
    site_packages = environment / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "libraries.pth").write_text("\n".join(sorted(libraries)) + "\n")  # .pth files inside of these are not read
    return programs


def test_the_wheel_holds_the_demo_and_no_other_weights_and_is_small(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    weights = {name for name in names if name.startswith("robo_dream/configs/checkpoints/") and name.endswith(".safetensors")}
    assert weights == {"robo_dream/configs/checkpoints/jaco_recorded_s.safetensors"}
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"robo_dream", "sim", "hardware"}
    assert {f"{package}/py.typed" for package in ("robo_dream", "sim", "hardware")} <= names
    assert wheel.stat().st_size < MAX_SIZE


def test_the_wheel_holds_every_configuration_and_manifest_of_the_repository(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configurations = {*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("configs/manifests/**/*.safetensors")}
    assert {f"robo_dream/{path.relative_to(ROOT)}" for path in configurations} - names == set()


def test_an_installed_robo_dream_plans_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import robo_dream; print(robo_dream.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    printed = run(installed / "robo-dream", "plan", "task=reach", cwd=tmp_path)
    assert "reach" in printed
    assert list(tmp_path.glob("runs/plan/*/reach-*/video.mp4"))


COMMANDS = ["plan --config configs/plan/demo.yaml", "run --twin ur5e", "evaluate --config configs/evaluate/jaco.yaml"]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_installed_robo_dream_finds_its_configurations_from_an_empty_folder(installed: Path, tmp_path: Path, command: str) -> None:
    assert run(installed / "robo-dream", *command.split(), "--show-config", cwd=tmp_path)
