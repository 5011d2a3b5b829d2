import random
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.intake.class_names import ClassNameError, check, check_order, in_order, key, spellings


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
        ["low", "mid", "high"],
    ],
)
def test_of_other_names_the_order_is_asked_for(names: list[str]) -> None:
    with pytest.raises(ClassNameError, match=r"films has the classes .*-S 'data\.classes=\["):
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


@pytest.mark.parametrize("classes", [["2", "1", "0"], ["0", "1", "2"], ["b", "a", "c"], ["b", "a"]])
def test_a_scale_may_be_told_from_either_end(classes: list[str]) -> None:
    check_order(classes)
