"""What a DICOM header tells of a person is in nothing that the pipeline writes or prints."""

from __future__ import annotations

import pandas as pd
import pytest

from knee.records.records_table import read_records
from knee.splits.split_table import read_split
from tests.planted import DAMAGED, PATIENTS, PLANTED, PLANTED_FOLDER
from tests.project import OUTPUT, Project

pytestmark = [pytest.mark.tf, pytest.mark.slow]


@pytest.fixture(scope="module")
def planted(finished: Project) -> pd.DataFrame:
    """The rows of the records table that are planted files."""
    table = read_records(finished.folder / "data" / "records.csv")
    return table[table["source"].str.endswith(".dcm")]


def test_planted_identifiers_are_in_no_output_log_or_run(
    finished: Project, planted: pd.DataFrame
) -> None:
    used = planted[planted["status"] == "used"]
    assert used["patient"].nunique() == PATIENTS
    assert len(planted) == len(used) + DAMAGED
    split = read_split(finished.folder / "data" / "split.csv")
    subsets = split.loc[split["record"].isin(used["record"]), "subset"]
    assert set(subsets) == {"train", "val", "test"}  # every stage has met them
    assert finished.json("metrics/split.json")["leakage"] == 0
    assert finished.json("reports/registration.json")["version"] == "1"
    written = [path for path in finished.folder.rglob("*") if path.is_file()]
    written = [path for path in written if finished.folder / PLANTED_FOLDER not in path.parents]
    assert {"mlflow.db", "audit.html", "records.csv", OUTPUT} <= {path.name for path in written}
    found = [
        (path.name, word)
        for path in written
        for word in PLANTED
        if word in path.read_bytes().upper() or word.decode() in str(path).upper()
    ]
    assert not found
