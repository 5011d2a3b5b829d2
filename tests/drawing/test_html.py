"""What all pages have in common: a closed head, escaped text, one way to write figures."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest

from knee.drawing import palette
from knee.drawing.html import data_uri, environment, render

ROOT = Path(__file__).parents[2] / "knee"
TEMPLATES = sorted(file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*.j2"))
PAGES = [
    name for name in TEMPLATES if name.endswith(".html.j2") and not name.startswith("drawing/")
]


def written(template: str, **values: object) -> str:
    return environment().from_string(template).render(values)


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_template_beside_its_module_is_found_and_compiles(name: str) -> None:
    environment().get_template(name)


@pytest.mark.parametrize("name", PAGES)
def test_each_page_has_the_one_head(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text.startswith('{% extends "drawing/base.html.j2" %}')
    own = text.replace("<script>{{ script }}</script>", "")  # inline, allowed by its digest
    assert not re.search(r"<(head|meta|script|link)\b|https?:", own)


def test_the_head_lets_a_page_load_and_run_nothing() -> None:
    page = render("drawing/base.html.j2")
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert not re.search(r"<script|<link|https?:|url\(|@import", page)


def test_synthetic_data_and_a_leaky_split_are_in_the_head_of_any_page() -> None:
    page = render("drawing/base.html.j2", synthetic=True, leaky=True)
    assert "<title>SYNTHETIC: " in page
    assert page.count('<p class="shout">') == 2
    assert '<p class="shout">' not in render("drawing/base.html.j2")


def test_the_palette_of_pages_is_the_palette_of_charts() -> None:
    page = render("drawing/base.html.j2")
    for number, (light, dark) in enumerate(zip(palette.ON_LIGHT, palette.ON_DARK, strict=True)):
        assert re.findall(rf"--c{number}: (#\w+);", page) == [light, dark]
    assert len(palette.ON_LIGHT) == len(palette.OKABE_ITO)


def test_values_are_escaped_and_none_may_be_missing() -> None:
    assert written("{{ x }}", x="<b>'") == "&lt;b&gt;&#39;"
    with pytest.raises(jinja2.UndefinedError):
        written("{{ x }}")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ 0.3546 | percent }}", "35.5\N{NO-BREAK SPACE}%"),
        ("{{ 0 | percent }}", "0\N{NO-BREAK SPACE}%"),
        ("{{ none | percent }}", "-"),
        ("{{ 0.5 | decimal }}", "0.500"),
        ("{{ none | decimal }}", "-"),
        ("{{ 12345 | thousands }}", "12,345"),
        ("{{ 'macro_f1' | words }}", "macro f1"),
        ("{{ 0.25 | place }}", "25.0"),
        ("{{ 1.7 | place }}", "100.0"),
        ("{{ none | place }}", "0.0"),
    ],
)
def test_figures_are_written_in_one_way(template: str, text: str) -> None:
    assert written(template) == text


def test_a_data_uri_holds_the_content() -> None:
    assert data_uri(b"\x00\x01", "image/png") == "data:image/png;base64,AAE="
