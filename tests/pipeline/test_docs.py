"""The docs name only files, modules and pages that exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
CODE = [
    file
    for top in ("knee", "stages", "tests", "benchmarks", "conf")
    for file in (ROOT / top).rglob("*")
    if file.suffix in (".py", ".yaml", ".j2", ".html")
]
REMOVED = {f"benchmarks.{name}" for name in ("copies_by_eye", "depth_maps", "levers")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_and_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    modules = set(re.findall(r"python -m ((?:knee|stages|benchmarks)[\w.]*\w)", text)) - REMOVED
    assert not [name for name in modules if importlib.util.find_spec(name) is None]
    files = re.findall(r"\b((?:knee|stages|tests|docs|conf)/[\w/]+\.(?:py|md|yaml|csv|png))", text)
    assert not [name for name in files if not (ROOT / name).exists()]
    short = re.findall(r"(?<![\w/.-])[\w/]+(?:\.html)?\.(?:py|j2)\b", text)  # such as net/heads.py
    assert not [name for name in short if not any(str(f).endswith(f"/{name}") for f in CODE)]


def test_every_page_that_code_names_exists() -> None:
    texts = [file.read_text(encoding="utf-8") for file in (*CODE, ROOT / "Makefile")]
    named = {name for text in texts for name in re.findall(r"docs/\w+\.md", text)}
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]
