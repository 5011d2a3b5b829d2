"""Versions and aliases."""

from __future__ import annotations

import csv
import dataclasses

import pytest

from knee import tracking
from knee.tracking import store
from knee.tracking.evidence import Evidence


def publish_as(evidence: Evidence, execution: str) -> str:
    run_id = tracking.publish(dataclasses.replace(evidence, execution=execution))
    assert run_id is not None
    return run_id


def test_an_execution_has_one_version_and_a_version_one_alias(evidence: Evidence) -> None:
    registry = tracking.Registry("knee")
    assert registry.champion() is None
    first = registry.add(publish_as(evidence, "a"), "a", {"split_protocol": "grouped"}, "text")
    registry.set_alias(first, tracking.CHALLENGER, "why")
    registry.set_alias(first, tracking.CHAMPION, "why")
    assert registry.add(publish_as(evidence, "a"), "a", {}, "other text") == first
    assert registry.champion() == first
    second = registry.add(publish_as(evidence, "b"), "b", {}, "text")
    registry.set_alias(second, tracking.CHALLENGER, "worse")
    client = store.connect().client
    aliases = client.get_registered_model("knee").aliases
    assert {name: int(version) for name, version in aliases.items()} == {
        "champion": 1,
        "challenger": 2,
    }
    version = client.get_model_version("knee", "1")
    assert version.description == "other text"
    assert {"run_id", "execution", "split_protocol", "promotion"} <= version.tags.keys()
    assert version.run_id == first.run_id


def test_predictions_of_a_version_come_from_its_run(evidence: Evidence) -> None:
    registry = tracking.Registry("knee")
    version = registry.add(publish_as(evidence, "a"), "a", {}, "")
    content = registry.predictions(version)
    assert content is not None
    assert next(csv.reader([content.decode().splitlines()[0]])) == ["record", "pixel_sha256"]
    gone = dataclasses.replace(version, run_id="0" * 32)
    assert registry.predictions(gone) is None


@pytest.mark.usefixtures("away")
def test_a_registry_that_does_not_answer_is_one_error() -> None:
    with pytest.raises(tracking.TrackingError, match="cannot be used"):
        tracking.Registry("knee")
