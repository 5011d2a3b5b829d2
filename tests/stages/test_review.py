"""Doubtful labels: on one page, decided by keys, saved, and applied by ingest."""

from __future__ import annotations

import html
import json
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knee.evidence.evaluation import predictions
from knee.records.records_table import read_records
from knee.storage import artifacts
from stages import review
from tests import browser
from tests.films import CLASSES, GOOD, NO_SHEET, PARAMS, encoded, fill, film, settings, taken_in

NO_DECISIONS = NO_SHEET.with_name("no_decisions.csv")
HOSTILE = "Normal/<script>alert(1)</script>.png"
FILMS = {
    **GOOD,
    "Normal/same.png": GOOD["Osteopenia/0.png"],  # one radiograph under two labels
    "Normal/reduced.png": encoded(film(1).resize((90, 112))),  # a copy of Normal/1 by its look
    HOSTILE: encoded(film(50)),
}
SUSPECT = "Osteoporosis/2.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The films, taken in; a model that has not seen SUSPECT takes it for Normal."""
    fill(tmp_path / "films", FILMS)
    records = taken_in(tmp_path / "films", tmp_path, settings(image_size_pixels=32))
    kept = records[records["status"] == "used"].drop_duplicates("picture")
    right = np.where(kept["source"] == SUSPECT, 0.02, 0.8)
    shares = np.repeat((1 - right)[:, None] / 2, 3, axis=1)
    shares[np.arange(len(kept)), kept["class_index"]] = right
    shares[kept["source"] == SUSPECT] = [0.9, 0.08, 0.02]
    columns = ["record", "pixel_sha256", "group", "origin", "class_index", "label"]
    for repeat, name in enumerate(("mobilenet", "xception")):
        table = predictions.with_probabilities(kept[columns], shares, CLASSES)
        artifacts.write_text(
            tmp_path / "metrics" / name / "out_of_fold.csv",
            artifacts.as_csv(table.assign(repeat=repeat)),
        )
    return tmp_path


def page(root: Path, decisions: Path = NO_DECISIONS) -> Path:
    made = root / "reports" / "review.html"
    words = {
        "params": PARAMS,
        "records": root / "records.csv",
        "pixels": root / "pixels",
        "joins": root / "copy_joins.csv",
        "decisions": decisions,
        "metrics": root / "metrics",
        "page-out": made,
    }
    assert review.main([f"--{name}={value}" for name, value in words.items()]) == 0
    return made


def test_doubtful_labels_are_on_it_once_by_kind_and_nothing_can_run(root: Path) -> None:
    made = page(root)
    text = made.read_text(encoding="utf-8")
    assert re.findall(r'<h2 id="(\w+)">[^<]+<span class="faint">(\d+)', text) == [
        ("conflict", "1"),
        ("suspect", "1"),
        ("join", "1"),
    ]
    plain = " ".join(text.split())
    assert "<b>Normal 90.0 %</b>, its label 2.0 %" in plain
    assert SUSPECT in text
    assert "<script>alert" not in text
    (source,) = re.findall(r"script-src ('sha256-[^']+')", text)
    assert text.count("<script>") == 1
    assert source
    assert not re.findall(r"(?:src|href)=.https?:", text)
    assert page(root).read_text(encoding="utf-8") == text


def test_a_label_is_for_all_copies_and_an_exclusion_for_the_joined_image_alone(root: Path) -> None:
    text = page(root).read_text(encoding="utf-8")
    join = text[text.index('<h2 id="join"') :]
    found = re.findall(r'data-(rows|excluded)="([^"]+)"', join)
    rows, excluded = (json.loads(html.unescape(value)) for _, value in found)
    records = read_records(root / "records.csv").set_index("source")
    pixels = records["pixel_sha256"]
    assert excluded == [[pixels["Normal/reduced.png"], "Normal"]]
    assert sorted(rows) == sorted([*excluded, [pixels["Normal/1.png"], "Normal"]])


def test_without_cross_validation_no_label_is_suspected(root: Path) -> None:
    for file in (root / "metrics").rglob("out_of_fold.csv"):
        file.write_text(file.read_text().splitlines()[0] + "\n")
    text = page(root).read_text(encoding="utf-8")
    assert "No model was cross-validated" in text
    assert '<h2 id="suspect">Labels that the models contradict <span class="faint">0' in text


@pytest.mark.skipif(browser.program() is None, reason="Chromium is not installed")
def test_decided_by_keys_kept_by_the_browser_saved_and_applied(root: Path) -> None:
    saved = root / "decisions.csv"
    with browser.Browser() as shown:
        shown.downloads_to(root)
        shown.open(page(root).as_uri())
        for key in ("j", "2", "j", "x", "c"):  # the conflict is Osteopenia; the suspect goes
            shown.press(key)
        shown.write("=1+1, a report card")
        for key in ("Enter", "s"):
            shown.press(key)
        assert "Give your name" in shown.value("said.textContent")
        assert not saved.exists()
        shown.write("Dr. A")
        shown.value("window.old = true")
        shown.open(page(root).as_uri())  # as after an accident
        shown.wait("!window.old && document.readyState === 'complete'")
        assert shown.value("progress.textContent") == "2 of 3 decided"
        shown.press("s")
        wait_for(saved)
        assert not shown.faults
        assert {url.split(":")[0] for url in shown.requested} <= {"file", "data", "blob"}
    table = pd.read_csv(saved, keep_default_na=False)
    assert sorted(table["decision"]) == ["exclude", "keep", "relabel"]
    assert set(table["who"]) == {"Dr. A"}
    assert sorted(set(table["why"])) == ["", "'=1+1, a report card"]

    again = taken_in(root / "films", root, settings(image_size_pixels=32), decisions=saved)
    assert again.loc["Normal/same.png", "label"] == "Osteopenia"
    assert again.loc["Normal/same.png", "status"] == "used"
    assert again.loc[SUSPECT, "reason"] == "excluded by a reviewer"
    assert again.loc[SUSPECT, "decision"] == "excluded"
    untouched = [name for name in GOOD if name not in (SUSPECT, "Osteopenia/0.png")]
    assert (again.loc[untouched, "decision"] == "").all()
    assert (again.loc[untouched, "status"] == "used").all()
    assert list(read_records(root / "records.csv"))[-1] == "decision"

    second = root / "second"
    with browser.Browser() as shown:  # the next page saves what was decided before, too
        shown.downloads_to(second)
        shown.open(page(root, saved).as_uri())
        assert shown.value("document.querySelectorAll('#decided ~ .items .item').length") == 2
        shown.press("s")
        wait_for(second / "decisions.csv")
    pd.testing.assert_frame_equal(
        pd.read_csv(second / "decisions.csv", keep_default_na=False).sort_values("pixel_sha256"),
        table.sort_values("pixel_sha256"),
        check_like=True,
    )


def wait_for(file: Path, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not file.is_file() or not file.read_bytes().endswith(b"\n"):
        assert time.monotonic() < end, f"never saved: {file}"
        time.sleep(0.05)


@pytest.mark.skipif(browser.program() is None, reason="Chromium is not installed")
def test_the_page_fits_a_phone(root: Path) -> None:
    assert browser.overflow(page(root)) == 0
