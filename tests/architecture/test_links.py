"""Links of the pages lead somewhere, and files and modules that they name are there; addresses outside are not tried."""

import importlib
import re
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob(".github/**/*.md"), *ROOT.glob("docs/**/*.md")])
NAMED = re.compile(r"(?<![\w/.])(?:robo_dream|sim|hardware|benchmarks|configs|tests|docs|\.ci)/[\w./*-]*\w")
DOTTED = re.compile(r"(?<![\w/.])(?:robo_dream|sim|hardware|benchmarks)(?:\.[A-Za-z_]\w*)+")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|(?:src|href)=\"([^\"]+)\"")


def prose(page: Path) -> str:
    """The page without its blocks and pieces of code."""
    return re.sub(r"`[^`\n]*`", "", without_blocks(page.read_text(encoding="utf-8")))


def without_blocks(text: str) -> str:
    return re.sub(r"^( *)(```|~~~).*?^\1\2", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as hosts and mkdocs make them, and those that it sets itself."""
    text = without_blocks(page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+\s+(.*?)\s*#*$", text, re.MULTILINE)
    own = {*re.findall(r"\{[^}]*#([\w-]+)[^}]*\}", text), *re.findall(r"(?:id|name)=\"([^\"]+)\"", text)}
    return own | {slug for heading in headings for slug in slugs(heading)}


def slugs(heading: str) -> tuple[str, str]:
    """GitHub's and mkdocs's way: they differ in letters beyond ASCII and in repeated hyphens."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"\s*\{[^}]*\}$", "", heading)).replace("`", "").lower()
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"), re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    broken = []
    for link in [first or second for first, second in LINK.findall(prose(page))]:
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target.suffix == ".md" and DOCS in page.parents and DOCS in target.parents:
            continue  # `make docs` tries these, those that it makes itself included
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_modules_that_a_page_names_are_there(page: Path) -> None:
    """In code, where they are named; what a reader is to write is called mine or my_arm. A changelog tells of what was."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^( *)(```|~~~)\w*\n(.*?)^\1\2", text, re.MULTILINE | re.DOTALL)
    code = [*(block for _, _, block in blocks), *re.findall(r"`([^`\n]+)`", without_blocks(text))]
    missing = [path for piece in code for path in NAMED.findall(piece) if not is_readers_own(path) and not any(ROOT.glob(path))]
    missing += [name for piece in code for name in DOTTED.findall(piece) if not is_there(name)]
    assert not missing


def is_readers_own(path: str) -> bool:
    return bool(re.search(r"mine|my_arm|MY|NAME|VERB|page\.yaml|recorded\.yaml", path))


def is_there(name: str) -> bool:
    """A module, or something of one; a file's name with dots is none."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_a_name_that_is_not_there_is_found() -> None:
    assert is_there("robo_dream.safety.guard.Guard") and not is_there("robo_dream.safety.guard.Gard") and not is_there("sim.arms")
    assert NAMED.findall("see sim/adapters/catalogue.py.") == ["sim/adapters/catalogue.py"]


def test_the_tests_that_a_page_names_are_there() -> None:
    known = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = {name: page.name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))}
    assert named and {name: page for name, page in named.items() if name not in known} == {}
