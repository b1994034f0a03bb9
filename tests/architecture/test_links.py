"""Links between the pages, and from them into the repository, lead somewhere; addresses outside are not tried."""

import re
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob(".github/**/*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|(?:src|href)=\"([^\"]+)\"")


def prose(page: Path) -> str:
    """The page without its blocks and pieces of code."""
    text = re.sub(r"^( *)(```|~~~).*?^\1\2", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as hosts and mkdocs make them, and those that it sets itself."""
    text = re.sub(r"^( *)(```|~~~).*?^\1\2", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
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
