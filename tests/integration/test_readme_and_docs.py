"""Everything that README.md and docs/ tell a reader to run, runs; or says in a comment before it why a test does not run it.

A block of Python is a test file of its own and is run by pytest, or executed where it has no tests. A line of shell is taken apart: the
program parses it and loads its configuration, files and extras that it names are there. A block of YAML loads as the configuration that
its first line names. `<!-- not run: reason -->` directly before a block excuses it; blocks of `text` are no code.
"""

import importlib
import logging
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from robo_dream import config
from robo_dream.cli import main
from robo_dream.errors import RoboDreamError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
_EXCUSE = re.compile(r"<!-- not run: (\S[^>]*) -->\n *$")
SUITES = {"MyArm": 8, "MyCamera": 4, "ToTheMiddle": 1, "Shooting": 8, "TestMine": 10}  # class: at least so many tests of its page pass
MY_WORLD = "{kind: mine, env: push"  # of the page on environments; a world that is there stands in for it
A_WORLD = "{kind: dm_control, env: reacher"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    excuse: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            inside = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
            excuse = _EXCUSE.search(text[: match.start()])
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(str(page.relative_to(ROOT)), line, match["language"], inside, excuse[1] if excuse else None))
    return found


BLOCKS = blocks()
PYTHON = [block for block in BLOCKS if block.language == "python" and block.excuse is None]


def shell_lines() -> list[tuple[str, str]]:
    """Each command with where it stands."""
    return [
        (str(block), line.strip())
        for block in BLOCKS
        if block.language == "bash" and block.excuse is None
        for line in block.text.replace("\\\n", " ").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]


def test_every_block_is_in_a_language_that_is_tried_here_or_says_why_not() -> None:
    unknown = [str(block) for block in BLOCKS if block.language not in ("python", "bash", "yaml", "text") and block.excuse is None]
    assert not unknown, f"give these blocks a language that is tried here, or `<!-- not run: reason -->` before them: {unknown}"
    assert len(BLOCKS) > 30


def test_the_python_on_a_page_passes_as_tests_of_its_page(tmp_path: Path) -> None:
    """The blocks of a page lie in one folder under the names that their first lines give, so that one imports another."""
    for block in PYTHON:
        named = re.match(r'"""(\w+\.py)\b', block.text)
        folder = tmp_path / Path(block.page).stem.replace("-", "_").replace(".", "_")
        folder.mkdir(exist_ok=True)
        is_test = "class Test" in block.text or "def test_" in block.text
        name = named[1] if named else f"{'test_' if is_test else 'example_'}{block.line}.py"
        (folder / (f"test_{name}" if is_test and not name.startswith("test_") else name)).write_text(block.text)
    passed = ""
    for folder in sorted(tmp_path.iterdir()):
        if list(folder.glob("test_*.py")):
            passed += _output("-m", "pytest", "-v", "-p", "no:cacheprovider", "-W", "ignore", f"--rootdir={folder}", str(folder))
        for example in sorted(folder.glob("example_*.py")):
            _output(str(example))
    for name, least in SUITES.items():
        page = next(block.page for block in PYTHON if f"class {name}" in block.text)
        folder = Path(page).stem.replace("-", "_")
        assert len(re.findall(rf"{folder}/test_\S+::\S* PASSED", passed)) >= least, f"{name} of {page}"


