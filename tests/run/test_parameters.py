"""params.yaml: composed from conf/, read strictly, errors named by their dotted path."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from knee.run import parameter_types, parameters
from knee.statistics import scores

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


@cache
def defaults() -> str:
    """The default configuration as JSON."""
    return json.dumps(composed())


@pytest.fixture
def values() -> dict[str, Any]:
    """The default configuration."""
    return dict(json.loads(defaults()))


def load(values: dict[str, Any], folder: Path) -> parameters.Params:
    """`values` through a file."""
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return parameters.load(file)


def test_params_yaml_is_conf_composed(values: dict[str, Any]) -> None:
    committed = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert committed == values, "run `make params`, or `git checkout params.yaml` after experiments"


def test_a_figure_has_the_same_interval_wherever_it_is_shown(values: dict[str, Any]) -> None:
    """Equal draws of equal groups: those of a figure, and those of its comparison with others."""
    decisive = ("bootstrap_draws", "interval_level", "seed")
    used = [
        [values[stage][name] for name in decisive]
        for stage in ("cross_validate", "evaluate", "compare")
    ]
    assert used[0] == used[1] == used[2]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_of_every_group_composes(choice: str, tmp_path: Path) -> None:
    load(composed(choice, *["train.members=2"] * choice.startswith("model=")), tmp_path)


@pytest.mark.parametrize("model", ["ensemble", "mobilenet_distilled"])
@pytest.mark.parametrize("nets", ["train.members=1", "split=random"])
def test_models_of_ensembles_need_ensembles(model: str, nets: str) -> None:
    with pytest.raises(parameters.ParamsError, match=r"give train\.members above 1, and a split"):
        parameters.check(composed(f"model={model}", "train.members=2", nets))


TOGETHER = ("train.workers=2", "execution.trusted_network=true")


@pytest.mark.parametrize(
    ("overrides", "wrong"),
    [
        ([*TOGETHER, "train.members=2"], r"train\.workers: members of an ensemble"),
        (["train.workers=2"], r"execution\.trusted_network: "),
        ([*TOGETHER, "train.batch_size=15"], r"workers: 2 do not divide batch_size 15"),
        ([*TOGETHER, "train.devices=2"], r"devices: each of several workers has one GPU"),
        (
            [*TOGETHER, "execution.launcher=ssh", "execution.hosts=[10.0.0.1]"],
            r"execution\.hosts: 1 of train\.workers=2",
        ),
        (
            [*TOGETHER, "execution.hosts=[a,b]"],
            r"execution\.hosts: .* give execution\.launcher=ssh",
        ),
        (["execution.hosts=['-oProxyCommand=x']"], r"execution\.hosts.*is no name or address"),
    ],
)
def test_several_workers_need_a_single_net_and_a_place_for_each(
    overrides: list[str], wrong: str
) -> None:
    assert parameters.check(composed(*TOGETHER)).train.workers == 2
    with pytest.raises(parameters.ParamsError, match=wrong):
        parameters.check(composed(*overrides))


def test_the_joint_model_is_of_both_backbones_and_one_more_candidate(tmp_path: Path) -> None:
    found = composed("model=ensemble", "train.members=2")
    assert load(found, tmp_path).model.candidates == ("mobilenet", "xception", "ensemble")
    one = changed(found, "model.backbones", ["mobilenet"])
    with pytest.raises(parameters.ParamsError, match=r"model\.backbones: .* need xception"):
        parameters.check(one)


def test_a_folder_brings_its_own_training_and_no_generator(tmp_path: Path) -> None:
    read = load(composed("data=folder", "data.path=/films"), tmp_path)
    assert read.data.generators == ()
    assert not read.data.synthetic
    assert (read.train.epochs, read.train.learning_rate) == ("auto", "auto")
    assert read.register.model_name == "knee-bone-health-folder"


def test_ingest_reads_the_data_as_they_are_unless_films_are_cut(tmp_path: Path) -> None:
    given = ("data.path=/films", "data.sheet=/sheet.csv")
    for data in ("folder", "osteoporosis", "kellgren_lawrence"):
        read = load(composed(f"data={data}", *given), tmp_path).locate
        assert (read.locators, read.images, read.sheet) == ((), "/films", "/sheet.csv")
    read = load(composed("data=folder", *given, "locate=knees"), tmp_path).locate
    assert read.locators == ("knees",)
    assert {Path(read.images).parts[:2], Path(read.sheet).parts[:2]} == {("data", "knees")}


def test_the_published_experiment_is_leaky_and_says_so(tmp_path: Path) -> None:
    read = load(composed("experiment=published"), tmp_path)
    assert read.split.protocol == "random"
    assert read.head.design == "published"
    assert read.model.pixel_scaling == "unit"
    assert (read.train.epochs, read.train.batch_size, read.train.learning_rate) == (10, 16, 1e-4)
    assert read.train.early_stopping_patience == 5


def changed(values: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """A copy of `values` with another value of a dotted key."""
    copy = json.loads(json.dumps(values))
    section = copy
    *parents, last = key.split(".")
    for parent in parents:
        section = section[parent]
    section[last] = value
    return dict(copy)


NOT_A_NAME = ("", " knees", "knees ", "a/b", "a|b", 'a"b', "a'b", "a\nb", "a\\b")
WRONG = [
    ("train.epochs", "many", "train.epochs: 'many' is not auto or a whole number (at least 1, at"),
    ("train.epochs", "5", "'5' is not auto or a whole number (at least 1, at most 10000): write 5"),
    ("train.epochs", 5.0, "train.epochs: 5.0 is not auto or a whole number"),
    ("train.epochs", 10**12, "1000000000000 is not"),
    ("train.epochs", True, "train.epochs: True is not auto or a whole number"),
    ("train.epochs", None, "train.epochs: None is not auto or a whole number"),
    ("train.learning_rate", "fast", "'fast' is not auto or a number (at least"),
    ("train.learning_rate", "0.001", "at most 1): write 0.001"),
    ("train.learning_rate", math.nan, "train.learning_rate: nan is not auto or a number"),
    ("train.learning_rate", math.inf, "train.learning_rate: inf is not auto or a number"),
    ("train.warmup_epochs", -1, "train.warmup_epochs: -1 is not"),
    ("train.warmup_epochs", 8, "train.warmup_epochs: 8 of 7 epochs"),
    ("train.soft_label_deviation", 1e-200, "is neither 0 nor at least"),
    ("train.augmentation.mixup", 2.0, "train.augmentation.mixup: 2.0 is not a number (at least 0"),
    ("train.augmentation.mixup", 1e-9, "train.augmentation.mixup: 1e-09 is neither 0 nor at least"),
    ("train.label_smoothing", 1, "train.label_smoothing: 1 is not a number (at least 0, below 1)"),
    ("train.seed", 2**32, "train.seed: 4294967296 is not"),
    ("train.seed", 2**32 - 1, "train.seed: 4294967295 leaves no seeds for 15 folds"),
    ("audit.seed", 2**32 - 1, "audit.seed: 4294967295 leaves no seeds"),
    ("audit.alarm_level", 0, "audit.alarm_level: 0 is not a number (above 0, below 1)"),
    ("audit.interval_level", 1, "audit.interval_level: 1 is not a number (above 0, below 1)"),
    ("audit.bootstrap_draws", 10**12, "audit.bootstrap_draws: 1000000000000 is not"),
    ("caution.set_level", 0, "caution.set_level: 0 is not"),
    ("ingest.hash_radius_bits", 257, "ingest.hash_radius_bits: 257 is not"),
    ("ingest.image_size_pixels", 8192, "ingest.image_size_pixels: 8192 is not"),
    ("ingest.lineage_patterns", [""], "ingest.lineage_patterns: '' is not text (characters: at"),
    ("ingest.lineage_patterns", ["("], "ingest.lineage_patterns: '(' is no regular expression"),
    ("ingest.copy_patterns", ["a", "a"], "has 'a' twice"),
    ("data.patient_pattern", "[", "data.patient_pattern: '[' is no regular expression"),
    (
        "data.patient_pattern",
        r"(?P<site>\d)-(?P<patient>\d+)",
        "has a group 'site': only patient and side are read",
    ),
    ("data.patient_pattern", "P(.)", "data.patient_pattern: 'P(.)' has no group (?P<patient>...)"),
    ("data.origin_pattern", "P(.)", "data.origin_pattern: 'P(.)' has no named group"),
    ("data.path", "", "data.path: '' is no path"),
    ("data.path", "???", "for example -S data.path=/path/to/images"),
    ("data.path", "/films/$(id)", "is no path"),
    ("data.path", "~/films", "is no path"),
    (
        "data.classes",
        ["Normal"],
        "data.classes: 'Normal' is the only one: give two or more",
    ),
    ("data.classes", ["Normal", "normal"], "data.classes: ['Normal', 'normal'] has 'normal' twice"),
    ("data.classes", [0.0, 1.0], "data.classes: 0.0 is not text"),
    ("data.classes", [False, True], "data.classes: False is not text"),
    ("data.classes", [0, "0"], "data.classes: [0, '0'] has '0' twice"),
    ("data.downloads", ["kaggle"], "data.dataset: '' is no owner/name/versions/number"),
    ("split.test_share", 1.5, "split.test_share: 1.5 is not a number (above 0, below 1)"),
    ("split.test_share", 0.85, "validation_share + test_share leave nothing to train on"),
    ("split.protocol", "lucky", "'lucky' is none of grouped, random, official"),
    ("model.backbones", [], "model.backbones: [] is not a list of mobilenet, xception (at"),
    ("model.backbones", "xception", "'xception' is not a list"),
    ("model.backbones", ["resnet"], "model.backbones: 'resnet' is none of mobilenet, xception"),
    ("model.backbones", ["xception", "xception"], "has 'xception' twice"),
    ("model.candidates", ["mobilenet"], "model.candidates: expected [mobilenet, xception]"),
    ("model.distilled", ["mobilenet"], "xception, mobilenet_distilled]"),
    ("model.train_from", "Head", "model.train_from: 'Head' is none of auto, head, all"),
    ("weights", "None", "weights: 'None' is none of none, imagenet"),
    ("weights", "", "weights: '' is none of none, imagenet"),
    ("head.attention_heads", 7, "head.attention_heads: 7 do not divide 64 channels"),
    ("head.dropout", 1, "head.dropout: 1 is not a number (at least 0, below 1)"),
    ("cross_validate.heads", {"a/b": {}}, "cross_validate.heads: 'a/b' is no name"),
    (
        "register.selection_metric",
        "brier",
        "register.selection_metric: 'brier' is none of accuracy",
    ),
    ("sample", 3, "sample: 3 is not a mapping"),
    ("sample.patients", 11, "sample.patients: 11 is not a whole number (at least 12"),
    ("sample.size_pixels", 95, "sample.size_pixels: 95 is not a whole number (at least 96"),
    *(("register.model_name", name, "is no name") for name in NOT_A_NAME),
    *(("data.classes", ["a", name], "is no name") for name in NOT_A_NAME),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(
    values: dict[str, Any], key: str, value: object, message: str
) -> None:
    with pytest.raises(parameters.ParamsError) as caught:
        parameters.check(changed(values, key, value))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("train.epoch", ": did you mean train.epochs?"),
        ("trian", ": did you mean train?"),
        ("head.label_smoothing", ": did you mean train.label_smoothing?"),
        ("sample.q", "; known: patients, size_pixels, seed"),
    ],
)
def test_an_unknown_key_is_told_the_nearest_one(
    values: dict[str, Any], key: str, nearest: str
) -> None:
    with pytest.raises(parameters.ParamsError) as caught:
        parameters.check(changed(values, key, 1))
    assert str(caught.value) == f"unknown key {key}{nearest}"


@pytest.mark.parametrize("data", ["folder", "osteoporosis", "kellgren_lawrence"])
def test_a_data_set_without_its_path_says_how_to_give_it(data: str) -> None:
    with pytest.raises(parameters.ParamsError, match=r"give -S data\.path=/path/to/images"):
        parameters.check(composed(f"data={data}"))


@pytest.mark.parametrize("text", ["2020-01-01: 3", "&a {b: *a}", "- 1", "", "a: ]", "\x00"])
def test_what_is_no_mapping_of_sections_is_one_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(parameters.ParamsError):
        parameters.load(file)


NUMERIC = [
    (key, schema["type"])
    for key, schema in parameters.known_keys().items()
    if schema.get("type") in ("integer", "number") and "NAME" not in key
]


def written(values: dict[str, Any], key: str, text: str) -> str:
    """A params.yaml in which `text` is written for the value of `key`."""
    return yaml.safe_dump(changed(values, key, "VALUE")).replace("VALUE", text)


@pytest.mark.parametrize(("key", "kind"), NUMERIC)
def test_an_exponent_is_a_number_in_every_numeric_field(
    values: dict[str, Any], key: str, kind: str
) -> None:
    for text, number in (("1e1", 10), ("5e-1", 0.5), ("1E+1", 10), ("2.5e+1", 25), ("1e-3", 1e-3)):
        try:
            read: Any = parameters.check(changed(values, key, parameters._yaml().load(text)))
        except parameters.ParamsError as error:
            refused = parameters.ParamsError
            with pytest.raises(refused) as plain:  # the same number without an exponent
                parameters.check(changed(values, key, number))
            assert str(plain.value) == str(error)  # noqa: PT017
        else:
            for name in key.split("."):
                read = getattr(read, name)
            assert read == number
            assert isinstance(read, int if kind == "integer" else float)


def test_a_file_may_have_exponents(values: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(written(values, "train.learning_rate", "1e-3"), encoding="utf-8")
    assert parameters.load(file).train.learning_rate == 1e-3


@pytest.mark.parametrize(("text", "seed"), [("012", 12), ("0o14", 12), ("1e3", 1000), ("0x1f", 31)])
def test_whole_numbers_are_read_as_dvc_reads_them(
    values: dict[str, Any], tmp_path: Path, text: str, seed: int
) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(written(values, "split.seed", text), encoding="utf-8")
    assert parameters.load(file).split.seed == seed == parse_yaml(f"a: {text}", "")["a"]


def test_a_key_that_stands_there_twice_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(values) + "weights: imagenet\n", encoding="utf-8")
    with pytest.raises(parameters.ParamsError, match="found duplicate key"):
        parameters.load(file)


def test_all_wrong_values_are_listed_at_once(values: dict[str, Any]) -> None:
    wrong = changed(changed(values, "train.epochs", 0), "sample.seed", -1)
    with pytest.raises(parameters.ParamsError, match=r"^sample\.seed: .*\n  train\.epochs: "):
        parameters.check(wrong)


KEYS = parameters.known_keys()
STRANGE: tuple[Any, ...] = (
    math.nan,
    math.inf,
    -math.inf,
    -1,
    0,
    1,
    10**30,
    0.5,
    1e-300,
    "",
    "5",
    None,
    True,
    [],
    {},
)


@pytest.mark.parametrize("key", [key for key in KEYS if "NAME" not in key])
def test_what_is_accepted_lies_in_the_range_that_is_documented(
    values: dict[str, Any], key: str
) -> None:
    for value in STRANGE:
        try:
            parameters.check(changed(values, key, value))
        except parameters.ParamsError as error:
            assert key.rpartition(".")[0] in str(error)  # noqa: PT017
        else:
            assert fits(value, KEYS[key]), (key, value)


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether `value` is what the schema says, for the keywords that are used."""
    kinds: dict[str, Any] = {
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "string": str,
        "array": list,
    }
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    if "const" in schema:
        return bool(value == schema["const"])
    kind = schema.get("type", "object")
    if not isinstance(value, kinds.get(kind, dict)) or isinstance(value, bool) != (
        kind == "boolean"
    ):
        return False
    if kind not in ("integer", "number"):
        return "enum" not in schema or value in schema["enum"]
    return (
        math.isfinite(value)
        and value >= schema.get("minimum", -math.inf)
        and value > schema.get("exclusiveMinimum", -math.inf)
        and value <= schema.get("maximum", math.inf)
        and value < schema.get("exclusiveMaximum", math.inf)
    )


