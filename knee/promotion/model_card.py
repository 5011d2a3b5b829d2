"""A model card: what a trained model is for, on what it was made, how good it is, where it fails.

The form follows Mitchell et al. 2019, https://arxiv.org/abs/1810.03993. Text from outside (class
names, origins) is escaped; nothing names a file or a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from knee.drawing.html import environment, render
from knee.evidence.comparison.predictor_names import called
from knee.records import known_patients
from knee.statistics import scores

FIGURES: Final = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "quadratic_kappa",
    "median_class_accuracy",
    "median_class_kappa",
    "macro_auc",
    "log_loss",
    "expected_calibration_error",
)
WEIGHTS: Final = {"none": "none, from random", "imagenet": "ImageNet"}
MOST_NAMED: Final = 20  # subgroups that are too small
MARKUP: Final = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#"})


def markdown(facts: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    The `facts` are training, test, audit (contents of training.json, test.json, audit.json); folds
    (cross_validation.json, or None, and then folds_missing says why); ranking, compared and metric
    (see `ranking`); explanation (explanation_headline.json or None); level; rebuild, a command.
    """
    parameters = facts["training"]["parameters"]
    escaping = environment().overlay(autoescape=False, finalize=_escaped)  # Markdown, not HTML
    text = escaping.get_template("promotion/model_card.md.j2").render(
        **facts,
        caveat=known_patients.caveat(facts["audit"].get("patients")),
        parameters=parameters,
        weights=WEIGHTS.get(str(parameters["backbone.weights"]), "from a folder"),  # no path
        trained=_trained(parameters),
        figures={name: scores.title(name) for name in FIGURES},
        title=scores.title,
        called=called,
        most_named=MOST_NAMED,
    )
    return f"{text.strip()}\n"


def _trained(parameters: Mapping[str, Any]) -> str:
    """Return which layers were trained; "auto" is what it came to."""
    depth, weights = parameters["backbone.train_from"], parameters["backbone.weights"]
    if depth == "auto":  # as `BackboneDesign.depth` resolves it
        depth = "all" if weights == "none" else "head"
    return {
        "all": "all layers",
        "head": "the head; the layers of the backbone stay as they were",
    }.get(depth, f"the layers from {depth} on, and the head")


def html(text: str, pictures: Mapping[str, str] | None = None) -> str:
    """Return a Markdown card as one page that loads nothing and runs nothing.

    `pictures` are data URIs by their title, shown at the end.
    """
    import mistune
    from markupsafe import Markup

    body = str(mistune.create_markdown(escape=True, plugins=["table"])(text))
    safe = Markup(body)  # noqa: S704  # nosec B704  # mistune has escaped the card's text
    home = "../index.html"
    return render("promotion/model_card.html.j2", home=home, body=safe, pictures=pictures or {})


def ranking(comparison: Mapping[str, Any], backbone: str) -> dict[str, Any]:
    """Return models and baselines of comparison.json, best first, as they stand against one.

    Returns:
        compared: the kind of evidence, cross_validation where it is in, else test; metric; and
        ranking: {name, value, probability that the backbone is better} of each, empty where the
        backbone was not compared.
    """
    evidence, metric = comparison["evidence"], comparison["metric"]
    folds = evidence["cross_validation"].get("overall", {"figures": {}})
    compared = "cross_validation" if backbone in folds["figures"] else "test"
    part = evidence[compared].get("overall", {"figures": {}, "differences": []})
    better: dict[str, float | None] = {}
    for pair in part["differences"]:
        if pair["model"] == backbone:
            better[pair["other"]] = pair["probability_better"]
        elif pair["other"] == backbone:
            better[pair["model"]] = pair["probability_worse"]
    rows = [
        {"name": name, "value": one[metric]["value"], "probability": better.get(name)}
        for name, one in part["figures"].items()
        if backbone in part["figures"]
    ]
    ranked = sorted(rows, key=lambda row: -(row["value"] or 0))
    return {"ranking": ranked, "compared": compared, "metric": metric}


def _escaped(value: Any) -> Any:
    """Return text of a class, an origin or a parameter so that it cannot become markup."""
    from markupsafe import Markup

    if (
        isinstance(value, str)
        and not isinstance(value, Markup)
        and not value.replace(" ", "").replace(".", "").isalnum()
    ):
        return value.translate(MARKUP).replace("\n", " ")
    return value
