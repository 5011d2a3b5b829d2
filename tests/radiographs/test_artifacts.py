"""Outputs appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.radiographs import artifacts, provenance


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
