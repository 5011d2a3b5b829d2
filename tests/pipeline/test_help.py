"""--help of every command that a person calls explains every flag, with its default."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for folder in ("stages", "knee", "benchmarks")
    for file in (ROOT / folder).rglob("*.py")
    if "__main__" in (text := file.read_text(encoding="utf-8"))
    and ("parse_args" in text or "_parsed" in text or folder == "stages" or "command." in text)
    and file.name not in ("worker.py", "dvc_notes.py", "exported.py")
)


class Parsed(BaseException):
    """In place of what parsing gives."""


def test_the_commands_are_found() -> None:
    assert {"stages.predict", "stages.films", "knee.tracking.__main__"} <= set(COMMANDS)
    assert len(COMMANDS) > 25


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_has_an_explanation_and_its_default(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise Parsed(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse)
    with pytest.raises(Parsed) as raised:
        importlib.import_module(name).main()
    (parser,) = raised.value.args
    shown = parser._get_formatter()
    for action in parser._actions:
        assert action.help, action
        said = shown._get_help_string(action)
        optional = action.option_strings and not action.required
        assert "default: " in said or not optional or action.dest == "help", action
        assert parser.format_help()
