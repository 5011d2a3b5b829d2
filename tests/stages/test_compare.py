"""The compare stage: one table of models and baselines, and a page that is safe to open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from knee.classifier.net.design import BackboneDesign, write_design
from knee.evidence.comparison import models_and_baselines
from stages import compare
from tests import shards
from tests.stages.test_train import NAMES, ROWS, write_data

HEADS = "heads_out_of_fold.csv"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that brightness tells apart, features of them, one model that is always right."""
    root = tmp_path_factory.mktemp("compare")
    write_data(root)
    settings = yaml.safe_load((root / "params.yaml").read_text())
    settings["model"] |= {"backbones": ["mobilenet"], "candidates": ["mobilenet"]}
    settings["compare"] |= {"minimum_origin_groups": 2, "bootstrap_draws": 200}
    (root / "params.yaml").write_text(yaml.safe_dump(settings))
    folder = root / "features" / "mobilenet"
    folder.mkdir()
    write_design(BackboneDesign("mobilenet", 32, "w", "head"), folder)
    labels = np.arange(ROWS) % 2
    values = (
        np.random.default_rng(0).normal(size=(1, ROWS, 2, 2, 3)) + 4 * labels[:, None, None, None]
    )
    shards.save_features(folder, values.astype(np.float16).swapaxes(0, 1))
    metrics = root / "metrics" / "mobilenet"
    metrics.mkdir(parents=True)
    split = pd.read_csv(root / "split.csv")
    predicted(split).to_csv(metrics / "predictions.csv", index=False)
    out_of_fold(metrics / "out_of_fold.csv")
    table = pd.read_csv(metrics / "out_of_fold.csv")
    table.head(0).assign(head="").to_csv(metrics / HEADS, index=False)
    return root


def predicted(split: pd.DataFrame) -> pd.DataFrame:
    table = split.assign(class_index=split["record"] % 2, pixel_sha256="ab", predicted="x")
    table["label"] = [NAMES[index] for index in table["class_index"]]
    for number, name in enumerate(NAMES):
        table[f"probability_{name}"] = 0.1 + 0.8 * (table["class_index"] == number)
    return table


