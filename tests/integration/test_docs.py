"""The pages in docs/ do what they say."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_driver_on_the_page_has_under_60_lines_and_passes_the_conformance_suite(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "adding_an_arm.md").read_text()
    driver, suite = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    num_lines = sum(bool(line.strip()) for line in driver.splitlines())
    assert num_lines < 60 and f"{num_lines} lines" in page.replace("\n", " ")
    (tmp_path / "my_arm.py").write_text(driver)
    (tmp_path / "test_my_arm.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and f"({passed[1]} tests" in page


def test_every_path_that_the_pages_name_is_there() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        for path in re.findall(r"`((?:robo_dream|hardware|sim|benchmarks|configs|tests)/[\w/.]+)`", page.read_text()):
            mine = path.endswith("/mine.py")  # what a reader is to write
            assert mine or (ROOT / path).exists(), f"{page.name} names {path}, which is not there"
