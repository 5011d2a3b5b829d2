"""Overrides of conf/, as `dvc exp run -S` takes them: checked, or found to make a run again.

Hydra tells of the first mistake only, in its own words, and DVC takes seconds to start it.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from knee.run import parameter_errors, parameters
from knee.run.parameters import Params, ParamsError

GROUPS: Final = ("data", "locate", "model", "train", "split", "head")  # folders of conf
# Texts that Hydra takes as they are.
PLAIN: Final = re.compile(r"(?!(?i:null|true|false|nan|inf)$)[A-Za-z_/][\w./-]*", re.ASCII)
PATHS: Final = (
    "data.path",
    "data.manifest",
    "data.sheet",
    "data.decisions",
    "data.bone_masks",
    "weights",
)
GLOBAL: Final = "# @package _global_"  # first line of a choice that sets keys of other groups, too
FOLLOWING: Final = (  # from other keys, unless given
    *("data.manifest", "locate.images", "locate.manifest", "locate.sheet"),
    "register.model_name",
)
MISSING: Final = "???"  # Hydra's value of what the user has to give
QUOTING: Final = (
    "a value with blanks, brackets or accents needs two pairs of quotes: -S \"key='value'\""
)


def checked(conf: Path, overrides: Sequence[str]) -> Params:
    """Return the parameters of the Hydra configuration in `conf` with `overrides`, checked.

    Of a sweep, such as train.seed=1,2, the first value is checked.

    Raises:
        ParamsError: a key, a choice or a value cannot be used.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    single = [_first_of_sweep(conf, override) for override in overrides]
    try:
        values = parameters.composed(conf, single)
    except (HydraException, OmegaConfBaseException) as error:
        raise ParamsError(str(error).splitlines()[0]) from None
    if missing := sorted(key for key, value in _flat(values).items() if value == MISSING):
        raise ParamsError(f"{missing[0]} is not set: give -S {missing[0]}=VALUE")
    return parameters.check(values)


def _first_of_sweep(conf: Path, override: str) -> str:
    """The override with the first of its values; its key and its choice are checked."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        raise ParamsError(f"-S {override}: expected key=value; {QUOTING}") from None
    key, swept = parsed.key_or_group, parsed.is_sweep_override()
    first = next(parsed.sweep_string_iterator()) if swept else str(parsed.value())
    if (conf / key).is_dir():
        _check_choice(conf / key, first)
    elif key not in parameters.known_keys() and not key.startswith("cross_validate.heads."):
        raise ParamsError(parameter_errors.unknown(key, parameters.known_keys()))
    return f"{key}={first}" if swept else override


def _check_choice(folder: Path, choice: str) -> None:
    there = sorted(file.stem for file in folder.glob("*.yaml"))
    if choice not in there:
        near = difflib.get_close_matches(choice, there, 1)
        remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(there)}"
        raise ParamsError(f"{folder.name}: {choice!r} is none of conf/{folder.name}: {remedy}")


def command(settings: Params, conf: Path) -> str:
    """Return the `dvc exp run` that composes `settings` from the folder `conf`.

    Of an absolute path only the last part is told, and nothing of the section execution: they name
    machines, and no result depends on them.
    """
    found = [one for one in that_make(settings, conf) if not one.startswith("execution.")]
    words = [word for one in found for word in ("-S", _quoted(_without_folder(one)))]
    return " ".join(["dvc exp run", *words])


def that_make(settings: Params, conf: Path) -> list[str]:
    """Return Hydra's overrides that make `settings` of the defaults: few, and exact."""
    wanted = _flat(dataclasses.asdict(settings))
    chosen: list[str] = []
    missing = _missing(wanted, conf, chosen)
    for group in GROUPS:
        for file in sorted((conf / group).glob("*.yaml")):
            if not any(key.startswith(f"{group}.") for key in missing):
                break
            if not any(key in missing and wanted[key] == value for key, value in _set_by(file)):
                continue  # to compose takes a fifth of a second
            tried = [one for one in chosen if not one.startswith(f"{group}=")]
            tried.append(f"{group}={file.stem}")
            if len(fewer := _missing(wanted, conf, tried)) < len(missing):
                chosen, missing = tried, fewer
    others = {key: plus for key, plus in missing.items() if key not in FOLLOWING}
    chosen += _assigned(others, wanted)
    for key in FOLLOWING:  # each after those that it follows from
        if key in missing and key in (still := _missing(wanted, conf, chosen)):
            chosen += _assigned({key: still[key]}, wanted)
    return chosen


def left_by_experiments(settings: Params, conf: Path) -> list[str]:
    """Return the overrides of the folder `conf` that make `settings`; none where it is unusable."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        return that_make(settings, conf) if conf.is_dir() else []
    except (HydraException, OmegaConfBaseException):
        return []


def _assigned(missing: Mapping[str, str], wanted: Mapping[str, Any]) -> list[str]:
    """The overrides that give the keys of `_missing` their values."""
    return [f"{plus}{key}={_written(wanted[key])}" for key, plus in missing.items()]


def _missing(wanted: Mapping[str, Any], conf: Path, tried: list[str]) -> dict[str, str]:
    """The keys that `tried` overrides leave otherwise, with "++" where they leave none."""
    made = _flat(parameters.composed(conf, tried))
    return {
        key: "" if key in made else "++"
        for key, value in wanted.items()
        if key not in made or made[key] != value
    }


def _set_by(file: Path) -> list[tuple[str, Any]]:
    """The keys and values of a choice, as far as they stand in its own file."""
    from omegaconf import OmegaConf

    text = file.read_text(encoding="utf-8")
    group = "" if text.startswith(GLOBAL) else f"{file.parent.name}."
    values = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(text)))
    return [*_flat({key: values[key] for key in values if key != "defaults"}, group).items()]


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
