"""The shape of the tree: where things lie, how long they are, and what no source may contain."""

import ast
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from robo_dream import __version__

ROOT = Path(__file__).parents[2]
PACKAGES = ("robo_dream", "sim", "hardware")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LAYOUT = {
    "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CITATION.cff", "Makefile", "mkdocs.yml",
    "robo_dream", "sim", "hardware", "plugins", "configs", "docs", "tests", "benchmarks", ".ci",
}  # fmt: skip
BESIDE = {".gitignore", ".github", ".pre-commit-config.yaml"}  # what tools and hosts want at the top
MAX_LINES = 450
FORBIDDEN = {
    r"\bpickle\b": "unpickling runs code; use safetensors, JSON or npy",
    r"\btorch\.(load|save)\b": "unpickles; use safetensors",
    r"allow_pickle\s*=\s*True": "unpickles",
    r"\byaml\.(load|unsafe_load|full_load)\(": "use robo_dream.config",
    r"0\.0\.0\.0": "serves the whole network; bind 127.0.0.1",
    r"from __future__ import annotations": "breaks the shape checks of the test run",
    r"\b(np|numpy)\.random\.seed\(|(?<!\.)\brandom\.seed\(": "seeds globally; use a Generator",
}


def test_no_module_is_longer_than_450_lines() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in SOURCES if path.name != "__init__.py"}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


@pytest.mark.parametrize("pattern", FORBIDDEN, ids=["pickle", "torch.load", "allow_pickle", "yaml.load", "0.0.0.0", "future", "seed"])
def test_no_source_contains_what_is_forbidden(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert found == [], FORBIDDEN[pattern]


def test_torch_is_seeded_only_where_its_random_state_is_put_back() -> None:
    found = []
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        blocks = [node for node in ast.walk(tree) if isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0])]
        allowed = {id(inner) for block in blocks for inner in ast.walk(block)}
        seeding = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ("manual_seed", "manual_seed_all")]
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno}"
            for node in seeding
            if ast.unparse(node.value) in ("torch", "torch.cuda", "torch.random") and id(node) not in allowed
        ]
    assert found == []


def test_the_library_never_prints() -> None:
    printing = re.compile(r"(?<![\w.\"'])print\(|\btqdm\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        if not {"cli", "runtime"} & set(path.parts)  # they talk to the user
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if printing.search(line)
    ]
    assert found == []


def test_no_module_is_named_for_nothing_in_particular() -> None:
    assert not [path for path in SOURCES if path.stem in {"utils", "util", "helpers", "helper", "common", "misc"}]


def test_every_module_begins_with_a_docstring() -> None:
    assert not [str(path.relative_to(ROOT)) for path in SOURCES if not path.read_text().lstrip().startswith('"""')]


def test_the_top_level_is_the_agreed_one() -> None:
    if not ((ROOT / ".git").exists() and shutil.which("git")):
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    top = {line.split("/")[0] for line in listed.stdout.splitlines() if (ROOT / line).exists()}
    assert top - LAYOUT - BESIDE == set()
    assert set(LAYOUT) - top == set()


def test_every_package_is_listed_for_installation() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}
    assert {name for name in packages if not any(fnmatch(name, pattern) for pattern in patterns)} == set()
    assert not [path.parent for path in SOURCES if not (path.parent / "__init__.py").exists()]


def test_citation_and_changelog_know_the_version_and_the_address() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"], citation["url"]) == (__version__, project["license"], project["urls"]["Homepage"])
    releases = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[releases[0] == "Unreleased"] == __version__
