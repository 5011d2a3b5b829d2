"""Charts of a model's figures, as PNG files whose bytes depend on the data alone.

`subtitle` says what was trained or evaluated, `out` is the PNG file.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from knee.drawing.palette import BLUE, GRAY, OKABE_ITO, ORANGE
from knee.storage import artifacts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH: Final = 110
LONGEST_SUBTITLE: Final = 120  # letters
TITLE_POINTS: Final = 19  # from the upper edge down to the lower end of the title
WIDEST_LETTER: Final = 0.54  # of the font's size, on average over a subtitle with capitals


def confusion_matrix(
    confusion: pd.DataFrame, class_names: Sequence[str], subtitle: str, out: Path
) -> None:
    """Draw counts and their shares of each row; columns actual and predicted, one row an image."""
    names = list(class_names)
    table = pd.crosstab(confusion["actual"], confusion["predicted"])
    counts = table.reindex(index=names, columns=names, fill_value=0).to_numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.6, 1.8 + 0.9 * len(names))
    figure, axes = new_figure("Confusion matrix", subtitle, (side + 0.8, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            text = f"{counts[row, column]}\n{shares[row, column]:.0%}"
            colour = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour)
    labels = [plain_label(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=20 if len(names) > 3 else 0)
    axes.set_yticks(range(len(names)), labels)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.grid(visible=False)
    save_figure(figure, out)


def roc(table: pd.DataFrame, subtitle: str, out: Path) -> None:
    """Draw one ROC curve a class; columns class, false_positive_rate, true_positive_rate."""
    figure, axes = new_figure("ROC, each class against the rest", subtitle, (5.6, 5.2))
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=":", label="chance")
    _curves(axes, table, "false_positive_rate", "true_positive_rate")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    axes.legend(loc="lower right", frameon=False)
    save_figure(figure, out)


def precision_recall(table: pd.DataFrame, subtitle: str, out: Path) -> None:
    """Draw one curve a class against the rest; columns class, recall, precision."""
    figure, axes = new_figure("Precision and recall, each class against the rest", subtitle)
    _curves(axes, table, "recall", "precision")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.04))
    axes.legend(loc="lower left", frameon=False)
    save_figure(figure, out)


def reliability(
    table: pd.DataFrame, subtitle: str, out: Path, *, before: pd.DataFrame | None = None
) -> None:
    """Draw accuracy over confidence; columns confidence, accuracy and count of each bin.

    `before` is the same table of the probabilities before calibration, drawn as a second line.
    """
    figure, axes = new_figure("Reliability: is 80 % sure right in 80 %?", subtitle, (5.6, 5.2))
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle=":", label="perfectly calibrated")
    if before is not None:
        _reliability_line(axes, before, ORANGE, "before calibration")
    _reliability_line(axes, table, BLUE, "this model")
    axes.set(
        xlabel="confidence (area of a dot: number of images)",
        ylabel="share that is right",
        xlim=(0, 1.04),
        ylim=(-0.04, 1.04),
        aspect="equal",
    )
    axes.legend(loc="upper left", frameon=False)
    save_figure(figure, out)


def learning_curves(
    history: pd.DataFrame, best_epoch: int | None, subtitle: str, out: Path
) -> None:
    """Draw loss, val_loss, accuracy and val_accuracy over the epochs of `history`.

    `best_epoch` is the chosen one, counted from 0; None or -1 if there is none.
    """
    from matplotlib.ticker import MaxNLocator

    figure, left = new_figure("Learning curves", subtitle, (9.0, 4.4), columns=2)
    right = figure.axes[1]
    epochs = history["epoch"] + 1
    for axes, name in ((left, "loss"), (right, "accuracy")):
        axes.plot(epochs, history[name], color=BLUE, marker=".", label="train")
        axes.plot(epochs, history[f"val_{name}"], color=ORANGE, marker=".", label="validation")
        if best_epoch is not None and best_epoch >= 0:
            axes.axvline(best_epoch + 1, color=GRAY, linestyle=":", label="chosen epoch")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(frameon=False)
    save_figure(figure, out)


def folds(report: Mapping[str, Any], subtitle: str, out: Path) -> None:
    """Draw the figures of each fold beside the pooled one; `report`: cross_validation.json."""
    names = {"macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy"}
    figure, axes = new_figure("Cross-validation: the folds, and all of them", subtitle)
    axes.axhline(1 / len(report["classes"]), color=GRAY, linestyle=":", label="chance")
    axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(0, 1), ylabel="figure on held-out images")
    axes.set_xticks(range(len(names)), list(names.values()))
    if "reason" in report:
        text = f"{report['status']}: {report['reason']}"
        axes.text(0.5, 0.6, textwrap.fill(text, 52), ha="center", transform=axes.transAxes)
    else:
        _dots(axes, report, list(names))
    axes.legend(loc="lower right", frameon=False)
    save_figure(figure, out)


def plain_label(text: str, longest: int = 28) -> str:
    """Return `text` for Matplotlib: shortened, with dollar signs that start no formula."""
    short = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return short.replace("\\", "/").replace("$", r"\$")


def _dots(axes: Axes, report: Mapping[str, Any], names: Sequence[str]) -> None:
    """Draw a dot a fold, the repeats side by side, and the pooled figure with its interval."""
    table = pd.DataFrame(report["per_fold"])
    middle = (report["repeats"] * report["folds"] - 1) / 2
    for _, part in table.groupby("repeat"):
        offset = (part["repeat"] * report["folds"] + part["fold"] - middle) / (4 * middle + 1)
        for place, name in enumerate(names):
            label = f"repeat {int(part['repeat'].iloc[0]) + 1}" if place == 0 else None
            colour = OKABE_ITO[int(part["repeat"].iloc[0]) % len(OKABE_ITO)]
            axes.scatter(place + offset, part[name], s=28, color=colour, alpha=0.8, label=label)
    for place, name in enumerate(names):
        bounds, label = report["confidence_interval"][name], "pooled, with interval"
        ends = [report[name] if end is None else end for end in (bounds["low"], bounds["high"])]
        axes.plot([place + 0.36] * 2, ends, color="black", linewidth=2)
        axes.plot(place + 0.36, report[name], "D", color="black", label=None if place else label)


def _reliability_line(axes: Axes, table: pd.DataFrame, colour: str, label: str) -> None:
    largest = max(int(table["count"].max()), 1) if len(table) else 1
    axes.plot(table["confidence"], table["accuracy"], color=colour, label=label)
    sizes = 25 + 200 * table["count"] / largest
    axes.scatter(table["confidence"], table["accuracy"], s=sizes, color=colour, alpha=0.6)


def _curves(axes: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    for number, (name, curve) in enumerate(table.groupby("class", sort=False)):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        axes.plot(curve[x], curve[y], color=colour, linewidth=2, label=plain_label(str(name)))


def new_figure(
    title: str, subtitle: str, size: tuple[float, float] = (6.4, 4.8), columns: int = 1
) -> tuple[Figure, Axes]:
    """Return a figure with its title and subtitle, and the first of its axes in a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    axes: Any = figure.subplots(1, columns, squeeze=False)[0]
    line = plain_label(subtitle, LONGEST_SUBTITLE)
    points = min(9.0, 72 * 0.96 * size[0] / (WIDEST_LETTER * max(len(line), 1)))
    figure.suptitle(f"{title}\n", fontsize=12, fontweight="bold", x=0.02, ha="left")
    below = 1 - TITLE_POINTS / 72 / size[1]  # whatever the figure's height
    figure.text(0.02, below, line, fontsize=points, color=GRAY, ha="left", va="top")
    for panel in axes:
        panel.grid(visible=True, color="#e6e6e6")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes[0]


def save_figure(figure: Figure, out: Path) -> None:
    """Write a PNG whose bytes depend on the figure alone."""
    with artifacts.staged_file(out) as staged:
        figure.savefig(staged, format="png", metadata={"Software": None})
