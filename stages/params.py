"""params.yaml -> frozen dataclasses; the only reader of that file.

`load(Path("params.yaml"))` gives one `Params`. A missing key, an unknown key, a value of the
wrong type or outside its range raises `ParamsError`, which names the key by its dotted path.
Edit `conf/`, not `params.yaml`: the latter is composed from the former by

python -m stages.params --conf conf --out params.yaml
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from stages.parameters.data import Data, Ingest
from stages.parameters.evidence import Caution, Evaluate, Explain
from stages.parameters.training import Head
from stages.parameters.whole import Params

__all__ = [
    "Caution",
    "Data",
    "Evaluate",
    "Explain",
    "Head",
    "Ingest",
    "Params",
    "ParamsError",
    "as_dictionary",
    "compose",
    "load",
]

Section = TypeVar("Section")


class ParamsError(ValueError):
    """A key of params.yaml is missing, unknown or has a value that cannot be used."""


SHARES = (
    "ingest.copy_correlation",
    "ingest.local_correlation",
    "ingest.look_alike_correlation",
    "ingest.marked_copy_correlation",
    "ingest.marked_local_correlation",
    "ingest.copy_overlap",
    "ingest.member_slack",
    "validate.maximum_rejected_share",
    "validate.maximum_quarantined_share",
    "validate.maximum_conflicting_share",
    "validate.maximum_share_error",
    "audit.alarm_level",
    "audit.interval_level",
    "split.validation_share",
    "split.test_share",
    "head.dropout",
    "train.label_smoothing",
    "train.augmentation.mixup",
    "caution.set_level",
    "caution.familiar_quantile",
    "evaluate.interval_level",
    "compare.interval_level",
    "register.minimum_probability",
    "register.maximum_calibration_error",
    "cross_validate.interval_level",
    "cross_validate.validation_share",
    "explain.patch_share",
    "explain.stride_share",
    "explain.interval_level",
)
POSITIVE = (
    "sample.patients",
    "sample.size_pixels",
    "ingest.image_size_pixels",
    "ingest.look_alikes",
    "ingest.maximum_megapixels",
    "ingest.maximum_archive_files",
    "ingest.maximum_archive_gigabytes",
    "split.folds",
    "audit.folds",
    "audit.repeats",
    "audit.permutations",
    "audit.bootstrap_draws",
    "audit.most_pictures",
    "audit.thumbnail_pixels",
    "audit.report_megabytes",
    "head.squeeze_ratio",
    "head.attention_heads",
    "train.epochs",
    "train.batch_size",
    "train.learning_rate",
    "evaluate.bootstrap_draws",
    "compare.bootstrap_draws",
    "register.bootstrap_draws",
    "cross_validate.bootstrap_draws",
    "cross_validate.folds",
    "cross_validate.repeats",
    "explain.images",
    "explain.images_shown",
    "explain.patch_share",
    "explain.stride_share",
    "explain.most_forward_passes",
    "explain.bootstrap_draws",
)


def load(path: Path) -> Params:
    """Read and check `path`; raise `ParamsError` with the dotted path of what is wrong."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(f"{path} does not exist: run from the project's root") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {error}") from error
    params = _build(Params, values, "")
    _check_ranges(params)
    return params


def compose(conf: Path, out: Path) -> None:
    """Write the defaults of the Hydra configuration in the folder `conf` to `out`."""
    from hydra import compose as hydra_compose  # only composing needs it
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(conf.resolve()), version_base=None):
        text = OmegaConf.to_yaml(hydra_compose("config"), resolve=True)
    out.write_text(text, encoding="utf-8")


def as_dictionary(section: Any) -> dict[str, Any]:
    """A section as plain values, for records and MLflow."""
    return dataclasses.asdict(section)


def _build(section: type[Section], values: Any, prefix: str) -> Section:
    if not isinstance(values, dict):
        raise ParamsError(f"{prefix or 'params.yaml'}: expected a mapping, found {values!r}")
    hints = typing.get_type_hints(section)
    for unknown in sorted(set(values) - set(hints), key=str):
        raise ParamsError(f"unknown key {_join(prefix, str(unknown))}; known: {', '.join(hints)}")
    for missing in [name for name in hints if name not in values]:
        raise ParamsError(f"missing key {_join(prefix, missing)}")
    return section(
        **{name: _convert(hint, values[name], _join(prefix, name)) for name, hint in hints.items()}
    )


def _convert(hint: Any, value: Any, key: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, key)
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ParamsError(f"{key}: {value!r} is none of {', '.join(typing.get_args(hint))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ParamsError(f"{key}: expected a list, found {value!r}")
        return tuple(_convert(typing.get_args(hint)[0], item, key) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ParamsError(f"{key}: expected a mapping, found {value!r}")
        inner = typing.get_args(hint)[1]
        return {_name(one, key): _convert(inner, value[one], f"{key}.{one}") for one in value}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ParamsError(f"{key}: expected {hint.__name__}, found {value!r}")
    return value


def _name(name: Any, key: str) -> str:
    """`name` if it can be part of a file's name."""
    if not (isinstance(name, str) and re.fullmatch(r"\w[\w-]{0,63}", name)):
        raise ParamsError(f"{key}: {name!r} is no name: use letters, digits, _ and -")
    return name


def _check_ranges(params: Params) -> None:
    for key in SHARES:
        if not 0 <= _get(params, key) <= 1:
            raise ParamsError(f"{key}: {_get(params, key)} is outside 0-1")
    for key in POSITIVE:
        if _get(params, key) <= 0:
            raise ParamsError(f"{key}: {_get(params, key)} is not positive")
    if params.split.validation_share + params.split.test_share >= 1:
        raise ParamsError("split.validation_share + split.test_share leave nothing to train on")
    if not params.model.backbones:
        raise ParamsError("model.backbones is empty: name at least one backbone")


def _get(params: Params, key: str) -> Any:
    value: Any = params
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def main(argv: Sequence[str] | None = None) -> int:
    """Compose params.yaml."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    compose(arguments.conf, arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