def _output(*arguments: str) -> str:
    """What Python prints, run at the root of the repository."""
    environment = {"MUJOCO_GL": "egl", **os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_driver_on_the_page_has_as_few_lines_as_it_says() -> None:
    page = (ROOT / "docs" / "guides" / "add-an-arm.md").read_text()
    driver = next(block.text for block in PYTHON if block.text.startswith('"""my_arm.py'))
    num_lines = sum(bool(line.strip()) for line in driver.splitlines())
    assert num_lines < 60 and f"{num_lines} lines" in page.replace("\n", " ")


@pytest.mark.parametrize(("where", "line"), shell_lines())
def test_a_command_is_one_that_can_be_given(where: str, line: str, caplog: pytest.LogCaptureFixture) -> None:
    for part in " ".join(shlex.split(line, comments=True)).split(" && "):
        words = part.split()
        match words[0].removeprefix(".venv/bin/"):
            case "robo-dream":
                _takes(shlex.split(line, comments=True)[1:], caplog)
            case "make":
                targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
                assert {word for word in words[1:] if "=" not in word} <= targets, where
            case "python" | "python3":
                assert (ROOT / words[1]).is_file(), f"{where}: {words[1]} is not there"
            case "pip":
                _extras_are_there(part)
            case program:
                pytest.fail(f"{where}: {program} is not tried here; say why not with `<!-- not run: reason -->` before the block")


def _takes(arguments: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """The verb takes these arguments, and its configuration loads by today's names; files that a run leaves need not be there."""
    args = main.parse(arguments)
    module = importlib.import_module(main.module_of(args.verb))
    if not hasattr(args, "config"):
        return
    path = args.config
    if path is None and args.verb == "run" and args.twin:
        path = Path("configs/hardware") / f"{args.twin}_twin.yaml"
    with caplog.at_level(logging.DEBUG):
        config.load(module.CONFIG, None if path is None else ROOT / path, args.overrides)
    assert not caplog.records, f"an old name: {caplog.text}"


def _extras_are_there(command: str) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for names in re.findall(r"(?:robo-dream|\.)\[([\w,-]+)\]", command):
        assert set(names.split(",")) <= set(known), f"{command}: extras are {sorted(known)}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in ("bash",) and "pip install" in block.text], ids=str)
def test_the_extras_that_a_page_installs_are_there(block: Block) -> None:
    _extras_are_there(block.text)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml" and block.excuse is None], ids=str)
def test_a_configuration_on_a_page_loads(block: Block, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    named = re.match(r"# configs/(\w+)/\w+\.yaml\n", block.text)
    assert named, f"{block}: begin with `# configs/VERB/NAME.yaml`, or say why it is not run"
    verb = {"hardware": "run"}.get(named[1], named[1])
    path = tmp_path / "page.yaml"
    path.write_text(block.text.replace(MY_WORLD, A_WORLD))
    with caplog.at_level(logging.DEBUG):
        config.load(importlib.import_module(f"robo_dream.cli.{verb}").CONFIG, path, ())
    assert not caplog.records, f"an old name: {caplog.text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_paths_of_a_page_are_there(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert _is_generated(linked) or linked.exists(), f"{target}: there is no {linked}"
        if anchor and linked.suffix == ".md" and not _is_generated(linked):
            assert anchor in _anchors(linked), f"{target}: {linked.name} has {sorted(_anchors(linked))}"
    for named in re.findall(r"`((?:robo_dream|hardware|sim|benchmarks|configs|tests|docs)/[\w/.-]+)`", text):
        mine = "mine" in named or "my_arm" in named  # what a reader is to write
        assert mine or (ROOT / named).exists(), f"it names {named}, which is not there"


def _is_generated(path: Path) -> bool:
    """Pages that the site makes from the code: see docs/reference_pages.py."""
    return path.is_relative_to(ROOT / "docs" / "reference") and path.name != "api.md"


def _anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_the_readme_is_a_page() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    columns = [line.count("|") - 1 for line in lines if re.match(r"\|[-|]+\|$", line)]
    assert columns and max(columns) <= 6


def test_every_page_of_the_docs_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    missing = [str(page.relative_to(ROOT / "docs")) for page in PAGES[1:] if str(page.relative_to(ROOT / "docs")) not in navigation]
    assert not missing


def test_the_errors_of_a_command_are_the_programs_own() -> None:
    """The check of commands would see a key that does not exist."""
    with pytest.raises(RoboDreamError, match="num_pears"):
        config.load(importlib.import_module("robo_dream.cli.evaluate").CONFIG, None, ["num_pears=3"])
