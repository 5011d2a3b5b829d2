"""The page that a run ends with: it leads to all others, and is closed to the outside."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from knee.records import records_table
from stages import summarize
from tests import browser, shards
from tests.promotion.test_verdict import MODEL, REGISTERED, compared, told
from tests.records.tables import records

HOSTILE = "class0/<script>alert(1)</script>'\".png"
CLASSES = ("class0", "class1")

ENDS = {name: {"low": 0.25, "high": 0.75} for name in ("accuracy", "macro_f1", "mean")}
SUBGROUPS = {
    "minimum_groups": 20,
    "estimated": [
        {"name": "sex F", "records": 30, "groups": 22, "accuracy": 0.5, "macro_f1": 0.4}
        | {"confidence_interval": ENDS}
    ],
    "too_small": [{"name": "origin <b>", "records": 4, "groups": 3}],
}
PART = {"records": 9, "mean": 0.5, "confidence_interval": ENDS}
T_SCORE_ERROR = {**PART, "contradicting": 1, "per_class": {"class0": PART}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve images of two classes; the model takes the first of each for the other."""
    number = np.arange(12)
    table = records((number % 2).tolist(), number.tolist())
    table.loc[0, "source"] = HOSTILE
    records_table.write_records(table, tmp_path / "records.csv")
    shards.save(tmp_path / "pixels", np.full((12, 32, 32), 90, np.uint8))
    right = np.where(number < 2, 0.1, 0.9)
    test = table[["record", "source", "pixel_sha256", "group", "class_index", "label"]].assign(
        subset="test",
        predicted=[CLASSES[(n + (n < 2)) % 2] for n in number],
        probability_class0=np.where(number % 2 == 0, right, 1 - right),
        probability_class1=np.where(number % 2 == 1, right, 1 - right),
    )
    metrics = tmp_path / "metrics" / MODEL
    metrics.mkdir(parents=True)
    test.to_csv(metrics / "predictions.csv", index=False)
    interval = {"expected_calibration_error": {"low": 0.05, "high": 0.2}}
    sets = {"level": 0.9, "coverage": 0.92, "singletons": 0.7}
    report = {"records": 12, "confidence_interval": interval, "conformal": sets}
    report |= {"expected_calibration_error": 0.1, "quadratic_kappa": 0.7}
    report |= {"subgroups": SUBGROUPS, "t_score_error": T_SCORE_ERROR}
    (metrics / "test.json").write_text(json.dumps(report))
    audit = {"synthetic": True, "conflicting_pictures": 1, "patients": {"images": 12, "unknown": 0}}
    (tmp_path / "metrics" / "audit.json").write_text(json.dumps(audit))
    (tmp_path / "metrics" / "shortcuts.json").write_text(json.dumps({"alarms": ["border"]}))
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison" / "comparison.json").write_text(json.dumps(compared()))
    said = told(compared(), synthetic=True)
    registered = {
        **REGISTERED,
        "verdict": vars(said),
        "gates": [{"name": "split", "passed": True, "reason": "a grouped split"}],
        "run_page": "http://127.0.0.1:5000/#/experiments/1/runs/1",
    }
    (tmp_path / "registration.json").write_text(json.dumps(registered))
    return tmp_path


def made(root: Path) -> str:
    files = {
        "records": root / "records.csv",
        "pixels": root / "pixels",
        "registration": root / "registration.json",
        **{name: root / name for name in ("metrics", "comparison")},
        "page-out": root / "reports" / "index.html",
        "headline-out": root / "reports" / "headline.json",
    }
    words = [f"--{name}={path}" for name, path in files.items()]
    assert summarize.main(words) == 0
    return (root / "reports" / "index.html").read_text()


def test_the_page_says_the_verdict_shows_the_mistakes_and_leads_to_all_others(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        page = made(root)
    text = " ".join(page.split())
    assert text.index('<p class="red">SYNTHETIC DATA') < text.index("MobileNet reaches 0.74")
    assert "origin &lt;b&gt; (3)." in text
    assert '<td class="n">0.500 <span class="small faint">(0.250 to 0.750)</span></td>' in text
    assert "over 9 test images." in text
    for link in (
        "audit.html",
        "review.html",
        "comparison/comparison.html",
        "model_cards/mobilenet.html",
    ):
        assert f'href="{link}"' in page
    assert 'href="data_docs/index.html"' in page
    assert "<script>" not in page
    assert "&lt;script&gt;alert" in page
    assert page.count('<img src="data:image/jpeg') == 2
    assert "it says 90% and is right in 83% of the test images" in text
    foreign = re.findall(r"(?:src|href)=.(https?:[^\"]+)", page)
    assert foreign == ["http://127.0.0.1:5000/#/experiments/1/runs/1"]
    assert [line.split(": ")[0] for line in caplog.messages[-3:]] == [
        "the page of this run",
        "next",
        "next",
    ]
    assert "MobileNet reaches 0.74" in caplog.messages[-4]


def test_sets_that_never_name_one_class_are_not_told_as_a_success(root: Path) -> None:
    path = root / "metrics" / MODEL / "test.json"
    report = json.loads(path.read_text())
    report["conformal"]["singletons"] = 0.0
    path.write_text(json.dumps(report))
    assert "never name a single class, so they leave every image undecided" in made(root)


def test_dvcs_table_has_at_most_twelve_figures(root: Path) -> None:
    made(root)
    found = json.loads((root / "reports" / "headline.json").read_text())
    assert len(found) <= 12
    assert found["cross_validated_macro_f1"] == 0.74
    assert found["test_macro_f1"] is None
    assert (found["best_shortcut"], found["best_shortcut_macro_f1"]) == ("border", 0.68)
    assert found["champion"] is True


@pytest.mark.skipif(browser.program() is None, reason="Chromium is not installed")
def test_the_page_fits_a_phone(root: Path) -> None:
    made(root)
    assert browser.overflow(root / "reports" / "index.html") == 0
