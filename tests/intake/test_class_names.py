import random
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.intake.class_names import (
    ClassNameError,
    check,
    check_level,
    check_order,
    in_order,
    key,
    spellings,
)


@pytest.mark.parametrize(
    "scale",
    [
        ["Normal", "Osteopenia", "Osteoporosis"],
        ["NORMAL", "osteopenia", "Osteoporosis"],
        ["0", "1", "2", "3", "4"],
        [str(number) for number in range(12)],
        ["KL0", "KL1", "KL2"],
        ["Grade 0", "Grade 1", "Grade 2", "Grade 10"],
        ["kl_grade 1", "kl_grade 2", "kl_grade 3"],
        ["-1", "0", "1", "2"],
        ["0 Normal", "1 Doubtful", "2 Mild", "10 Severe"],
        ["0Normal", "1-doubtful", "2_mild", "3. moderate"],
        ["Grade 0 (none)", "Grade 1", "grade 2: mild"],
        ["Kellgren-Lawrence 0", "Kellgren-Lawrence 1", "Kellgren-Lawrence 2"],
        ["G0", "G1", "G2"],
        ["2", "10"],
        ["healthy", "osteoporosis"],
        ["Normal"],
    ],
)
def test_a_scale_that_its_names_tell_is_in_its_order(scale: list[str]) -> None:
    for seed in range(5):
        assert in_order(random.Random(seed).sample(scale, len(scale)), "x") == scale


@pytest.mark.parametrize(
    "names",
    [
        ["Normal", "Doubtful", "Mild", "Moderate", "Severe"],
        ["Normal", "Osteopenia", "Osteoporosis", "Severe"],
        ["0", "1", "KL2"],
        ["ward0", "ward1", "ward2"],
        ["train", "val", "test"],
        ["I", "II", "III"],
        ["0 a", "0 b", "1 c"],
        ["1.5 a", "2 b", "3 c"],
        ["0-1 none", "2 mild", "3-4 severe"],
        ["Grade 0 none", "1 mild", "2 severe"],
        ["low", "mid", "high"],
    ],
)
def test_of_other_names_the_order_is_asked_for(names: list[str]) -> None:
    with pytest.raises(ClassNameError, match=r"films has the classes .*-S .data\.classes=\["):
        in_order(names, "films")


NAMES = st.text(st.characters(categories=("L", "Nd", "Zs")), min_size=1, max_size=8)


@given(NAMES, st.sampled_from(["NFC", "NFD"]), st.sampled_from([str.upper, str.lower, str.title]))
def test_unicode_form_blanks_and_case_make_no_other_class(
    name: str, form: Literal["NFC", "NFD"], case: object
) -> None:
    assert callable(case)
    other = unicodedata.normalize(form, f" {name}\u00a0\u200b")
    assert key(other) == key(name)
    if name.isascii():
        assert key(case(name)) == key(name)


@pytest.mark.parametrize(
    ("labels", "classes", "spelled"),
    [
        (["Normal", "Normal", "NORMAL"], [], ["Normal"] * 3),
        (["normal", "NORMAL"], ["Normal", "OA"], ["Normal"] * 2),
        (["0.0", "1.0", "0,00"], [], ["0", "1", "0"]),
        (["0", "0.0"], ["0", "1"], ["0", "0"]),
        (["1.5", "1"], [], ["1.5", "1"]),
        (["TRUE", "True"], [], ["TRUE"] * 2),
        (["Oste\u0301o", "Ost\u00e9o"], ["Ost\u00e9o"], ["Ost\u00e9o"] * 2),
        (["A+", "A*"], [], ["A+", "A*"]),
        (["No OA", "No OA", "no_oa", "NO-OA"], [], ["No OA"] * 4),
        (["KL0", "KL 0", "kl_00", "KL-0"], ["KL 0"], ["KL 0"] * 4),
        (["kl_grade 1", "KL-Grade-1"], [], ["KL-Grade-1"] * 2),
        (["Grade -1", "Grade 1", "1"], [], ["Grade -1", "Grade 1", "1"]),
    ],
)
def test_labels_have_one_spelling(
    labels: list[str], classes: list[str], spelled: list[str]
) -> None:
    found = spellings(labels, classes, "sheet")
    assert [found[label] for label in labels] == spelled


@pytest.mark.parametrize("name", ["A|B", "a/b", "a\\b", "=cmd()", "a\nb", "x" * 61, "a\u200bb"])
def test_a_name_that_results_cannot_bear_is_refused(name: str) -> None:
    with pytest.raises(ClassNameError, match="cannot be the name of a class"):
        check(["Normal", name], "films")


@pytest.mark.parametrize("other", ["normal", "Normal ", "\uff2eormal"])
def test_two_names_that_read_the_same_are_refused(other: str) -> None:
    with pytest.raises(ClassNameError, match="films has the classes 'Normal' and '"):
        check(["Normal", "Osteopenia", other], "films")


@pytest.mark.parametrize(
    "classes", [["Normal", "Osteoporosis", "Osteopenia"], ["0", "2", "1"], ["KL1", "KL10", "KL2"]]
)
def test_a_known_scale_in_another_order_is_refused(classes: list[str]) -> None:
    with pytest.raises(ClassNameError, match="in this order, but their scale is"):
        check_order(classes)


@pytest.mark.parametrize(
    "classes", [["2", "1", "0"], ["0", "1", "2"], ["b", "a", "c"], ["1b", "0a", "2c"]]
)
def test_a_scale_may_be_told_from_either_end(classes: list[str]) -> None:
    check_order(classes)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (["internal", "external"], ["Normal", "Osteoporosis"]),
        (["left", "right"], ["0", "1", "2"]),
        (["AP", "LAT"], ["a", "b"]),
        (["1", "2", "3"], ["Normal", "Osteoporosis"]),
        (["fold_1", "fold_2"], ["OA", "No OA"]),
        (["site A", "site B"], ["x", "y"]),
        (["images", "masks"], ["KL0", "KL1"]),
    ],
)
def test_folders_that_hold_the_classes_are_no_classes(outer: list[str], inner: list[str]) -> None:
    with pytest.raises(ClassNameError, match=r"for classes .* give .*data\.parts=\["):
        check_level(outer, inner, "films")


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (["Normal", "Osteoporosis"], ["left", "right"]),
        (["Normal", "Osteoporosis"], ["0", "1"]),
        (["Normal", "Osteoporosis"], ["site A", "site B"]),
        (["0", "1", "2"], ["male", "female"]),
        (["KL0", "KL1"], ["site A", "site B"]),
        (["OA", "No OA"], ["1", "2", "3"]),
        (["x", "y"], ["AP", "LAT"]),
        (["x", "y"], [f"P{number}" for number in range(11)]),
        (["x", "y"], ["z"]),
        (["wrapper"], ["Normal", "OA"]),
        (["x", "y"], []),
    ],
)
def test_folders_in_class_folders_are_no_doubt(outer: list[str], inner: list[str]) -> None:
    check_level(outer, inner, "films")


@pytest.mark.parametrize(
    "names",
    [["left", "right"], ["AP", "LAT"], ["images", "masks"], ["fold1", "fold_2"], ["M", "F"]],
)
def test_names_that_are_no_findings_are_classes_only_if_the_user_says_so(names: list[str]) -> None:
    with pytest.raises(ClassNameError, match=r"do not read like findings: .*-S 'data\.classes=\["):
        in_order(names, "films")
    check_order(names)
