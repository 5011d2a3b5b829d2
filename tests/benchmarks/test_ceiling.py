"""The evidence of a ceiling, from a finished run to its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.evidence import ceiling, finished_run
from tests.benchmarks import finished


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    finished.write(root)
    return root


def test_curve_noise_and_origins_are_written_with_a_chart(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceiling, "SIZES", 4)
    result, picture = tmp_path / "ceiling.json", tmp_path / "curve.png"
    flags = [f"--data-run={run}", f"--results-out={result}", f"--chart-out={picture}"]
    ceiling.main([*flags, "--repeats=1"])
    found = json.loads(result.read_text())
    assert found["pictures"] == 89  # one picture a record, without the contradicted one
    assert set(found["learning_curve"]) == {*finished.BACKBONES, ceiling.TOGETHER}
    for one in found["learning_curve"].values():
        sizes = [point["pictures"] for point in one["points"]]
        assert sizes == sorted(sizes)
        assert sizes[0] == ceiling.FEWEST
        assert sizes[-1] <= 60
        assert one["points"][-1]["macro_f1"] > 0.8
    noise = found["label_noise"]
    assert (noise["pictures"], noise["under_several_labels"]) == (90, 1)
    assert noise["two_collections"]["pictures"] == 2
    assert noise["confident_learning"]["xception"]["share_wrong"]["value"] < 0.2
    assert found["within_origins"]["here"]["of_each_class"]["class0"] > 0
    assert found["within_origins"]["all"]["best_shortcut"][0]["other"] == "majority"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_run_of_the_leaky_split_is_refused(run: Path, tmp_path: Path) -> None:
    text = (run / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("protocol: grouped", "protocol: random"))
    with pytest.raises(SystemExit, match="not grouped"):
        finished_run.read(tmp_path, "all")
