"""Overrides of `dvc exp run` are composed as Hydra does, and mistakes are told in our words."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from knee.run import overrides, parameters
from knee.run.parameters import ParamsError

CONF = Path(__file__).parents[2] / "conf"


def test_choices_values_and_sweeps_are_composed() -> None:
    given = ["model=xception,mobilenet", "data=folder", "data.path='/a (1)/b'", "train.seed=7,8"]
    made = overrides.checked(CONF, [*given, "cross_validate.folds=range(3,5)"])
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
            "train.epochs: 'abc' is not auto or a whole number (at least 1, ",
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
        overrides.checked(CONF, [override])
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ([], 0),
        (["data=folder", "data.path='/home/jane/my films (1)'", "model=xception"], 3),
        (["data=folder", "data.path=/home/jane/films", "data.manifest=/home/jane/m.csv"], 3),
        (
            [
                *(
                    "data=osteoporosis",
                    "experiment=[few_pictures,heads]",
                    "weights=/w",
                    "data.path=/f",
                ),
                *("train.learning_rate=0.0003", "data.patient_pattern='^(?P<patient>[^\\']+)'"),
                "data.classes=['0','a, b']",
            ],
            200,
        ),
    ],
    ids=["defaults", "own films", "manifest", "many"],
)
def test_the_command_of_a_run_composes_the_same_parameters(given: list[str], most: int) -> None:
    wanted = parameters.check(parameters.composed(CONF, given))
    found = overrides.that_make(wanted, CONF)
    assert parameters.check(parameters.composed(CONF, found)) == wanted
    assert len(found) <= most
    command = overrides.command(wanted, CONF)
    words = shlex.split(command)
    assert words[:3] == ["dvc", "exp", "run"]
    assert set(words[3::2]) <= {"-S"}
    assert "jane" not in command
    parameters.composed(CONF, words[4::2])


def test_the_command_of_a_run_names_no_machine_that_computed() -> None:
    given = ["execution=ray", "execution.address='10.0.0.7:6379'", "execution.hosts=[ct-archive]"]
    given += ["execution.launcher=ssh", "train.seed=7"]
    settings = parameters.check(parameters.composed(CONF, given))
    assert overrides.command(settings, CONF) == "dvc exp run -S train.seed=7"
