"""What `auto` stands for in the section train."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from knee.classifier.training import presets
from knee.run import parameters

ROOT = Path(__file__).parents[3]


def settings(**train: object) -> parameters.Params:
    """params.yaml with these values of train."""
    loaded = parameters.load(ROOT / "params.yaml")
    changed = dataclasses.replace(loaded.train, **train)  # type: ignore[arg-type]
    return dataclasses.replace(loaded, train=changed)


AUTO = settings(epochs="auto", learning_rate="auto", keep_epoch="auto")


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (100, (8, 0.001, "last")),
        (999, (8, 0.001, "last")),
        (4_000, (8, 0.001, "best")),
        (40_000, (8, 0.001, "best")),
    ],
)
def test_auto_follows_the_number_of_images_and_is_said(
    images: int, expected: tuple[object, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train = presets.resolved(AUTO, images).train
    assert (train.epochs, train.learning_rate, train.keep_epoch) == expected
    assert f"({images}) auto means epochs {expected[0]}, learning_rate {expected[1]}" in caplog.text


def test_what_the_user_gives_stays_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    given = settings(epochs=3, learning_rate=0.01, keep_epoch="best")
    assert presets.resolved(given, 100) == given
    assert not caplog.text
