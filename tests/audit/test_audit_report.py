"""The report: whole, closed to the outside, bounded, and without names where it has to be."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from knee.audit import audit_charts, audit_facts, audit_pictures, audit_report, shortcut_scores
from knee.records.file_names import compile_patterns
from knee.statistics.bootstrap import Bootstrap
from knee.storage.arrays import Pixels
from tests import browser
from tests.records.tables import records

NO_NAMES = compile_patterns([])

LIMITS = audit_report.Limits(conflicts=10, groups=3, images=8, thumbnail_pixels=48, megabytes=2.0)
PROTOCOL = shortcut_scores.ShortcutProtocol(
    folds=3, repeats=1, permutations=9, alarm_level=0.2, seed=0, bootstrap=Bootstrap(50, 0.95, 0)
)
HOSTILE = "class0/<script>alert(1)</script>\"'><img src=x onerror=y>.png"
PATIENT = "0123456789abcdef"


def table(count: int = 40) -> pd.DataFrame:
    """Records of two classes; 0 and 1 are one radiograph under both labels, 2 and 4 are copies."""
    frame = records([n % 2 for n in range(count)], list(range(count)))
    frame["picture"] = frame["picture"].replace({1: 0, 4: 2})
    frame["group"] = frame["picture"]
    frame["patient"] = PATIENT
    frame.loc[0, "source"] = HOSTILE
    frame.loc[:1, "status"] = "quarantined"
    frame.loc[:1, "reason"] = "the same picture stands under class0, class1"
    return frame


def images(count: int = 40, side: int = 64) -> Pixels:
    """Noise, darker and lighter by class."""
    noise = np.random.default_rng(0).integers(0, 100, (count, side, side))
    return (noise + 60 * (np.arange(count) % 2)[:, np.newaxis, np.newaxis]).astype(np.uint8)


def subject(frame: pd.DataFrame | None = None, **changes: Any) -> audit_report.Subject:
    frame = table() if frame is None else frame
    used = frame[frame["status"] == "used"].drop_duplicates("picture")
    split = pd.DataFrame({"record": frame["record"], "subset": "train", "fold": 0})
    split.loc[split.index % 4 > 1, "subset"] = "test"
    split = split.assign(group=frame["group"])
    pixels = images(len(frame))
    facts = {"synthetic": False, "split_protocol": "grouped"}
    facts |= audit_facts.facts(frame, split, NO_NAMES)
    facts |= audit_facts.shortcut_facts(frame, split, pixels, used, PROTOCOL, 1000)
    originals = np.ones(len(frame), np.bool_)
    known = {**facts, **changes}
    about = ("folder", "/home/jane/films", "2026-01-31")
    return audit_report.Subject(frame, originals, used, pixels, known, 0.95, 0.2, 0, *about)


@pytest.fixture(scope="module")
def made() -> tuple[str, str]:
    return audit_report.pages(subject(), LIMITS)


@pytest.mark.parametrize(
    ("unknown", "said"),
    [(40, "patient of no image is known"), (10, "of 10 of 40 images is unknown"), (0, "")],
)
def test_both_pages_say_of_how_many_images_no_patient_is_known(unknown: int, said: str) -> None:
    frame = table()
    frame.loc[frame.index < unknown, "patient"] = ""
    for page in audit_report.pages(subject(frame), LIMITS):
        text = " ".join(page.split())
        assert ("PATIENTS UNKNOWN" in text) == bool(said)
        assert text.count(said) >= 2
        assert "figure good" not in text.split("of the test images")[0][-80:]


def test_only_the_page_with_names_says_where_and_when(made: tuple[str, str]) -> None:
    named, public = made
    assert "folder, 2026-01-31, <code>/home/jane/films</code>" in named
    assert 'href="index.html"' in named
    assert "anything is learned from it: folder." in public
    assert "jane" not in public
    assert "index.html" not in public


class Tags(HTMLParser):
    """Every start tag with its attributes, and that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br", "path"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "path":
            assert self.open.pop() == tag


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    assert parser.open in ([], ["p"])
    return parser.found


def test_the_report_loads_and_runs_nothing(made: tuple[str, str]) -> None:
    for page in made:
        for tag, attributes in tags(page):
            assert tag not in {"script", "link", "iframe", "object", "form", "base"}
            assert not [name for name in attributes if name.startswith("on")]
            for name in ("src", "href"):
                value = attributes.get(name)
                assert value is None or value.startswith(
                    ("data:image/jpeg;base64,", "#", "index.html")
                )
        assert "default-src 'none'" in page
        assert not re.search(r"https?:|url\(|@import", page)


@pytest.mark.skipif(browser.program() is None, reason="Chromium is not installed")
def test_a_page_with_long_names_fits_a_phone(made: tuple[str, str], tmp_path: Path) -> None:
    for name, page in zip(("named", "public"), made, strict=True):
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
        assert browser.overflow(tmp_path / f"{name}.html") == 0


def test_hostile_file_names_are_text(made: tuple[str, str]) -> None:
    named, public = made
    assert (
        html.escape(HOSTILE.removeprefix("class0/"))
        .replace("&#x27;", "&#39;")
        .replace("&quot;", "&#34;")
        in named
    )
    assert "alert(1)" not in public


def test_the_public_report_names_records_and_no_file(made: tuple[str, str]) -> None:
    named, public = made
    assert "0001.png" in named
    assert not re.search(r"\d{4}\.png|script&gt;", public)
    assert "record 1<" in public


