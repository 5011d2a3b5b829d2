"""Checks of the explanations of one backbone: the content of explanation.json.

Every figure is a mean over images with a percentile interval of the grouped bootstrap. `images`
says how many images define it.
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
from knee.statistics.bootstrap import Bootstrap
from knee.storage.arrays import Floats, Integers, Maps

NO_MASKS: Final = "no bone masks: the folder data.bone_masks has none of these images"


@dataclass(frozen=True)
class GroupedImages:
    """Groups of the explained images, and the bootstrap over them."""

    groups: Integers  # (rows,) images with the same value are drawn together
    bootstrap: Bootstrap

    def mean(self, values: npt.NDArray[Any]) -> dict[str, float | int | None]:
        """Return mean, low, high and images of `values` (rows,); NaN ones are left out.

        The ends are None for fewer than two groups.
        """
        numbers = np.asarray(values, np.float64)
        defined = ~np.isnan(numbers)
        kept = numbers[defined]
        mean = scores.known(kept.mean()) if len(kept) else None
        ends = self.bootstrap.mean_interval(kept, self.groups[defined])
        return {"mean": mean, **ends, "images": len(kept)}


def rows_to_explain(test: pd.DataFrame, count: int, seed: int) -> Integers:
    """Return ascending positions of `count` test rows at random, the classes in turn."""
    order = np.random.default_rng(seed).permutation(len(test))
    shuffled = test["class_index"].iloc[order]
    frame = pd.DataFrame({"turn": shuffled.groupby(shuffled).cumcount(), "class": shuffled})
    frame["row"] = order
    rows = frame.sort_values(["turn", "class"], kind="stable").head(count)["row"]
    return np.sort(rows.to_numpy(np.int64))


def of_each_class(table: pd.DataFrame, count: int) -> Integers:
    """Return positions of the first `count` rows of each class, by class."""
    order = table.reset_index(drop=True).sort_values("class_index", kind="stable")
    return order.groupby("class_index").head(count).index.to_numpy(np.int64)


def as_heat(maps: Maps) -> Floats:
    """Return (rows, side, side) in 0-1: the non-negative part, as a share of each map's maximum."""
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
    images: GroupedImages,
) -> dict[str, Any]:
    """Return the checks of explanation.json.

    The `maps` are {method: (rows, side, side)} of the trained model, of two methods; `randomised`
    are {level: {method: maps}} after the weights of a level were drawn anew. `bone` is (rows, side,
    side), the share of each pixel that is bone; a row of NaN is unknown. Maps are compared by the
    means of `cells` x `cells` blocks.

    Returns:
        border, pointing (None without any mask, then pointing_reason says why), randomisation
        and agreement.
    """
    shares = {name: attributions.attribution(values) for name, values in maps.items()}
    one, other = shares.values()
    pointing = _pointing(shares, bone, images)
    return {
        "maps_without_attribution": {
            name: int(np.isnan(values[:, 0, 0]).sum()) for name, values in shares.items()
        },
        "border": _border(labels, class_names, shares, images),
        "pointing": pointing,
        "pointing_reason": NO_MASKS if pointing is None else "",
        "randomisation": {
            level: {
                name: images.mean(_alike(shares[name], attributions.attribution(values), cells))
                for name, values in methods.items()
            }
            for level, methods in randomised.items()
        },
        "agreement": images.mean(_alike(one, other, cells)),
    }


def dvc_metrics(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return few flat figures of `report`, for DVC's table; None where one is not defined."""
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


def sentence(found: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Return what the log says of `report`; `titles` are the methods' names for people."""
    border = found["border"]
    shares = {name: part["attribution_share"]["mean"] for name, part in border["methods"].items()}
    known = [f"{share:.0%} ({titles[name]})" for name, share in shares.items() if share is not None]
    if not known:
        return "no attribution: all maps are empty"
    area = f"which is {border['area_share']:.0%} of the area"
    return f"of the attribution, {' and '.join(known)} lie on the border, {area}"


def _border(
    labels: Sequence[str],
    class_names: Sequence[str],
    shares: Mapping[str, Floats],
    images: GroupedImages,
) -> dict[str, Any]:
    side = next(iter(shares.values())).shape[1]
    ring = attributions.border_ring(side)
    truth = np.asarray(labels)
    methods = {}
    for name, values in shares.items():
        inside = attributions.share_inside(values, ring)
        methods[name] = {
            "attribution_share": images.mean(inside),
            "per_class": {
                label: images.mean(np.where(truth == label, inside, np.nan))
                for label in class_names
            },
        }
    return {"area_share": scores.known(float(ring.mean())), "methods": methods}


def _pointing(
    shares: Mapping[str, Floats], bone: Maps, images: GroupedImages
) -> dict[str, Any] | None:
    """On bone: the share of the attribution and of the maxima, beside that of the area."""
    area = np.asarray(bone, np.float64).mean(axis=(1, 2))
    if np.isnan(area).all():
        return None
    return {
        "area_share": images.mean(area),
        "methods": {
            name: {
                "attribution_share": images.mean(attributions.share_inside(values, bone)),
                "peaks_on_bone": images.mean(attributions.peak_inside(values, bone)),
            }
            for name, values in shares.items()
        },
    }


def _alike(one: Floats, other: Floats, cells: int) -> Floats:
    blocks = (attributions.reduced(one, cells), attributions.reduced(other, cells))
    return attributions.rank_correlation(*blocks)
