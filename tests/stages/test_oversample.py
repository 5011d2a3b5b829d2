"""The oversample stage: what is written trains on train rows alone; a foreign split is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from knee.records.records_table import write_records
from knee.splits import split_table
from stages import oversample
from tests.records.tables import records

PARAMS = Path(__file__).parents[2] / "params.yaml"
TRAIN = {0: 20, 1: 10, 2: 5}  # train rows of each class


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """40 films, the last five of them of no training."""
    labels = [label for label, count in TRAIN.items() for _ in range(count)]
    subsets = ["train"] * len(labels) + ["val", "test", "unused", "val", "test"]
    table = records([*labels, 2, 2, 2, 1, 1], list(range(40)))
    write_records(table, tmp_path / "records.csv")
    split = pd.DataFrame(
        {"record": table["record"], "subset": subsets, "fold": 0, "group": table["group"]}
    )
    split.to_csv(tmp_path / "split.csv", index=False)
    return tmp_path


def run(folder: Path, method: str) -> int:
    values = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    values["oversample"]["method"] = method
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    files = {
        "params": "params.yaml",
        "records": "records.csv",
        "split": "split.csv",
        "rows-out": "rows.csv",
    }
    return oversample.main(
        [word for flag, name in files.items() for word in (f"--{flag}", str(folder / name))]
    )


def rows(folder: Path) -> pd.DataFrame:
    return split_table.read_rows(folder / "rows.csv")


def test_rare_classes_are_repeated_up_to_the_largest_and_no_held_out_row_is(
    project: Path,
) -> None:
    assert run(project, "random") == 0
    assert rows(project)["class_index"].value_counts().to_dict() == {0: 20, 1: 20, 2: 20}
    assert set(rows(project)["record"]) == set(range(35))


def test_each_train_row_stands_before_any_repeat(project: Path) -> None:
    assert run(project, "random") == 0
    assert rows(project)["record"].tolist()[:35] == list(range(35))


def test_without_oversampling_every_train_row_stands_once(project: Path) -> None:
    assert run(project, "none") == 0
    assert rows(project)["record"].tolist() == list(range(35))


def test_the_bytes_are_the_same_again(project: Path) -> None:
    assert run(project, "random") == 0
    first = (project / "rows.csv").read_bytes()
    assert run(project, "random") == 0
    assert (project / "rows.csv").read_bytes() == first


def test_a_split_of_other_records_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split_table.read_split(project / "split.csv").iloc[:-1].to_csv(
        project / "split.csv", index=False
    )
    assert run(project, "random") == 1
    assert "the split is of other records" in capsys.readouterr().err
    assert not (project / "rows.csv").exists()


@pytest.mark.parametrize("length", [0, 10, 27, 28, 100])
def test_a_cut_table_of_rows_is_one_message(length: int, project: Path) -> None:
    assert run(project, "none") == 0
    file = project / "rows.csv"
    content = file.read_bytes()[:length].rpartition(b",")[0]  # within a row
    file.write_bytes(content)
    with pytest.raises(split_table.SplitError, match=r"rows\.csv is no table of training rows"):
        split_table.read_rows(file)
    file.write_bytes(bytes(300))
    with pytest.raises(split_table.SplitError, match=r"rows\.csv is no table of training rows"):
        split_table.read_rows(file)