def test_every_number_has_two_limits_and_every_key_an_explanation() -> None:
    for key, schema in KEYS.items():
        if schema.get("type") in ("integer", "number"):
            assert any("inimum" in word for word in schema), key
            assert any("aximum" in word for word in schema), key
        assert "description" in schema or "$ref" in schema, key


def test_the_explanation_has_a_line_for_each_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert parameters.main(["--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "train.epochs" in {line.split()[0] for line in lines}
    assert [line.split()[0] for line in lines] == [
        key for key, schema in KEYS.items() if "description" in schema
    ]


def test_the_metrics_that_may_choose_are_those_that_are_computed() -> None:
    assert parameter_types.METRICS == scores.LARGER_IS_BETTER


def test_the_backbones_are_those_of_the_classifiers_table() -> None:
    source = (ROOT / "knee" / "classifier" / "net" / "backbones.py").read_text(encoding="utf-8")
    (table,) = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "BACKBONES"
    ]
    assert isinstance(table, ast.Dict)
    names = tuple(key.value for key in table.keys if isinstance(key, ast.Constant))
    assert names == parameter_types.BACKBONES


def test_sections_are_frozen(values: dict[str, Any], tmp_path: Path) -> None:
    read = load(values, tmp_path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.train.epochs = 3  # type: ignore[misc]


def test_a_missing_key_is_named(values: dict[str, Any], tmp_path: Path) -> None:
    del values["head"]["dropout"]
    with pytest.raises(parameters.ParamsError, match=r"missing key head\.dropout"):
        load(values, tmp_path)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(parameters.ParamsError, match="run from the project's root"):
        parameters.load(tmp_path / "params.yaml")


def test_the_recipe_of_grades_goes_with_its_data(tmp_path: Path) -> None:
    overrides = ("data=kellgren_lawrence", "data.path=films", "experiment=kellgren_lawrence")
    read = load(composed(*overrides), tmp_path)
    assert (read.split.protocol, read.data.parts) == ("official", ("train", "val", "test"))
    assert (read.model.backbones, read.train.soft_label_deviation) == (("mobilenet",), 0.5)
    assert read.register.selection_metric == "quadratic_kappa"


def test_classes_and_parts_that_are_whole_numbers_are_their_digits(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values["data"] |= {"classes": [0, 1, "2a"], "parts": [2023, 2024]}
    data = load(values, tmp_path).data
    assert (data.classes, data.parts) == (("0", "1", "2a"), ("2023", "2024"))


def test_classes_are_in_one_unicode_form(values: dict[str, Any], tmp_path: Path) -> None:
    values["data"]["classes"] = ["Oste\u0301o", "b"]
    assert load(values, tmp_path).data.classes == ("Ost\u00e9o", "b")
