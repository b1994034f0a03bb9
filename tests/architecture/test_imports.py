"""What may import what, and what importing does: nothing but define names."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = ROOT / "configs" / "constraints.txt"
PACKAGES = ("robo_dream", "sim", "hardware")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
DISTRIBUTION = {  # import name: distribution, where they differ
    "PIL": "pillow", "yaml": "pyyaml", "OpenGL": "mujoco", "dm_control": "dm-control", "dm_env": "dm-control", "glfw": "mujoco",
    "fast_simplification": "fast-simplification", "mujoco_menagerie": "mujoco-menagerie", "rerun": "rerun-sdk",
    "rtde_control": "ur-rtde", "rtde_receive": "ur-rtde", "xarm": "xarm-python-sdk", "franky": "franky-control",
}  # fmt: skip
OF_TESTS = {"pytest", "hypothesis", "beartype"}  # what robo_dream/testing may import: its users run it under pytest


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if value}  # of OMP_NUM_THREADS="" OpenMP complains
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Top-level names that the file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_imports_go_down_the_layers() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def imports_of(path: Path, modules: dict[str, Path]) -> set[str]:
    """The project's modules that a file imports anywhere in it, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found & set(modules) if modules[name].name != "__init__.py"} - {module_name(path)}


def test_no_module_leads_back_to_itself() -> None:
    modules = {module_name(path): path for path in SOURCES}
    imports = {name: imports_of(path, modules) for name, path in modules.items()}

    def reached(start: str) -> set[str]:
        seen, left = set(), list(imports[start])
        while left:
            if (name := left.pop()) not in seen:
                seen.add(name)
                left += imports[name]
        return seen

    assert sorted(name for name in modules if name in reached(name)) == []


@pytest.mark.parametrize(
    "name",
    [
        "hardware",
        "robo_dream",
        "robo_dream.embodiment",
        "robo_dream.config",
        "robo_dream.recording",
        "robo_dream.cli.main",
        "robo_dream.runtime.serving.wire",
    ],
)
def test_a_robots_computer_can_import_it_without_torch_jax_or_mujoco(name: str) -> None:
    done = python(f"import sys, {name}; print(*{{'torch', 'jax', 'mujoco', 'dm_control'}} & set(sys.modules))")
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_run_whose_planner_is_elsewhere_needs_no_torch() -> None:
    done = python(
        "import sys; sys.modules['torch'] = None; import robo_dream.cli.run, robo_dream.runtime.session, robo_dream.runtime.serving.remote"
    )
    assert done.returncode == 0, done.stderr


def test_the_configuration_needs_no_numpy() -> None:
    assert python("import sys, robo_dream.config; print('numpy' in sys.modules)").stdout.strip() == "False"


def test_importing_everything_prints_nothing_seeds_nothing_opens_nothing_and_changes_no_environment() -> None:
    names = [module_name(path) for path in SOURCES]
    done = python(f"""
import os, random, socket, sys
import numpy, torch
import mujoco, dm_control, gymnasium  # what these do on import is theirs
def refuse(*args, **kwargs): raise AssertionError("a module opens a connection on import")
socket.socket.connect = refuse
def global_state(): return random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), dict(os.environ), \
    torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
before = global_state()
import importlib
for name in {names}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError) or str(error.name).split(".")[0] in {PACKAGES}: raise
assert global_state() == before, "importing changed the global state"
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def distribution(requirement: str) -> str:
    """The name in `name[extra]>=1.2`."""
    return re.split(r"[\[><=]", requirement)[0].lower()


def test_every_import_is_a_declared_dependency() -> None:
    extras = [name for extra, names in PROJECT["optional-dependencies"].items() if extra != "dev" for name in names]
    declared = {distribution(name) for name in [*PROJECT["dependencies"], *extras]}
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for name in imported(path) - set(sys.stdlib_module_names) - set(PACKAGES)
        if DISTRIBUTION.get(name, name).lower() not in declared and not (name in OF_TESTS and "testing" in path.parts)
    }
    assert not undeclared


def pinned() -> dict[str, str]:
    """Distribution: version, as configs/constraints.txt has them."""
    return dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if not line.startswith("#"))


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def test_the_installed_versions_are_the_pinned_ones() -> None:
    if os.environ.get("ROBO_DREAM_ANY_VERSIONS"):
        pytest.skip("other versions than the tested ones are being tried")
    pins = pinned()
    installed = {d.metadata["Name"].lower().replace("_", "-"): d.version.split("+")[0] for d in metadata.distributions()}
    assert {name: installed[name] for name in pins if name in installed} == {name: pins[name] for name in pins if name in installed}


def test_every_direct_dependency_has_a_lower_bound_and_is_pinned_within_it() -> None:
    pins = pinned()
    for requirement in [name for names in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()) for name in names]:
        wanted = re.fullmatch(r"[\w.-]+(?:\[[\w,]+\])?>=([\d.]+)", requirement)
        assert wanted, f"{requirement} has no lower bound"
        assert numbers(pins[distribution(requirement)]) >= numbers(wanted[1]), requirement


def test_every_pin_is_exact_once_and_in_order() -> None:
    names = [line.split("==")[0] for line in CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    assert names == sorted(set(names))
