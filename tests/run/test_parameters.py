"""params.yaml: composed from conf/, read strictly, errors named by their dotted path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from knee.run import parameters

ROOT = Path(__file__).parents[2]
CHOICES = [
    f"{file.parent.name}={file.stem}"
    for file in sorted((ROOT / "conf").glob("*/*.yaml"))
    if file.parent.name != "data"
]


def composed(*overrides: str) -> dict[str, Any]:
    """conf/ with `overrides`, as plain values."""
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        values = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


@pytest.fixture
def values() -> dict[str, Any]:
    """The default configuration."""
    return composed()


def load(values: dict[str, Any], folder: Path) -> parameters.Params:
    """`values` through a file."""
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return parameters.load(file)


def test_params_yaml_is_conf_composed(values: dict[str, Any]) -> None:
    committed = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert committed == values, "run `make params`, or `git checkout params.yaml` after experiments"


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_of_every_group_composes(choice: str, tmp_path: Path) -> None:
    load(composed(choice), tmp_path)


def test_a_folder_brings_its_own_training_and_no_generator(tmp_path: Path) -> None:
    read = load(composed("data=folder", "data.path=/films"), tmp_path)
    assert read.data.generators == ()
    assert not read.data.synthetic
    assert read.train == load(composed("train=frozen"), tmp_path).train or read.train.epochs > 0
    assert read.register.model_name == "knee-bone-health-folder"


def test_the_published_experiment_is_leaky_and_says_so(tmp_path: Path) -> None:
    read = load(composed("experiment=published"), tmp_path)
    assert read.split.protocol == "random"
    assert read.head.design == "published"
    assert read.model.pixel_scaling == "unit"
    assert (read.train.epochs, read.train.batch_size, read.train.learning_rate) == (10, 16, 1e-4)
    assert read.train.early_stopping_patience == 5


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.epochs", "many", "train.epochs: expected int"),
        ("train.epochs", 0, "train.epochs: 0 is not positive"),
        ("train.augmentation.contrast", None, "train.augmentation.contrast: expected float"),
        ("train.augmentation.mixup", 2.0, "train.augmentation.mixup: 2.0 is outside 0-1"),
        ("split.test_share", 1.5, "split.test_share: 1.5 is outside 0-1"),
        ("split.protocol", "lucky", "split.protocol: 'lucky' is none of grouped, random"),
        ("split.protokoll", 1, "unknown key split.protokoll"),
        ("model.backbones", [], "model.backbones is empty"),
        ("model.backbones", "xception", "model.backbones: expected a list"),
    ],
)
def test_a_bad_value_is_named_by_its_dotted_path(
    values: dict[str, Any], tmp_path: Path, key: str, value: object, message: str
) -> None:
    section = values
    *parents, last = key.split(".")
    for parent in parents:
        section = section[parent]
    section[last] = value
    with pytest.raises(parameters.ParamsError) as caught:
        load(values, tmp_path)
    assert message in str(caught.value)


def test_a_missing_key_is_named(values: dict[str, Any], tmp_path: Path) -> None:
    del values["head"]["dropout"]
    with pytest.raises(parameters.ParamsError, match=r"missing key head\.dropout"):
        load(values, tmp_path)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(parameters.ParamsError, match="run from the project's root"):
        parameters.load(tmp_path / "params.yaml")


def test_shares_that_leave_nothing_to_train_on_are_refused(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values["split"] |= {"validation_share": 0.5, "test_share": 0.5}
    with pytest.raises(parameters.ParamsError, match="leave nothing to train on"):
        load(values, tmp_path)


def test_the_recipe_of_grades_goes_with_its_data(tmp_path: Path) -> None:
    overrides = ("data=kellgren_lawrence", "data.path=films", "experiment=kellgren_lawrence")
    read = load(composed(*overrides), tmp_path)
    assert (read.split.protocol, read.data.parts) == ("official", ("train", "val", "test"))
    assert (read.model.backbones, read.train.soft_label_deviation) == (("mobilenet",), 0.5)
    assert read.register.selection_metric == "quadratic_kappa"
