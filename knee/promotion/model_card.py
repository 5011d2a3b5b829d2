"""A model card: what a trained model is for, on what it was made, how good it is, where it fails.

The form follows Mitchell et al. 2019, https://arxiv.org/abs/1810.03993. Text from outside (class
names, origins) is escaped; nothing names a file or a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from knee.drawing.html import environment, render

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
MARKUP: Final = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#"})


def markdown(facts: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    Args:
        facts: training, test, audit (contents of training.json, test.json, audit.json); folds
            (cross_validation.json, or None, and then folds_missing says why); ranking, compared and
            metric (see `ranking`); explanation (explanation_headline.json or None); subgroups;
            level.
    """
    parameters = facts["training"]["parameters"]
    escaping = environment().overlay(autoescape=False, finalize=_escaped)  # Markdown, not HTML
    text = escaping.get_template("promotion/model_card.md.j2").render(
        **facts,
        parameters=parameters,
        weights=WEIGHTS.get(str(parameters["backbone.weights"]), "from a folder"),  # no path
        figures=FIGURES,
    )
    return f"{text.strip()}\n"


def html(text: str) -> str:
    """Return a Markdown card as one page that loads nothing and runs nothing."""
    import mistune
    from markupsafe import Markup

    body = str(mistune.create_markdown(escape=True, plugins=["table"])(text))
    safe = Markup(body)  # noqa: S704  # nosec B704  # mistune has escaped the card's text
    return render("promotion/model_card.html.j2", body=safe)


def ranking(comparison: Mapping[str, Any], backbone: str) -> dict[str, Any]:
    """Return models and baselines, best first, as they stand against one backbone.

    Args:
        comparison: the content of comparison.json.
        backbone: the card's own.

    Returns:
        compared: the kind of evidence, cross_validation where there is one, else test; metric; and
        ranking: {name, value, probability that the backbone is better} of each, empty where the
        backbone was not compared.
    """
    evidence, metric = comparison["evidence"], comparison["metric"]
    compared = "cross_validation" if "overall" in evidence["cross_validation"] else "test"
    part = evidence[compared].get("overall")
    if part is None or backbone not in part["figures"]:
        return {"ranking": [], "compared": compared, "metric": metric}
    better: dict[str, float | None] = {}
    for pair in part["differences"]:
        probability = pair["probability_better"]
        if pair["model"] == backbone:
            better[pair["other"]] = probability
        elif pair["other"] == backbone:
            better[pair["model"]] = None if probability is None else 1 - probability
    rows = [
        {"name": name, "value": one[metric]["value"], "probability": better.get(name)}
        for name, one in part["figures"].items()
    ]
    ranked = sorted(rows, key=lambda row: -(row["value"] or 0))
    return {"ranking": ranked, "compared": compared, "metric": metric}


def _escaped(value: Any) -> Any:
    """Return text of a class, an origin or a parameter so that it cannot become markup."""
    if isinstance(value, str) and not value.replace(" ", "").replace(".", "").isalnum():
        return value.translate(MARKUP).replace("\n", " ")
    return value
