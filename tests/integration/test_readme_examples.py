"""The Python of the README runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
SECTIONS = {"MyArm": 8, "MyCamera": 4, "ToTheMiddle": 1, "Shooting": 8}  # class: at least so many tests run


def test_the_readme_shows_an_arm_a_camera_a_task_and_a_planner() -> None:
    assert all(sum(f"class {name}" in example for example in EXAMPLES) == 1 for name in SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_an_example_passes_its_conformance_suite(name: str, tmp_path: Path) -> None:
    example = next(example for example in EXAMPLES if f"class {name}" in example)
    path = tmp_path / "test_example.py"
    path.write_text(example)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) >= SECTIONS[name]


def test_every_other_example_is_python_that_imports(tmp_path: Path) -> None:
    for example in EXAMPLES:
        if not any(f"class {name}" in example for name in SECTIONS):
            subprocess.run([sys.executable, "-c", example], cwd=ROOT, check=True, timeout=120)
