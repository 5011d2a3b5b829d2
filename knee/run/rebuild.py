"""The command that composes a run's parameters again."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from knee.run.parameters import Params, composed

GROUPS: Final = ("data", "model", "train", "split", "head")  # folders of conf, in this order
# Texts that Hydra takes as they are.
PLAIN: Final = re.compile(r"(?!(?i:null|true|false|nan|inf)$)[A-Za-z_/][\w./-]*", re.ASCII)
PATHS: Final = ("data.path", "data.sheet", "data.bone_masks", "weights")


def command(settings: Params, conf: Path) -> str:
    """Return the `dvc exp run` that composes `settings` from the folder `conf`.

    Of an absolute path only the last part is told: the rest names the machine.
    """
    found = overrides(settings, conf)
    words = [word for one in found for word in ("-S", _quoted(_without_folder(one)))]
    return " ".join(["dvc exp run", *words])


def overrides(settings: Params, conf: Path) -> list[str]:
    """Return Hydra's overrides that make `settings` of the defaults: few, and exact."""
    wanted = _flat(dataclasses.asdict(settings))
    chosen: list[str] = []
    missing = _missing(wanted, conf, chosen)
    for group in GROUPS:
        for file in sorted((conf / group).glob("*.yaml")):
            if not any(key.startswith(f"{group}.") for key in missing):
                break
            tried = [one for one in chosen if not one.startswith(f"{group}=")]
            tried.append(f"{group}={file.stem}")
            if len(fewer := _missing(wanted, conf, tried)) < len(missing):
                chosen, missing = tried, fewer
    return chosen + [f"{plus}{key}={_written(wanted[key])}" for key, plus in missing.items()]


def _missing(wanted: Mapping[str, Any], conf: Path, tried: list[str]) -> dict[str, str]:
    """The keys that `tried` overrides leave otherwise, with "++" where they leave none."""
    made = _flat(composed(conf, tried))
    return {
        key: "" if key in made else "++"
        for key, value in wanted.items()
        if key not in made or made[key] != value
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def _written(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, str) and not PLAIN.fullmatch(value):
        escaped = value.replace("'", "\\'")
        return f"'{escaped}'"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(word: str) -> str:
    """A word for the shell; in double quotes where Hydra needs single ones, if that is enough."""
    return f'"{word}"' if "'" in word and not set(word) & set('$`"\\!') else shlex.quote(word)


def _without_folder(override: str) -> str:
    key, _, value = override.partition("=")
    path = value.strip("'")
    if key in PATHS and Path(path).is_absolute():
        return f"{key}={_written(f'/path/to/{Path(path).name}')}"
    return override
