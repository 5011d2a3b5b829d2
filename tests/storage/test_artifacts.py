"""Outputs appear whole or not at all."""

from __future__ import annotations

import csv
import io
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.storage import artifacts, provenance, row_files


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file of this process may grow beyond 4 KiB, much as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("little_room")
def test_without_room_the_error_names_the_file_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")
    for name in ("out.json", "new.csv"):
        with pytest.raises(OSError, match=name) as caught:
            artifacts.write_bytes(tmp_path / name, b"x" * 10_000)
        assert caught.value.filename == str(tmp_path / name)
    with (
        pytest.raises(OSError, match="pixels"),
        row_files.written_rows(tmp_path / "pixels", (96, 96), np.uint8) as file,
    ):
        file.append(np.zeros((96, 96), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert (tmp_path / "out.json").read_text() == "old"


@pytest.mark.usefixtures("little_room")
def test_without_room_a_folder_is_the_old_one(tmp_path: Path) -> None:
    with artifacts.staged_folder(tmp_path / "out") as folder:
        (folder / "good").touch()
    with pytest.raises(OSError, match="out"), artifacts.staged_folder(tmp_path / "out") as folder:
        artifacts.write_text(folder / "page.html", "x" * 10_000)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good"]


def test_a_folder_takes_the_place_of_the_old_one_as_a_whole(tmp_path: Path) -> None:
    destination = tmp_path / "deep" / "out"
    for name in ("one", "two"):
        with artifacts.staged_folder(destination) as folder:
            (folder / name).touch()
    assert [path.name for path in destination.iterdir()] == ["two"]
    assert [path.name for path in destination.parent.iterdir()] == ["out"]


def test_a_failure_leaves_the_old_folder_as_it_was(tmp_path: Path) -> None:
    destination = tmp_path / "out"
    with artifacts.staged_folder(destination) as folder:
        (folder / "good").touch()
    with pytest.raises(RuntimeError), artifacts.staged_folder(destination) as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in destination.iterdir()] == ["good"]


def test_nan_never_reaches_a_json_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        artifacts.write_json(tmp_path / "x.json", {"figure": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_key_changes_with_any_nested_value_and_not_with_their_order() -> None:
    facts = {"train": {"epochs": 3, "rate": 0.1}, "data": "a"}
    reordered = {"data": "a", "train": {"rate": 0.1, "epochs": 3}}
    assert provenance.key(facts) == provenance.key(reordered)
    assert provenance.key(facts) != provenance.key({**facts, "train": {"epochs": 4, "rate": 0.1}})


def test_nested_values_become_dotted_ones() -> None:
    assert provenance.flatten({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}


@pytest.mark.parametrize(
    "mark", [*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", " =", " @"]
)
def test_no_text_in_a_table_is_a_formula_and_each_comes_back(mark: str) -> None:
    texts = [f"{mark}cmd()", f"'{mark}1", f"''{mark}", "plain", "'plain", "a=b", ""]
    table = pd.DataFrame({"path": texts, "number": -1.5, "unknown": None})
    written = list(csv.reader(io.StringIO(artifacts.as_csv(table), newline="")))[1:]
    begins = (mark.strip(" "), mark)
    assert not any(row[0].lstrip(" ").startswith(begins) for row in written)
    assert {row[1] for row in written} == {"-1.5"}
    again = pd.read_csv(io.StringIO(artifacts.as_csv(table)), keep_default_na=False)
    assert artifacts.with_all_texts(again)["path"].tolist() == texts


@given(st.lists(st.text("'=+-@ \t\ra", max_size=4), min_size=1, max_size=4))
def test_every_text_comes_back(texts: list[str]) -> None:
    table = pd.DataFrame({"path": texts})
    assert artifacts.with_all_texts(artifacts.without_formulas(table))["path"].tolist() == texts
