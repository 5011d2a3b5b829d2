"""Models are chosen by images that none of them has seen."""

from __future__ import annotations

from typing import Any, cast

import pandas as pd

from knee.promotion import candidates
from knee.promotion.candidates import Candidate


def candidate(name: str, **records: list[int]) -> Candidate:
    """A model with predictions of these records, by subset."""
    rows = [{"subset": subset, "record": one} for subset, own in records.items() for one in own]
    nothing = cast(Any, {})
    table = pd.DataFrame(rows)
    return Candidate(name, nothing, nothing, None, table, subsets=table)


def test_models_are_chosen_by_the_images_that_all_of_them_have_held_out() -> None:
    ensemble, student = (
        candidate("a", development=[1, 2, 3], test=[4]),
        candidate("b", development=[2]),
    )
    for compared, expected in (([ensemble], [1, 2, 3]), ([ensemble, student], [2])):
        for table in candidates.unseen(compared).values():
            assert table["record"].tolist() == expected
