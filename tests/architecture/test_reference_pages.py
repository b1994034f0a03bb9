"""The reference pages of the site are made from the code; they have every verb and every key."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from robo_dream.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "docs" / "reference_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_verb_has_its_help(reference: ModuleType) -> None:
    page = reference.command_line_page()
    assert all(f"## robo-dream {verb.name}\n" in page and f"usage: robo-dream {verb.name}" in page for verb in main.VERBS)


def test_every_block_that_a_key_names_has_a_section(reference: ModuleType) -> None:
    page = reference.configuration_page()
    headings = {heading.lower() for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", page)) <= headings
    assert all(f"`{key}`" in page for key in ("num_samples", "object_yaw", "muon_lr", "max_tool_error", "world"))


def test_every_page_of_the_api_has_a_module(reference: ModuleType) -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for name, text in reference.pages().items():
        assert name in navigation
        assert not name.startswith("reference/api/") or "\n::: " in text