def out_of_fold(path: Path) -> None:
    record = np.arange(ROWS)
    table = pd.DataFrame({"record": record, "group": record, "repeat": 0, "fold": record // 2 % 3})
    table = predicted(table).assign(origin=np.where(record < ROWS // 2, "here", "there"))
    table.to_csv(path, index=False)


def run(root: Path, out: Path, *more: str) -> dict[str, Any]:
    flags = ["--params", root / "params.yaml", "--records", root / "records.csv"]
    flags += ["--pixels", root / "pixels", "--split", root / "split.csv"]
    flags += ["--features", root / "features", "--metrics", root / "metrics"]
    words = [str(word) for word in (*flags, "--comparison-out", out, *more)]
    assert compare.main(words) == 0
    found: dict[str, Any] = json.loads((out / "comparison.json").read_text())
    return found


def test_models_shortcuts_and_probes_are_judged_on_both_kinds_of_evidence(
    project: Path, tmp_path: Path
) -> None:
    found = run(project, tmp_path / "out")
    assert found["synthetic"] is True
    for evidence in ("cross_validation", "test"):
        figures = found["evidence"][evidence]["overall"]["figures"]
        assert figures["mobilenet"]["accuracy"]["value"] == 1
        assert figures["majority"]["accuracy"]["value"] <= 0.5
        assert figures["linear probe on mobilenet"]["accuracy"]["value"] > 0.9
    assert set(found["evidence"]["cross_validation"]["within"]) == {"here", "there"}
    table = pd.read_csv(tmp_path / "out" / "figures.csv")
    assert set(table["kind"]) == {"model", "shortcut", "probe"}
    differences = pd.read_csv(tmp_path / "out" / "differences.csv")
    assert (differences["model"] == "mobilenet").all()
    assert (tmp_path / "out" / "test.png").read_bytes().startswith(b"\x89PNG")
    counts, page = found["patients"], (tmp_path / "out" / "comparison.html").read_text()
    assert ("PATIENTS UNKNOWN" in page) == bool(counts["unknown"])
    (verdict,) = found["evidence"]["test"]["overall"]["best_shortcut"]
    word = "is significantly" if verdict["significant"] else "is not significantly"
    assert f"{word} better than the best shortcut" in " ".join(page.split())


def test_several_backbones_stand_beside_their_average_on_both_kinds_of_evidence(
    project: Path, tmp_path: Path
) -> None:
    root = tmp_path / "two"
    shutil.copytree(project, root)
    settings = yaml.safe_load((root / "params.yaml").read_text())
    names = ["mobilenet", "xception"]
    settings["model"] |= {"backbones": names, "candidates": names}
    (root / "params.yaml").write_text(yaml.safe_dump(settings))
    for part in ("features", "metrics"):
        shutil.copytree(root / part / "mobilenet", root / part / "xception")
    found = run(root, tmp_path / "out")
    for evidence in ("cross_validation", "test"):
        part = found["evidence"][evidence]["overall"]
        assert part["figures"][models_and_baselines.AVERAGE]["kind"] == "model"
        assert part["figures"][models_and_baselines.AVERAGE]["accuracy"]["value"] == 1
        models = {one["model"] for one in part["best_shortcut"]}
        assert models == {"mobilenet", "xception", models_and_baselines.AVERAGE}


def test_other_heads_stand_beside_the_chosen_one(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "heads")
    metrics = tmp_path / "heads" / "metrics" / "mobilenet"
    table = pd.read_csv(metrics / "out_of_fold.csv")
    wrong = table.assign(**{f"probability_{name}": 0.5 for name in NAMES})
    heads = pd.concat([table.assign(head="linear"), wrong.assign(head="blind")])
    heads.to_csv(metrics / HEADS, index=False)
    found = run(tmp_path / "heads", tmp_path / "out")["evidence"]
    figures = found["cross_validation"]["overall"]["figures"]
    assert figures["mobilenet, linear head"]["accuracy"]["value"] == 1
    assert figures["mobilenet, blind head"]["accuracy"]["value"] <= 0.5
    assert "mobilenet, linear head" not in found["test"]["overall"]["figures"]
    heads.drop(columns="head").to_csv(metrics / HEADS, index=False)
    with pytest.raises(AssertionError):
        run(tmp_path / "heads", tmp_path / "other")


def test_the_same_input_gives_the_same_bytes(project: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(project, tmp_path / name)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_another_experiment_stands_beside_and_its_name_cannot_break_the_page(
    project: Path, tmp_path: Path
) -> None:
    other = project / "metrics" / "mobilenet" / "out_of_fold.csv"
    found = run(project, tmp_path / "out", "--also", f"{HOSTILE}={other}")
    pairs = found["evidence"]["cross_validation"]["overall"]["differences"]
    assert pairs[-1]["other"] == HOSTILE
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert "SYNTHETIC" in page


def test_without_a_cross_validation_the_report_says_why(project: Path, tmp_path: Path) -> None:
    metrics = project / "metrics" / "mobilenet"
    whole = (metrics / "out_of_fold.csv").read_text()
    (metrics / "out_of_fold.csv").write_text(whole.splitlines()[0] + "\n")
    (metrics / "cross_validation.json").write_text('{"reason": "too costly"}')
    found = run(project, tmp_path / "out")
    (metrics / "out_of_fold.csv").write_text(whole)
    reason = found["evidence"]["cross_validation"]["reason"]
    assert reason == "mobilenet was not cross-validated: too costly"
    assert "too costly" in (tmp_path / "out" / "comparison.html").read_text()


def test_a_missing_table_is_one_message(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        run(project, tmp_path / "out", "--also", f"other={tmp_path / 'none.csv'}")
    error = capsys.readouterr().err
    assert error.startswith("compare: ")
    assert "none.csv does not exist" in error
    assert not (tmp_path / "out").exists()
