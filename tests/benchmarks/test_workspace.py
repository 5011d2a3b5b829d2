"""The stages that benchmarks of speed run take the flags that they are given."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from benchmarks.speed import workspace
from knee.run import command


@pytest.mark.tf
def test_every_stage_gets_all_the_flags_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(workspace, "run", lambda words, _: calls.append(words))
    place = workspace.Workspace(tmp_path, tmp_path, tmp_path)
    place.take_in()
    place.embed("mobilenet")
    place.train("mobilenet")
    assert len(calls) == 5
    for module, *words in calls:
        command._parse(None, importlib.import_module(module).Paths, words)
