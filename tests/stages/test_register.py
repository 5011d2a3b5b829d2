"""The register stage on a real SQLite store."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from knee.run import parameters
from knee.tracking import store
from stages import promote, register
from tests.tracking.runs import FACTS, own_store, runs, write_training

CLASSES = ("Normal", "Osteoporosis")
SETTINGS = parameters.load(Path("params.yaml"))


@pytest.fixture(autouse=True)
def root(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    own_store(tmp_path, tmp_path_factory.getbasetemp(), monkeypatch)
    return tmp_path


def settings(*backbones: str, minimum_common_groups: int = 5) -> parameters.Params:
    return dataclasses.replace(
        SETTINGS,
        model=dataclasses.replace(SETTINGS.model, backbones=backbones, candidates=backbones),
        register=dataclasses.replace(
            SETTINGS.register,
            model_name="knee",
            selection_metric="macro_f1",
            minimum_common_groups=minimum_common_groups,
            maximum_calibration_error=1.0,
        ),
    )


def write_backbone(
    root: Path, name: str, validation: float, test: float, pictures: int = 0, **facts: Any
) -> None:
    """A trained backbone that has these shares right; test pictures begin at `pictures`."""
    folder = root / "work" / name
    record = {**FACTS, "classes": list(CLASSES), "backbone": name, "execution": name, **facts}
    models, metrics = write_training(folder, **record)
    frames = [table("val", validation, 5000), table("test", test, pictures)]
    pd.concat(frames).to_csv(metrics / "predictions.csv", index=False)
    (root / "metrics").mkdir(exist_ok=True)
    for made, place in ((models, root / "models" / name), (metrics, root / "metrics" / name)):
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(exist_ok=True)
        made.rename(place)
    write_evidence(root, name)


def write_evidence(root: Path, name: str, better_than_border: float = 1.0) -> None:
    """What the gates look at: an audit without leakage, a comparison, a calibration error."""
    (root / "metrics" / "audit.json").write_text('{"leakage": {"in_use": 0.0}}')
    figures = {"border": {"kind": "shortcut"}}
    better = {"model": name, "other": "border", "probability_better": better_than_border}
    evidence = {"test": {"overall": {"figures": figures, "differences": [better]}}}
    (root / "comparison").mkdir(exist_ok=True)
    (root / "cards").mkdir(exist_ok=True)
    for kind in ("md", "html"):
        (root / "cards" / f"{name}.{kind}").write_text(f"card of {name}")
    (root / "comparison" / "comparison.json").write_text(json.dumps({"evidence": evidence}))
    path = root / "metrics" / name / "test.json"
    error = "expected_calibration_error"
    test = json.loads(path.read_text()) | {"records": 20, error: 0.1}
    test |= {"confidence_interval": {error: {"low": 0}}}
    path.write_text(json.dumps(test))


def table(subset: str, right: float, start: int, rows: int = 20) -> pd.DataFrame:
    truth = np.arange(rows) % 2
    chosen = np.where(np.arange(rows) < round(right * rows), truth, 1 - truth)
    return pd.DataFrame(
        {
            "record": np.arange(rows) + start,
            "source": "Normal/Doe.png",
            "pixel_sha256": [f"{number + start:064d}" for number in range(rows)],
            "group": np.arange(rows) + start,
            "subset": subset,
            "class_index": truth,
            "label": np.take(CLASSES, truth),
            "predicted": np.take(CLASSES, chosen),
            "probability_Normal": 1.0 - chosen,
            "probability_Osteoporosis": chosen.astype(float),
        }
    )


def paths(root: Path, out: Path) -> register.Paths:
    folders = {name: root / name for name in ("models", "metrics", "comparison", "cards")}
    return register.Paths(**folders, registration_out=out)


def run_stage(root: Path, *backbones: str, **changes: Any) -> dict[str, Any]:
    out = root / "reports" / "registration.json"
    register.run(settings(*backbones, **changes), paths(root, out))
    registered: dict[str, Any] = json.loads(out.read_text())
    return registered


def aliases() -> dict[str, str]:
    found = store.connect().get_registered_model("knee").aliases
    return {name: str(version) for name, version in found.items()}


def test_the_best_on_validation_is_registered_though_another_is_better_on_test(
    root: Path,
) -> None:
    write_backbone(root, "xception", validation=0.8, test=1.0)
    write_backbone(root, "mobilenet", validation=0.9, test=0.5)
    registered = run_stage(root, "mobilenet", "xception")
    assert registered["backbone"] == "mobilenet"
    assert registered["alias"] == "champion"
    assert registered["selection"]["subset"] == "val"
    scores = registered["selection"]["scores"]
    assert scores["mobilenet"] > scores["xception"]
    assert registered["synthetic"] is True
    assert registered["leaky"] is False
    version = store.connect().get_model_version("knee", registered["version"])
    assert version.run_id == registered["run_id"]
    lineage = {"execution", "data_fingerprint", "split_fingerprint", "split_protocol", "synthetic"}
    assert lineage <= version.tags.keys()
    assert "SYNTHETIC" in version.description


def test_every_backbone_gets_its_run_from_files_when_it_has_none(root: Path) -> None:
    """A training that DVC restored from its run cache has logged nothing."""
    write_backbone(root, "mobilenet", 0.9, 0.5)
    write_backbone(root, "xception", 0.8, 0.5)
    (root / "metrics" / "split.json").write_text("{}")
    (root / "metrics" / "audit.html").write_text("<p>record 1</p>")
    run_stage(root, "mobilenet", "xception")
    assert sorted(run.data.tags["backbone"] for run in runs()) == ["mobilenet", "xception"]
    client = store.connect()
    cards = {entry.path for entry in client.list_artifacts(runs()[0].info.run_id)}
    assert {"model_card.md", "model_card.html", "comparison"} <= cards
    names = [entry.path for entry in client.list_artifacts(runs()[0].info.run_id, "pipeline")]
    assert names == ["pipeline/audit.html", "pipeline/audit.json", "pipeline/split.json"]


def test_folders_of_backbones_that_are_not_configured_are_ignored(root: Path) -> None:
    write_backbone(root, "mobilenet", 0.5, 0.5)
    write_backbone(root, "stale", 1.0, 1.0)
    assert run_stage(root, "mobilenet")["backbone"] == "mobilenet"
    assert [run.data.tags["backbone"] for run in runs()] == ["mobilenet"]


def test_registering_the_same_training_again_makes_no_new_version(root: Path) -> None:
    write_backbone(root, "mobilenet", 0.9, 0.5)
    first = run_stage(root, "mobilenet")
    again = run_stage(root, "mobilenet")
    assert {**again, "reason": ""} == {**first, "reason": ""}
    assert len(store.connect().search_model_versions("name = 'knee'")) == 1
    assert aliases() == {"champion": "1"}


@pytest.mark.parametrize(
    ("test", "pictures", "alias"),
    [
        (1.0, 0, "champion"),
        (0.7, 0, "challenger"),
        (1.0, 100, "challenger"),
    ],
    ids=["better", "as good", "on other pictures"],
)
def test_a_new_training_becomes_champion_if_it_is_significantly_better(
    root: Path, test: float, pictures: int, alias: str
) -> None:
    write_backbone(root, "mobilenet", 0.9, 0.7)
    run_stage(root, "mobilenet")
    write_backbone(root, "mobilenet", 0.95, test, pictures, execution="later")
    registered = run_stage(root, "mobilenet")
    assert registered["version"] == "2"
    assert registered["alias"] == alias
    expected = {"champion": "2"} if alias == "champion" else {"champion": "1", "challenger": "2"}
    assert aliases() == expected


def test_of_a_sweep_only_what_could_be_promoted_or_is_the_best_so_far_gets_a_version(
    root: Path,
) -> None:
    """The others are runs; one that has its version keeps it."""
    versions = []
    for number, (validation, test) in enumerate([(0.8, 0.7), (0.7, 0.7), (0.9, 0.7), (0.7, 1.0)]):
        write_backbone(root, "mobilenet", validation, test, execution=f"run-{number}")
        registered = run_stage(root, "mobilenet")
        versions.append((registered["version"], registered["alias"]))
    expected = [("1", "champion"), (None, None), ("2", "challenger"), ("3", "champion")]
    assert versions == expected
    assert len(runs()) == 4
    assert run_stage(root, "mobilenet")["version"] == "3"


def test_the_verdict_stands_on_the_run_and_on_the_version_with_a_link_to_the_card(
    root: Path,
) -> None:
    write_backbone(root, "mobilenet", 0.9, 0.9)
    registered = run_stage(root, "mobilenet")
    version = store.connect().get_model_version("knee", "1")
    (run,) = runs()
    for text in (version.description, run.data.tags["mlflow.note.content"]):
        assert text.startswith("MobileNet was not compared")
        assert f"/runs/{run.info.run_id}/artifacts/model_card.html?" in text
    assert registered["verdict"]["usable"] is False
    assert [name for name in run.data.metrics if name < "cross"] == ["chosen by/macro-F1"]
    client = store.connect()
    client.set_tag(run.info.run_id, "mlflow.note.content", "mine")
    run_stage(root, "mobilenet")
    assert runs()[0].data.tags["mlflow.note.content"] == "mine"


def test_a_leaky_split_never_becomes_champion(root: Path) -> None:
    write_backbone(root, "mobilenet", 1.0, 1.0, split_protocol="random")
    registered = run_stage(root, "mobilenet")
    assert (registered["alias"], registered["leaky"]) == ("challenger", True)
    assert "leaky" in registered["reason"]
    assert aliases() == {"challenger": "1"}


def test_what_failed_is_written_on_the_version(root: Path) -> None:
    write_backbone(root, "mobilenet", 0.9, 0.9)
    write_evidence(root, "mobilenet", better_than_border=0.6)
    registered = run_stage(root, "mobilenet")
    assert registered["alias"] == "challenger"
    version = store.connect().get_model_version("knee", "1")
    assert version.tags["gate.shortcuts"].startswith("FAILED: ")
    assert version.tags["gate.audit"].startswith("passed")
    assert "**FAILED** shortcuts" in version.description


def test_a_persons_promotion_is_recorded_and_outlasts_a_second_registration(
    root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_backbone(root, "mobilenet", 0.9, 0.9)
    write_evidence(root, "mobilenet", better_than_border=0.6)
    run_stage(root, "mobilenet")
    chosen = yaml.safe_load(Path("params.yaml").read_text())
    chosen["register"]["model_name"] = "knee"
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(chosen))
    flags = ["--params", str(tmp_path / "own.yaml"), "--by", "A. Reader"]
    assert promote.main(["1", "--reason", "read by\n two of us", *flags]) == 0
    run_stage(root, "mobilenet")
    assert aliases() == {"champion": "1"}
    version = store.connect().get_model_version("knee", "1")
    assert version.description.startswith(
        "**Promoted by A. Reader, past the gates**: read by two of us"
    )
    assert version.tags["promotion"] == "champion: promoted by A. Reader: read by two of us"
    assert version.tags["override.replaced"] == "none"
    assert promote.main(["1", "--reason", "read again", *flags]) == 0
    version = store.connect().get_model_version("knee", "1")
    assert version.tags["promotion"] == "champion: promoted by A. Reader: read again"
    assert promote.main(["7", "--reason", "x", *flags]) == 1
    assert "knee has no version 7: it has 1 (champion)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    ["x --reason y", "1 --reason ' '", "1", "--rollback", "1 --rollback --reason y", "--reason y"],
)
def test_a_promotion_needs_a_number_or_rollback_and_a_reason(line: str) -> None:
    with pytest.raises(SystemExit):
        promote.main(shlex.split(line))


def test_a_champion_without_predictions_is_kept(root: Path) -> None:
    write_backbone(root, "mobilenet", 0.9, 0.5)
    first = run_stage(root, "mobilenet")
    (predictions,) = (root / "mlartifacts").rglob(f"{first['run_id']}/artifacts/predictions.csv")
    predictions.unlink()
    write_backbone(root, "mobilenet", 0.95, 0.9, execution="later")
    registered = run_stage(root, "mobilenet")
    assert registered["alias"] == "challenger"
    assert "champion 1 are gone" in registered["reason"]


def with_metric(name: str) -> parameters.Params:
    chosen = settings("mobilenet", "xception")
    return dataclasses.replace(
        chosen, register=dataclasses.replace(chosen.register, selection_metric=name)
    )


@pytest.mark.parametrize("metric", ["quadratic_kappa", "macro_auc"])
def test_any_figure_where_larger_is_better_can_choose(root: Path, metric: str) -> None:
    write_backbone(root, "mobilenet", 0.7, 0.5)
    write_backbone(root, "xception", 0.9, 0.5)
    out = root / "registration.json"
    register.run(with_metric(metric), paths(root, out))
    registered = json.loads(out.read_text())
    assert (registered["backbone"], registered["selection"]["metric"]) == ("xception", metric)


def test_a_figure_that_the_images_do_not_define_is_said_before_anything_is_registered(
    root: Path,
) -> None:
    write_backbone(root, "mobilenet", 0.7, 0.5)
    file = root / "metrics" / "mobilenet" / "predictions.csv"
    rows = pd.read_csv(file, dtype={"pixel_sha256": str})
    rows[(rows["subset"] == "test") | (rows["class_index"] == 0)].to_csv(file, index=False)
    chosen = dataclasses.replace(settings("mobilenet").register, selection_metric="macro_auc")
    alone = dataclasses.replace(settings("mobilenet"), register=chosen)
    with pytest.raises(parameters.ParamsError, match="macro_auc is not defined"):
        register.run(alone, paths(root, root / "registration.json"))
    assert not store.connect().search_registered_models()


@pytest.fixture
def arguments(root: Path) -> list[str]:
    write_backbone(root, "mobilenet", 0.9, 0.5)
    write_backbone(root, "xception", 0.8, 0.5)
    out = root / "registration.json"
    return [
        *("--models", str(root / "models"), "--metrics", str(root / "metrics")),
        *("--comparison", str(root / "comparison"), "--cards", str(root / "cards")),
        *("--registration-out", str(out)),
    ]


def test_the_command_line_registers(root: Path, arguments: list[str]) -> None:
    assert register.main(arguments) == 0
    registered = json.loads((root / "registration.json").read_text())
    assert registered["model_name"] == SETTINGS.register.model_name


def test_without_mlflow_the_message_says_that_nothing_is_lost(
    root: Path,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    assert register.main(arguments) == 1
    message = capsys.readouterr().err
    assert "trained and kept" in message
    assert "Traceback" not in message
    assert not (root / "registration.json").exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda root: (root / "metrics/mobilenet/predictions.csv").unlink(), "predictions.csv"),
        (lambda root: (root / "metrics/mobilenet/predictions.csv").write_text(""), "no table"),
        (lambda root: (root / "models/xception/training.json").write_text("{"), "is not JSON"),
        (lambda root: (root / "models/mobilenet/model.keras").unlink(), "model.keras"),
        (lambda root: write_backbone(root, "xception", 1, 1, split_fingerprint="x"), "agree on"),
        (lambda root: write_backbone(root, "xception", 1, 1, backbone="vgg"), "is of vgg"),
    ],
)
def test_bad_input_is_one_message_that_names_it(
    root: Path,
    arguments: list[str],
    fault: Any,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fault(root)
    assert register.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
