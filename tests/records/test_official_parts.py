import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.records.official_parts import WORDS, part_of

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
SUBSETS = {
    "train": ["Train", "TRAIN", "training", "train_images", "01-train", "TrainSet", "trainData"],
    "val": ["val", "Valid", "VALIDATION", "validation set", "dev", "val2", "Validaci\u00f3n"],
    "test": [
        "test",
        "Testing",
        "auto_test",
        "testSet",
        "hold-out",
        "Hold Out",
        "holdout",
    ],
    "": ["Normal", "0", "KL4", "Contest", "latest", "Valgus", "strain", "", "...", "detest"],
}


@pytest.mark.parametrize(
    ("name", "part"),
    [(name, part) for part, names in SUBSETS.items() for name in names],
)
def test_a_name_tells_the_subset_by_a_whole_word(name: str, part: str) -> None:
    assert part_of(name) == part


@given(
    st.sampled_from([(word, part) for part, words in WORDS.items() for word in words]),
    st.sampled_from([str, str.upper, str.capitalize]),
    st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]),
    st.sampled_from(["{}", "1_{}", "{} 2", "_{}_", "-{}", "{}01"]),
)
def test_case_unicode_form_and_numbers_change_nothing(
    word: tuple[str, str], case: type[str], form: Form, around: str
) -> None:
    name = unicodedata.normalize(form, around.format(case(word[0])))
    assert part_of(name) == word[1]
