"""Figures of models and baselines with their intervals, as a PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.radiographs.charts import COLOURS, GRAY, new_figure, plain, save_figure


def forest(part: Mapping[str, Any], metric: str, title: str, subtitle: str, out: Path) -> None:
    """One line a contender, the best above; models in colour, baselines in gray.

    Args:
        part: what `comparison.compare` returns.
        metric: shown figure.
        title: of the picture.
        subtitle: says what was judged.
        out: PNG file.
    """
    ranked = sorted(part["figures"].items(), key=lambda item: item[1][metric]["value"] or 0)
    figure, axes = new_figure(title, subtitle, (7.6, 1.6 + 0.42 * len(ranked)))
    for height, (_, one) in enumerate(ranked):
        bounds = one[metric]
        if bounds["value"] is None:
            continue
        colour = COLOURS[0] if one["kind"] == "model" else GRAY
        if bounds["low"] is not None:
            axes.plot([bounds["low"], bounds["high"]], [height] * 2, color=colour, linewidth=2)
        axes.plot(bounds["value"], height, "o", color=colour, markersize=8)
        text = f"{bounds['value']:.3f}"
        axes.annotate(
            text,
            (bounds["value"], height),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(ranked)), [plain(name.replace("_", " "), 40) for name, _ in ranked])
    axes.set(xlim=(0, 1), ylim=(-0.6, len(ranked) - 0.3), xlabel=metric.replace("_", " "))
    for label, (_, one) in zip(axes.get_yticklabels(), ranked, strict=True):
        label.set_fontweight("bold" if one["kind"] == "model" else "normal")
    save_figure(figure, out)
