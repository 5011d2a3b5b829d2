"""Overrides of conf/, as `dvc exp run -S` takes them: composed and checked, with our own messages.

Hydra tells of the first mistake only, in its own words, and DVC takes seconds to start it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from knee.run import parameter_errors, parameters
from knee.run.parameters import Params, ParamsError

QUOTING = "a value with blanks, brackets or accents needs two pairs of quotes: -S \"key='value'\""


def composed(conf: Path, overrides: Sequence[str]) -> Params:
    """Return the parameters of the Hydra configuration in `conf` with `overrides`, checked.

    Of a sweep, such as train.seed=1,2, the first value is checked.

    Raises:
        ParamsError: a key, a choice or a value cannot be used.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    single = [_first_of_sweep(conf, override) for override in overrides]
    with initialize_config_dir(str(conf.resolve()), version_base=None):
        try:
            made = compose("config", overrides=single)
            if missing := sorted(OmegaConf.missing_keys(made)):
                raise ParamsError(f"{missing[0]} is not set: give -S {missing[0]}=VALUE")
            values = OmegaConf.to_container(made, resolve=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise ParamsError(str(error).splitlines()[0]) from None
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
