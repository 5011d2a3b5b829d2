"""The table of DVC's experiments."""

from __future__ import annotations

from typing import Any

from knee.run import experiments

FIGURES = {
    "cross_validated_macro_f1": 0.736,
    "cross_validated_macro_f1_low": 0.698,
    "cross_validated_macro_f1_high": 0.772,
    "test_macro_f1": 0.71,
    "test_macro_f1_low": float("nan"),
    "test_macro_f1_high": None,
    "best_shortcut": "nearest_neighbour",
    "best_shortcut_macro_f1": 0.68,
    "test_calibration_error": 0.09,
    "backbone": "mobilenet",
    "data.name": "a-data-set-with-a-long-name",
    "Created": "Nov 29, 2026",
}


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {"Experiment": name, "rev": "524f4bc", **FIGURES, **changes}


def test_a_line_fits_120_columns_and_has_what_decides() -> None:
    lines = experiments.table([row("spiny-cobblestones-for-ever")]).splitlines()
    assert max(map(len, lines)) <= 120
    assert "0.74 (0.70-0.77)" in lines[1]
    assert "0.68 nearest neighbour" in lines[1]
    assert " 0.71 " in lines[1]


def test_the_best_is_first_and_a_commit_without_results_is_a_line_of_dashes() -> None:
    errors = dict.fromkeys(FIGURES, "!")
    rows = [{**row(""), **errors, "Experiment": None, "rev": "master"}, row("a"), row("b")]
    rows[2]["cross_validated_macro_f1"] = 0.8
    lines = experiments.table(rows).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["b", "a", "master"]
    assert lines[3].split()[1:] == ["-"] * 7
    assert "!" not in "".join(lines)
    assert lines[4] == experiments.MISSED
