"""What the explanations of one backbone are worth: the content of explanation.json.

Every figure is a mean over images with a percentile interval of the bootstrap over groups, as in
`intervals`. `images` says how many images define it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.evidence.explanation import attributions
from knee.statistics import scores
from knee.storage.arrays import Floats, Maps

FACTS: Final = ("backbone", "model_sha256", "synthetic", "split_protocol")
NO_MASKS: Final = "no bone masks: the folder data.bone_masks has none of these images"


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn.

    Attributes:
        groups: (rows,) images with the same value are drawn together.
        draws: at least 1.
        level: share of the draws between an interval's ends, 0-1.
        seed: of the draws.
    """

    groups: npt.NDArray[np.int64]
    draws: int
    level: float
    seed: int

    def mean(self, values: npt.NDArray[Any]) -> dict[str, float | int | None]:
        """mean, low, high and images of `values` (rows,); NaN ones are left out.

        The ends are None for fewer than two groups.
        """
        defined = ~np.isnan(np.asarray(values, np.float64))
        kept = np.asarray(values, np.float64)[defined]
        if not len(kept):
            return {"mean": None, "low": None, "high": None, "images": 0}
        names, group_of = np.unique(self.groups[defined], return_inverse=True)
        low = high = float("nan")
        if len(names) > 1:
            random = np.random.default_rng(self.seed)
            chances = np.full(len(names), 1 / len(names))
            times = random.multinomial(len(names), chances, size=self.draws)[:, group_of]
            means = times @ kept / times.sum(axis=1)
            low, high = np.quantile(means, ((1 - self.level) / 2, (1 + self.level) / 2))
        return {
            "mean": scores.known(float(kept.mean())),
            "low": scores.known(float(low)),
            "high": scores.known(float(high)),
            "images": len(kept),
        }


def chosen(test: pd.DataFrame, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Positions, ascending, of up to `count` test rows: drawn at random, the classes in turn."""
    order = np.random.default_rng(seed).permutation(len(test))
    shuffled = test["class_index"].iloc[order]
    frame = pd.DataFrame({"turn": shuffled.groupby(shuffled).cumcount(), "class": shuffled})
    frame["row"] = order
    rows = frame.sort_values(["turn", "class"], kind="stable").head(count)["row"]
    return np.sort(rows.to_numpy(np.int64))


def of_each_class(table: pd.DataFrame, count: int) -> npt.NDArray[np.int64]:
    """Positions of the first `count` rows of each class, by class."""
    order = table.reset_index(drop=True).sort_values("class_index", kind="stable")
    return order.groupby("class_index").head(count).index.to_numpy(np.int64)


def as_heat(maps: Maps) -> Floats:
    """(rows, side, side) in 0-1: the non-negative part, as a share of each map's maximum."""
    positive = np.maximum(np.asarray(maps, np.float64), 0)
    peak = positive.max(axis=(1, 2), keepdims=True)
    heat: Floats = np.divide(positive, peak, out=np.zeros_like(positive), where=peak > 0)
    return heat


def report(
    labels: Sequence[str],
    class_names: Sequence[str],
    maps: Mapping[str, Maps],
    randomised: Mapping[str, Mapping[str, Maps]],
    bone: Maps,
    *,
    cells: int,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """The checks of explanation.json.

    Args:
        labels: (rows,) true class of each image.
        class_names: all classes, in their order.
        maps: {method: (rows, side, side)} of the trained model, two methods.
        randomised: {level: {method: maps}} after the weights of a level were drawn anew.
        bone: (rows, side, side) share of each pixel that is bone; a row of NaN is unknown.
        cells: maps are compared by the means of cells x cells blocks.
        bootstrap: of the intervals.

    Returns:
        border, pointing (None without any mask, then pointing_reason says why), randomisation
        and agreement.
    """
    shares = {name: attributions.attribution(values) for name, values in maps.items()}
    one, other = shares.values()
    pointing = _pointing(shares, bone, bootstrap)
    return {
        "maps_without_attribution": {
            name: int(np.isnan(values[:, 0, 0]).sum()) for name, values in shares.items()
        },
        "border": _border(labels, class_names, shares, bootstrap),
        "pointing": pointing,
        "pointing_reason": NO_MASKS if pointing is None else "",
        "randomisation": _randomisation(shares, randomised, cells, bootstrap),
        "agreement": bootstrap.mean(_alike(one, other, cells)),
    }


def headline(found: Mapping[str, Any]) -> dict[str, Any]:
    """Few flat figures of `report`, for DVC's table; None where one is not defined."""
    flat: dict[str, Any] = {"border_area": found["border"]["area_share"]}
    for name, part in found["border"]["methods"].items():
        flat[f"border_{name}"] = part["attribution_share"]["mean"]
    if found["pointing"] is not None:
        flat["bone_area"] = found["pointing"]["area_share"]["mean"]
        for name, part in found["pointing"]["methods"].items():
            flat[f"bone_{name}"] = part["attribution_share"]["mean"]
    last = list(found["randomisation"])[-1]
    for name, part in found["randomisation"][last].items():
        flat[f"randomised_{name}"] = part["mean"]
    return flat | {"agreement": found["agreement"]["mean"]}


def _border(
    labels: Sequence[str],
    class_names: Sequence[str],
    shares: Mapping[str, Floats],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    side = next(iter(shares.values())).shape[1]
    ring = attributions.border_ring(side)
    truth = np.asarray(labels)
    methods = {}
    for name, values in shares.items():
        inside = attributions.share_inside(values, ring)
        methods[name] = {
            "attribution_share": bootstrap.mean(inside),
            "per_class": {
                label: bootstrap.mean(np.where(truth == label, inside, np.nan))
                for label in class_names
            },
        }
    return {"area_share": scores.known(float(ring.mean())), "methods": methods}


def _pointing(
    shares: Mapping[str, Floats], bone: Maps, bootstrap: Bootstrap
) -> dict[str, Any] | None:
    """On bone: the share of the attribution and of the maxima, beside that of the area."""
    area = np.asarray(bone, np.float64).mean(axis=(1, 2))
    if np.isnan(area).all():
        return None
    return {
        "area_share": bootstrap.mean(area),
        "methods": {
            name: {
                "attribution_share": bootstrap.mean(attributions.share_inside(values, bone)),
                "peaks_on_bone": bootstrap.mean(attributions.peak_inside(values, bone)),
            }
            for name, values in shares.items()
        },
    }


def _randomisation(
    shares: Mapping[str, Floats],
    randomised: Mapping[str, Mapping[str, Maps]],
    cells: int,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    return {
        level: {
            name: bootstrap.mean(_alike(shares[name], attributions.attribution(values), cells))
            for name, values in methods.items()
        }
        for level, methods in randomised.items()
    }


def _alike(one: Floats, other: Floats, cells: int) -> Floats:
    blocks = (attributions.reduced(one, cells), attributions.reduced(other, cells))
    return attributions.rank_correlation(*blocks)
