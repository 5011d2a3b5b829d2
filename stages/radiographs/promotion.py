"""Which backbone is registered, and whether it may take the champion's place.

The choice between backbones sees validation rows alone. The comparison with the champion sees
the test pictures that both have in common.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# (class indices (rows,), probabilities (rows, classes)) -> figure, larger is better
Score = Callable[[npt.NDArray[np.integer[Any]], npt.NDArray[np.float64]], float]

NEEDED = ("pixel_sha256", "group", "subset", "label")
CHAMPION, CHALLENGER = "champion", "challenger"


class PredictionsError(ValueError):
    """Predictions that lack a column, a subset, or name an unknown class."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """The alias that a version gets, and why."""

    alias: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a comparison with the champion needs.

    Attributes:
        classes: names in the order of the probabilities.
        metric: name of the figure, for reasons.
        score: computes it.
        minimum_common_groups: fewer common test groups are not comparable.
    """

    classes: Sequence[str]
    metric: str
    score: Score
    minimum_common_groups: int


def subset_score(predictions: pd.DataFrame, subset: str, rules: Rules) -> float:
    """The figure of one subset's rows.

    Args:
        predictions: columns subset, label and `probability_<class>` of every class.
        subset: `val` or `test`.
        rules: classes and figure.

    Raises:
        PredictionsError: a column or the subset is missing, or a label is no class.
    """
    _check(predictions, rules.classes)
    rows = predictions[predictions["subset"] == subset]
    if rows.empty:
        raise PredictionsError(f"predictions have no rows of subset {subset}: run `dvc repro`")
    return _score(rows, rows["label"], rules)


def best(scores: Mapping[str, float]) -> str:
    """The name with the largest figure; the first of equals. NaN never wins."""
    if not scores:
        raise ValueError("no backbone to choose from")
    return max(scores, key=lambda name: -math.inf if math.isnan(scores[name]) else scores[name])


def decide(
    candidate: pd.DataFrame, champion: pd.DataFrame | None, rules: Rules, *, leaky: bool
) -> Decision:
    """Champion or challenger, where there is no champion or another version is it.

    Both are judged on the pictures (by pixel SHA-256) that are test rows of both, with the
    candidate's labels, which are the newer ones.

    Args:
        candidate: predictions with the columns pixel_sha256, group, subset, label, probabilities.
        champion: the present champion's, or None if there is no champion.
        rules: classes, figure and the least number of common groups.
        leaky: the candidate's split lets relatives of test pictures into train.

    Raises:
        PredictionsError: the candidate's predictions lack something.
    """
    _check(candidate, rules.classes)
    if leaky:
        return Decision(CHALLENGER, "its split is leaky, so its figures cannot be believed")
    if champion is None:
        return Decision(CHAMPION, "there was no champion")
    if _classes(champion) != set(rules.classes):
        return Decision(CHALLENGER, "not comparable with the champion: it has other classes")
    try:
        _check(champion, rules.classes)
    except PredictionsError as error:
        return Decision(CHALLENGER, f"not comparable with the champion: its {error}")
    return _compare(*_common(candidate, champion), rules)


def description(
    test: Mapping[str, Any], selection: Mapping[str, float], facts: Mapping[str, Any], text: str
) -> str:
    """Markdown for a model version: what it is, its figures with intervals, why it stands there.

    Args:
        test: content of test.json.
        selection: validation figure of each backbone.
        facts: backbone, synthetic, split_protocol, metric.
        text: the promotion's reason.
    """
    marks = [f"{facts['split_protocol']} split"]
    if facts["split_protocol"] == "random":
        marks.append("LEAKY: for comparison only, no result")
    if facts["synthetic"]:
        marks.append("SYNTHETIC DATA: the figures say nothing about patients")
    figures = [
        f"- {name} {with_interval(test, name)}"
        for name, value in sorted(test.items())
        if isinstance(value, float)
    ]
    chosen = ", ".join(f"{name} {value:.3f}" for name, value in selection.items())
    return "\n".join(
        [
            f"{facts['backbone']}, {', '.join(marks)}.",
            f"\n{text[:1].upper()}{text[1:]}.",
            "\nTest figures (interval):\n",
            *figures,
            f"\nChosen by {facts['metric']} on validation: {chosen}.",
        ]
    )


def with_interval(test: Mapping[str, Any], name: str) -> str:
    """A figure of test.json with its interval, as text; a dash where it is undefined."""
    if test.get(name) is None:
        return "-"
    return f"{test[name]:.3f}{_interval(test.get('confidence_interval', {}).get(name))}"


def _compare(candidate: pd.DataFrame, champion: pd.DataFrame, rules: Rules) -> Decision:
    groups = candidate["group"].nunique()
    if groups < max(1, rules.minimum_common_groups):
        needed = f"{rules.minimum_common_groups} are needed"
        return Decision(
            CHALLENGER,
            f"not comparable with the champion: {groups} common test groups, {needed}",
        )
    new = _score(candidate, candidate["label"], rules)
    old = _score(champion, candidate["label"], rules)
    figures = f"{rules.metric} {new:.4f} against {old:.4f} on {groups} common test groups"
    if math.isnan(new) or math.isnan(old):
        return Decision(CHALLENGER, f"not comparable with the champion: {figures}")
    if new >= old:
        return Decision(CHAMPION, f"at least as good as the champion: {figures}")
    return Decision(CHALLENGER, f"worse than the champion: {figures}")


def _common(candidate: pd.DataFrame, champion: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test rows of pictures that both have, in the same order, each picture once."""
    new, old = (
        frame[frame["subset"] == "test"].drop_duplicates("pixel_sha256").set_index("pixel_sha256")
        for frame in (candidate, champion)
    )
    pictures = new.index[new.index.isin(old.index)].sort_values()
    return new.loc[pictures], old.loc[pictures]


def _score(rows: pd.DataFrame, labels: pd.Series[Any], rules: Rules) -> float:
    index = {name: number for number, name in enumerate(rules.classes)}
    truth = labels.astype(str).map(index).to_numpy(np.int64)
    columns = [f"probability_{name}" for name in rules.classes]
    return float(rules.score(truth, rows[columns].to_numpy(np.float64)))


def _check(predictions: pd.DataFrame, classes: Sequence[str]) -> None:
    needed = [*NEEDED, *(f"probability_{name}" for name in classes)]
    missing = [name for name in needed if name not in predictions.columns]
    if missing:
        raise PredictionsError(f"predictions have no column {', '.join(missing)}")
    unknown = sorted(set(predictions["label"].astype(str)) - set(classes))
    if unknown:
        raise PredictionsError(f"predictions have labels that are no class: {', '.join(unknown)}")


def _classes(predictions: pd.DataFrame) -> set[str]:
    prefix = "probability_"
    return {n.removeprefix(prefix) for n in predictions.columns if n.startswith(prefix)}


def _interval(bounds: Mapping[str, float] | None) -> str:
    if not bounds or bounds.get("low") is None or bounds.get("high") is None:
        return ""
    return f" ({bounds['low']:.3f} to {bounds['high']:.3f})"
