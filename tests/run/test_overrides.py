"""Overrides of `dvc exp run` are composed as Hydra does, and mistakes are told in our words."""

from __future__ import annotations

from pathlib import Path

import pytest

from knee.run import overrides
from knee.run.parameters import ParamsError

CONF = Path(__file__).parents[2] / "conf"


def test_choices_values_and_sweeps_are_composed() -> None:
    given = ["model=xception,mobilenet", "data=folder", "data.path='/a (1)/b'", "train.seed=7,8"]
    made = overrides.composed(CONF, [*given, "cross_validate.folds=range(3,5)"])
    assert made.model.backbones == ("xception",)
    assert made.data.path == "/a (1)/b"
    assert (made.train.seed, made.cross_validate.folds) == (7, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr=1", "unknown key train.lr: did you mean train.learning_rate?"),
        ("train.epoch=3", "unknown key train.epoch: did you mean train.epochs?"),
        (
            "train.epochs=abc",
            "train.epochs: 'abc' is not a whole number (at least 1, ",
        ),
        ("data=fodler", "data: 'fodler' is none of conf/data: did you mean folder?"),
        (
            "model=resnet",
            "model: 'resnet' is none of conf/model: there are both, ",
        ),
        ("data=kaggle", "data.dataset is not set: give -S data.dataset=VALUE"),
        ("data.path=/a (1)", "-S data.path=/a (1): expected key=value; a value with blanks"),
        ("train.epochs", "-S train.epochs: expected key=value"),
    ],
)
def test_a_mistake_names_key_value_and_remedy(override: str, message: str) -> None:
    with pytest.raises(ParamsError) as raised:
        overrides.composed(CONF, [override])
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
