"""The checks of explanation.json on maps whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from knee.evidence.explanation import attributions, explanation_report
from knee.statistics.bootstrap import Bootstrap

ROWS, SIDE = 6, 32
NAMES = ["a", "b", "empty"]
LABELS = ["a", "b"] * 3


def images(groups: list[int] | None = None) -> explanation_report.GroupedImages:
    return explanation_report.GroupedImages(
        np.array(groups or range(ROWS)), Bootstrap(draws=200, level=0.95, seed=1)
    )


def random_maps(seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).uniform(size=(ROWS, SIDE, SIDE))


def region() -> np.ndarray[Any, np.dtype[np.float64]]:
    bone = np.zeros((ROWS, SIDE, SIDE))
    bone[:, 8:24, 12:20] = 1
    return bone


def report(**changes: Any) -> dict[str, Any]:
    maps = {"grad_cam": random_maps(1), "occlusion": random_maps(2)}
    given: dict[str, Any] = {"maps": maps, "randomised": {"head": maps}, "bone": region()}
    given |= changes
    found: dict[str, Any] = explanation_report.report(
        LABELS, NAMES, cells=8, images=images(), **given
    )
    return found


def test_a_map_equal_to_the_mask_passes_the_pointing_test() -> None:
    pointing = report(maps={"grad_cam": region(), "occlusion": 1 - region()})["pointing"]
    assert pointing["methods"]["grad_cam"]["attribution_share"]["mean"] == 1
    assert pointing["methods"]["grad_cam"]["peaks_on_bone"]["mean"] == 1
    assert pointing["methods"]["occlusion"]["attribution_share"]["mean"] == 0
    assert pointing["area_share"]["mean"] == region().mean()


def test_without_masks_pointing_is_null_and_says_why() -> None:
    found = report(bone=np.full((ROWS, SIDE, SIDE), np.nan))
    assert found["pointing"] is None
    assert "bone_masks" in found["pointing_reason"]
    assert not [name for name in explanation_report.dvc_metrics(found) if name.startswith("bone")]


def test_images_without_a_mask_are_left_out_of_pointing_alone() -> None:
    bone = region()
    bone[0] = np.nan
    found = report(bone=bone)
    methods = found["pointing"]["methods"]["grad_cam"]
    assert methods["attribution_share"]["images"] == ROWS - 1
    assert methods["peaks_on_bone"]["images"] == ROWS - 1
    assert found["border"]["methods"]["grad_cam"]["attribution_share"]["images"] == ROWS


def test_uniform_maps_have_the_border_share_of_the_area_in_every_class() -> None:
    uniform = np.ones((ROWS, SIDE, SIDE))
    border = report(maps={"grad_cam": uniform, "occlusion": uniform})["border"]
    found = border["methods"]["occlusion"]
    assert found["attribution_share"]["mean"] == pytest.approx(border["area_share"], abs=1e-6)
    assert found["per_class"]["a"]["images"] == ROWS // 2
    assert found["per_class"]["empty"] == {"mean": None, "low": None, "high": None, "images": 0}


def test_unchanged_maps_correlate_perfectly_and_other_ones_do_not() -> None:
    same = report()["randomisation"]["head"]["grad_cam"]
    assert same == {"mean": 1.0, "low": 1.0, "high": 1.0, "images": ROWS}
    other = {"grad_cam": random_maps(3), "occlusion": random_maps(4)}
    found = report(randomised={"head": other})
    assert abs(found["randomisation"]["head"]["occlusion"]["mean"]) < 0.3
    assert abs(found["agreement"]["mean"]) < 0.3


def test_maps_without_attribution_are_counted() -> None:
    flat = random_maps(1)
    flat[:2] = 0
    found = report(maps={"grad_cam": flat, "occlusion": random_maps(2)})
    assert found["maps_without_attribution"] == {"grad_cam": 2, "occlusion": 0}
    assert found["agreement"]["images"] == ROWS - 2


def test_the_interval_draws_groups_and_one_group_has_none() -> None:
    values = np.array([0.0, 0, 0, 1, 1, 1])
    alone, paired = images().mean(values), images([0, 0, 0, 1, 1, 1]).mean(values)
    assert (paired["low"], paired["high"]) == (0, 1)
    assert alone["low"] is not None
    assert 0 < alone["low"] < 0.5
    assert images([7] * ROWS).mean(values) == {
        "mean": 0.5,
        "low": None,
        "high": None,
        "images": ROWS,
    }


def test_the_headline_is_flat_and_of_the_deepest_level() -> None:
    other = {"grad_cam": random_maps(3), "occlusion": random_maps(4)}
    first = report()["randomisation"]["head"]
    found = report(randomised={"head": other, "trained": report_maps()})
    flat = explanation_report.dvc_metrics(found)
    assert flat["randomised_grad_cam"] == first["grad_cam"]["mean"]
    assert all(isinstance(value, float) for value in flat.values())
    assert flat["border_area"] == attributions.border_ring(SIDE).mean()


def test_the_log_says_in_words_how_much_of_each_method_lies_on_the_border() -> None:
    titles = {"grad_cam": "Grad-CAM", "occlusion": "occlusion"}
    everywhere = np.ones((ROWS, SIDE, SIDE))
    found = report(maps={"grad_cam": everywhere, "occlusion": everywhere})
    assert explanation_report.sentence(found, titles) == (
        "of the attribution, 44% (Grad-CAM) and 44% (occlusion) lie on the border, "
        "which is 44% of the area"
    )
    nowhere = report(maps={"grad_cam": 0 * everywhere, "occlusion": 0 * everywhere})
    assert explanation_report.sentence(nowhere, titles) == "no attribution: all maps are empty"


def report_maps() -> dict[str, Any]:
    return {"grad_cam": random_maps(1), "occlusion": random_maps(2)}


def test_classes_take_turns_and_the_same_seed_chooses_the_same_images() -> None:
    table = pd.DataFrame({"class_index": [0] * 20 + [1] * 3 + [2] * 10})
    rows = explanation_report.rows_to_explain(table, 9, 5)
    assert table["class_index"].iloc[rows].value_counts().to_dict() == {0: 3, 1: 3, 2: 3}
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert explanation_report.rows_to_explain(table, 9, 5).tolist() == rows.tolist()
    assert explanation_report.rows_to_explain(table, 9, 6).tolist() != rows.tolist()
    assert len(explanation_report.rows_to_explain(table, 99, 5)) == len(table)
    few = explanation_report.of_each_class(table, 2)
    assert table["class_index"].iloc[few].tolist() == [0, 0, 1, 1, 2, 2]


def test_heat_fills_zero_to_one_and_no_evidence_is_no_heat() -> None:
    maps = np.stack([random_maps(1)[0] - 0.5, -np.ones((SIDE, SIDE))])
    heat = explanation_report.as_heat(maps)
    assert (heat.min(), heat[0].max(), heat[1].max()) == (0, 1, 0)