def test_no_report_shows_a_patients_hash(made: tuple[str, str]) -> None:
    for page in made:
        assert PATIENT not in page


def test_a_reason_that_holds_a_name_loses_it_in_the_public_report() -> None:
    frame = table()
    frame.loc[3, ["status", "reason"]] = ["rejected", "0003.png and class1/0003.png: 0003 is odd"]
    named, public = audit_report.pages(subject(frame), LIMITS)
    assert "0003.png and class1/0003.png" in named
    assert "0003" not in public
    assert "the file and the file: the file is odd" in public


def test_the_public_report_keeps_numbers_of_a_reason_that_a_files_name_has_too() -> None:
    frame = table()
    frame.loc[3, ["source", "status", "reason"]] = ["class1/2.png", "rejected", "12 x 20 px is odd"]
    assert "12 x 20 px is odd" in audit_report.pages(subject(frame), LIMITS)[1]


def test_conflicts_come_first_with_images_and_labels_side_by_side(made: tuple[str, str]) -> None:
    page = made[0]
    assert page.index('id="conflicts"') < page.index('id="copies"') < page.index('id="shortcuts"')
    part = page[page.index('id="conflicts"') : page.index('id="copies"')]
    assert "class0 or class1" in part
    assert re.findall(r"<b>(class\d)</b>", part) == ["class0", "class1"]
    assert part.count("<img ") == 2


def test_decisions_about_labels_are_counted_on_both_pages(made: tuple[str, str]) -> None:
    frame = table().assign(decision="")
    frame.loc[[3, 5, 7], "decision"] = ["kept", "excluded", "relabelled from class0"]
    for page, before in zip(audit_report.pages(subject(frame), LIMITS), made, strict=True):
        assert "1 kept, 1 relabelled,\n1 excluded files" in page
        assert "has decided about" not in before


def test_figures_stand_in_plain_words(made: tuple[str, str]) -> None:
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", made[0], flags=re.S)
    text = " ".join(text.split())
    assert "40 files" in text
    assert "38 different radiographs" in text
    assert re.search(r"\b1 of these radiographs has more than one label", text)


def test_synthetic_data_and_a_leaky_split_are_shouted() -> None:
    loud = subject(synthetic=True, split_protocol="random")
    for page in audit_report.pages(loud, LIMITS):
        assert '<p class="shout">SYNTHETIC DATA.' in page
        assert '<p class="shout">LEAKY SPLIT.' in page
    assert '<p class="shout">' not in audit_report.pages(subject(), LIMITS)[0]


def test_the_report_keeps_to_its_size_and_says_what_is_missing() -> None:
    tight = dataclasses.replace(LIMITS, megabytes=0.02, images=40)
    page = audit_report.pages(subject(), tight)[0]
    thumbnails = re.findall(r'src="(data:[^"]+)"', page)
    assert sum(len(uri) for uri in set(thumbnails)) <= 0.02 * audit_report.MEGABYTE
    assert "no room in this report" in page
    assert "audit.report_megabytes is the limit" in page


def test_thumbnails_are_the_canonical_pixels_reduced() -> None:
    pixels = images(2)
    thumbnails = audit_pictures.Thumbnails(pixels, 32, 100_000)
    uri = thumbnails.of(1)
    content = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(content)) as image:
        assert (image.size, image.mode) == ((32, 32), "L")
        assert abs(np.asarray(image, float).mean() - pixels[1].mean()) < 3
    assert thumbnails.of(1) == uri


def test_the_same_data_make_the_same_page(made: tuple[str, str]) -> None:
    assert audit_report.pages(subject(), LIMITS) == made


def test_data_without_conflicts_copies_or_shortcuts_say_so() -> None:
    frame = records([0, 1], [0, 1])
    page = audit_report.pages(subject(frame), LIMITS)[0]
    for sentence in (
        "No radiograph has two labels",
        "Every file is a radiograph of its own",
    ):
        assert sentence in page
    assert "Not measured" in page
    assert "every file is used" in page


def test_an_origin_is_listed_with_its_labels() -> None:
    frame = table().assign(origin=["<A>", "B"] * 20)
    page = audit_report.pages(subject(frame), LIMITS)[0]
    assert "<td>&lt;A&gt;</td>" in page
    assert "Which hospital, device or collection" in page


def test_outlines_have_equal_areas_and_stay_in_their_box() -> None:
    values = np.concatenate([np.linspace(0, 1, 50), np.linspace(0.4, 0.6, 500)])
    indices = np.repeat([0, 1], [50, 500])
    names = ["a"] * 50 + ["b"] * 500
    made = audit_charts.distribution("x", "", values, indices, names)
    areas = []
    for outline in made.outlines:
        tops = [float(top) for top in re.findall(r"V([\d.]+)H", outline.path)]
        assert all(0 <= top <= 100 for top in tops)
        areas.append(sum(100 - top for top in tops))
        assert 0 <= outline.median_percent <= 100
    assert areas[0] == pytest.approx(areas[1], rel=0.05)


def test_a_quantity_with_one_value_is_a_sentence() -> None:
    made = audit_charts.distribution("x", "px", np.full(4, 224.0), np.arange(4) % 2, list("abab"))
    assert (made.constant, made.outlines) == ("224", ())
