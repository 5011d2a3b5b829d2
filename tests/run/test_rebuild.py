"""The rebuild command composes the very parameters of a run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from knee.run import parameters, rebuild

CONF = Path("conf")


@pytest.mark.parametrize(
    ("overrides", "most"),
    [
        ([], 0),
        (["data=folder", "data.path='/home/jane/my films (1)'", "model=xception"], 3),
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
    ids=["defaults", "own films", "many"],
)
def test_the_command_composes_the_same_parameters(overrides: list[str], most: int) -> None:
    wanted = parameters.check(parameters.composed(CONF, overrides))
    found = rebuild.overrides(wanted, CONF)
    assert parameters.check(parameters.composed(CONF, found)) == wanted
    assert len(found) <= most
    command = rebuild.command(wanted, CONF)
    words = shlex.split(command)
    assert words[:3] == ["dvc", "exp", "run"]
    assert set(words[3::2]) <= {"-S"}
    assert "jane" not in command
    parameters.composed(CONF, words[4::2])
