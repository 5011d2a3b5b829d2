"""The files of a comparison: JSON, two tables, a chart for each kind of evidence, and one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from knee.drawing.charts import new_figure, plain_label, save_figure
from knee.drawing.html import render
from knee.drawing.palette import BLUE, GRAY
from knee.evidence.comparison.predictor_names import called, capitalised
from knee.records import known_patients
from knee.statistics import paired_comparison, scores
from knee.storage import artifacts

OWN: Final = 0  # colours of a page
COLOURS: Final = {"model": 5, "probe": 3, "shortcut": 6}


def write(facts: Mapping[str, Any], folder: Path) -> None:
    """Write comparison.json, figures.csv, differences.csv, charts and the page to `folder`."""
    for name, evidence in facts["evidence"].items():
        if "overall" in evidence:
            title = f"{name.replace('_', ' ').capitalize()}: models and baselines"
            chart, subtitle = folder / f"{name}.png", _subtitle(facts, evidence)
            forest(evidence["overall"], facts["metric"], title, subtitle, chart)
    page = render(
        "evidence/comparison/comparison.html.j2",
        home="../index.html",
        synthetic=facts["synthetic"],
        leaky=facts["leaky"],
        caveat=known_patients.caveat(facts["patients"]),
        facts=facts,
        bars={
            name: bars(evidence["overall"], facts["metric"])
            for name, evidence in facts["evidence"].items()
            if "overall" in evidence
        },
        to_best=to_best_model,
        called=called,
        capitalised=capitalised,
        title=scores.title,
    )
    differences = [
        {"evidence": evidence, "within": within, **pair}
        for evidence, within, part in parts(facts)
        for pair in part["differences"]
    ]
    artifacts.write_json(folder / "comparison.json", facts)
    artifacts.write_text(folder / "figures.csv", artifacts.as_csv(_figures(facts)))
    artifacts.write_text(folder / "differences.csv", artifacts.as_csv(pd.DataFrame(differences)))
    artifacts.write_text(folder / "comparison.html", page)


def parts(facts: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return (evidence, origin or "all", figures) of all that was compared."""
    return [
        (name, where, part)
        for name, evidence in facts["evidence"].items()
        if "overall" in evidence
        for where, part in [("all", evidence["overall"]), *evidence["within"].items()]
    ]


def bars(part: Mapping[str, Any], metric: str, chosen: str = "") -> list[dict[str, Any]]:
    """Return rows of a page's chart, the best above: models and shortcuts with their intervals.

    Without a `chosen` model, which has a colour of its own, probes are among them.
    """
    rows = []
    for name, one in part["figures"].items():
        bounds = one[metric]
        if bounds["value"] is None or (chosen and one["kind"] == "probe"):
            continue
        ends = (bounds["low"], bounds["high"])
        is_own = name == chosen or (not chosen and one["kind"] == paired_comparison.MODEL)
        rows.append(
            {
                "title": capitalised(name),
                **bounds,
                "text": f"{bounds['value']:.2f}",
                "note": "" if None in ends else f"{ends[0]:.2f} to {ends[1]:.2f}",
                "colour": OWN if is_own else COLOURS[one["kind"]],
            }
        )
    return sorted(rows, key=lambda row: -row["value"])


def to_best_model(part: Mapping[str, Any], metric: str) -> dict[str, Mapping[str, Any]]:
    """Return, by model, the best model's difference to it."""
    models = {
        name: one[metric]["value"] or 0
        for name, one in part["figures"].items()
        if one["kind"] == paired_comparison.MODEL
    }
    best = max(models, key=lambda name: models[name], default="")
    found = {}
    for one in part["differences"]:
        if best == one["model"] and one["other"] in models:
            found[one["other"]] = one
        elif best == one["other"]:
            found[one["model"]] = _turned(one)
    return found


def _turned(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a difference the other way round."""
    less = {
        name: None if one[name] is None else -one[name] for name in ("difference", "low", "high")
    }
    ends = {"low": less["high"], "high": less["low"]}
    return {**one, **less, **ends, "model": one["other"], "other": one["model"]}


def forest(part: Mapping[str, Any], metric: str, title: str, subtitle: str, out: Path) -> None:
    """Draw a line for each model and baseline, the best above; models blue, baselines gray.

    `part` is what `paired_comparison.compare` returns; `metric` is drawn with its interval.
    """
    ranked = sorted(part["figures"].items(), key=lambda item: item[1][metric]["value"] or 0)
    figure, axes = new_figure(title, subtitle, (7.6, 1.6 + 0.42 * len(ranked)))
    for height, (_, one) in enumerate(ranked):
        bounds = one[metric]
        if bounds["value"] is None:
            continue
        colour = BLUE if one["kind"] == paired_comparison.MODEL else GRAY
        if bounds["low"] is not None:
            axes.plot([bounds["low"], bounds["high"]], [height] * 2, color=colour, linewidth=2)
        axes.plot(bounds["value"], height, "o", color=colour, markersize=8)
        axes.annotate(
            f"{bounds['value']:.3f}",
            (bounds["value"], height),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    labels = [plain_label(name.replace("_", " "), 40) for name, _ in ranked]
    axes.set_yticks(range(len(ranked)), labels)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(ranked) - 0.3), xlabel=metric.replace("_", " "))
    for label, (_, one) in zip(axes.get_yticklabels(), ranked, strict=True):
        if one["kind"] == paired_comparison.MODEL:
            label.set_fontweight("bold")
    save_figure(figure, out)


def _subtitle(facts: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    marks = ["LEAKY SPLIT - not a result"] if facts["leaky"] else []
    marks += ["SYNTHETIC DATA"] if facts["synthetic"] else []
    overall = evidence["overall"]
    return ", ".join([*marks, f"{overall['records']} images in {overall['groups']} groups"])


def _figures(facts: Mapping[str, Any]) -> pd.DataFrame:
    rows = []
    for evidence, within, part in parts(facts):
        for name, one in part["figures"].items():
            row = {"evidence": evidence, "within": within, "name": name, "kind": one["kind"]}
            for metric in paired_comparison.SHOWN:
                ends = {f"{metric}_{end}": one[metric][end] for end in ("low", "high")}
                row |= {metric: one[metric]["value"], **ends}
            rows.append(row)
    return pd.DataFrame(rows)
