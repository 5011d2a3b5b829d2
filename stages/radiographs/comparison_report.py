"""A comparison as files: JSON, two tables, a picture for each kind of evidence, one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from stages.radiographs import (
    artifacts,
    comparison,
    comparison_charts,
    comparison_page,
    evaluation,
)


def write(facts: Mapping[str, Any], folder: Path) -> None:
    """Write comparison.json, figures.csv, differences.csv, pictures and the page to `folder`."""
    pictures = {}
    for name, evidence in facts["evidence"].items():
        if "overall" in evidence:
            picture = folder / f"{name}.png"
            title = f"{name.replace('_', ' ').capitalize()}: models and baselines"
            comparison_charts.forest(
                evidence["overall"], facts["metric"], title, _subtitle(facts, evidence), picture
            )
            pictures[name] = picture.read_bytes()
    artifacts.write_json(folder / "comparison.json", facts)
    artifacts.write_text(folder / "figures.csv", evaluation.as_csv(_figures(facts)))
    artifacts.write_text(folder / "differences.csv", evaluation.as_csv(_differences(facts)))
    artifacts.write_text(folder / "comparison.html", comparison_page.page(facts, pictures))


def _subtitle(facts: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    marks = ["LEAKY SPLIT - not a result"] if facts["leaky"] else []
    marks += ["SYNTHETIC DATA"] if facts["synthetic"] else []
    overall = evidence["overall"]
    return ", ".join([*marks, f"{overall['records']} images in {overall['groups']} groups"])


def parts(facts: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(evidence, origin or "all", figures) of all that was compared."""
    return [
        (name, where, part)
        for name, evidence in facts["evidence"].items()
        if "overall" in evidence
        for where, part in [("all", evidence["overall"]), *evidence["within"].items()]
    ]


def _figures(facts: Mapping[str, Any]) -> pd.DataFrame:
    rows = []
    for evidence, within, part in parts(facts):
        for name, one in part["figures"].items():
            row = {"evidence": evidence, "within": within, "name": name, "kind": one["kind"]}
            for metric in comparison.SHOWN:
                row |= {metric: one[metric]["value"], f"{metric}_low": one[metric]["low"]}
                row[f"{metric}_high"] = one[metric]["high"]
            rows.append(row)
    return pd.DataFrame(rows)


def _differences(facts: Mapping[str, Any]) -> pd.DataFrame:
    rows = [
        {"evidence": evidence, "within": within, **one}
        for evidence, within, part in parts(facts)
        for one in part["differences"]
    ]
    return pd.DataFrame(rows)
