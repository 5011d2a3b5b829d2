"""A model card: what a trained model is for, on what it was made, how good it is, where it fails.

The form follows Mitchell et al. 2019, https://arxiv.org/abs/1810.03993. Text from outside (class
names, origins) is escaped; nothing names a file or a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from knee.audit.audit_report import STYLE

TEMPLATE: Final = """# {{ training.backbone }} for {{ training.classes | join(" / ") }}

{% if training.synthetic %}**SYNTHETIC DATA.** The films were drawn by a program: no figure
here says anything about patients.

{% endif %}{% if test.leaky %}**LEAKY SPLIT.** Relatives of test films were in training: the figures
are no results.

{% endif %}## Intended use and limits
Research on classifying knee radiographs. **Not a medical device**: not tested for, and not to be
used in, diagnosis, screening or treatment. Bone density cannot be read off a radiograph with the
certainty of densitometry. Films of other devices, sites, views or patients than those below can
give wrong answers with high probabilities; the out-of-distribution flag finds some of them, not
all.

## Model
| | |
| --- | --- |
| backbone | {{ training.backbone }}, weights: {{ weights }} |
| trained from | {{ parameters["backbone.train_from"] }} |
| input | gray films of {{ training.preprocessing.side_pixels }} x
{{- " " }}{{ training.preprocessing.side_pixels }} pixels, 0-255, {{ training.preprocessing.fit }} |
| output | probabilities of {{ training.classes | join(", ") }} |
| epoch kept | {{ training.best_epoch + 1 }} of at most {{ parameters["train.epochs"] }} |
| model file, SHA-256 | `{{ training.model_sha256 }}` |

## Data
{{ audit.records }} files, {{ audit.pictures }} different pictures; {{ audit.quarantined }} files
quarantined, {{ audit.rejected }} rejected, {{ audit.conflicting_pictures }} pictures under several
labels. Copies beyond the first of a picture: {{ audit.copies.same_bytes }} with the same bytes,
{{ audit.copies.same_name }} by name, {{ audit.copies.near_copy }} by look. Test films with a
relative in training: **{{ audit.leakage.in_use | percent }}** with the {{ test.split_protocol }}
split in use
{%- if audit.leakage.random is not none %}, {{ audit.leakage.random | percent }} with a random
one{% endif %}. Fingerprints: records `{{ training.data_fingerprint }}`, split
`{{ training.split_fingerprint }}`.

## Protocol
{{ test.records }} test films in {{ test.groups }} groups that neither training nor the choice of
epoch, calibration or backbone has seen. Intervals: {{ level | percent }}, bootstrap over groups.

## Results
| figure | test |{% if folds %} cross-validation |{% endif %}

| --- | --- |{% if folds %} --- |{% endif %}

{% for name in figures %}| {{ name | words }} | {{ bounded(test, name) }} |
{%- if folds %} {{ bounded(folds, name) }} |{% endif %}

{% endfor %}

| class | precision | recall | F1 | films |
| --- | --- | --- | --- | --- |
{% for name, one in test.per_class.items() %}| {{ name }} | {{ one.precision | decimal }} |
{{- " " }}{{ one.recall | decimal }} | {{ one.f1 | decimal }} | {{ one.support }} |
{% endfor %}
{% if not folds %}

Not cross-validated: {{ folds_missing }}.
{% endif %}

## Beside what needs no bone
{% if rivals %}{{ compared | words | capitalize }}, {{ metric | words }}:

| | {{ metric | words }} | chance that this model is better |
| --- | --- | --- |
{% for one in rivals %}| {{ one.name | words }} | {{ one.value | decimal }} |
{{- " " }}{{ one.probability | decimal }} |
{% endfor %}{% else %}Not compared.
{% endif %}

## Calibration and caution
| | |
| --- | --- |
| temperature | {{ test.calibration.temperature | decimal }} |
{% for name in ("expected_calibration_error", "log_loss") %}| {{ name | words }} before, after |
{{- " " }}{{ test.calibration.before[name] | decimal }},
{{- " " }}{{ test.calibration.after[name] | decimal }} |
{% endfor %}
| prediction sets at {{ test.conformal.level | percent }} | hold the true class in
{{- " " }}{{ test.conformal.coverage | percent }} and have
{{- " " }}{{ test.conformal.mean_set_size | decimal }} classes in the mean |
{% if test.out_of_distribution.flagged is defined %}| test films flagged as unlike |
{{- " " }}{{ test.out_of_distribution.flagged | percent }} |
{% endif %}
{% if explanation %}

## Where it looks

{% for name, value in explanation.items() if value is number %}
- {{ name | words }}: {{ value | decimal }}
{% endfor %}
{% endif %}

## Subgroups
{% if subgroups %}| group | films | accuracy | macro-F1 |
| --- | --- | --- | --- |
{% for one in subgroups %}| {{ one.name }} | {{ one.records }} | {{ bounded(one, "accuracy") }} |
{{- " " }}{{ bounded(one, "macro_f1") }} |
{% endfor %}{% else %}Neither sex, age, side nor origin of the test films is known.
{% endif %}

## Rebuild it
The MLflow run of execution `{{ training.execution }}` has the git revision (tag `git_revision`) and
all parameters. In a checkout of that revision, with the same data and weights:
```
dvc exp run -S model={{ training.backbone }} -S data={{ training.data }}
```
and the run's other parameters where they differ from conf/.
"""

MACROS: Final = """
{%- macro bounded(part, name) %}{{ part[name] | decimal }}
{%- if part.confidence_interval[name].low is not none %} ({{ part.confidence_interval[name].low
| decimal }} to {{ part.confidence_interval[name].high | decimal }}){% endif %}{% endmacro %}"""

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
SPECIAL: Final = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#"})
PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Model card</title><style>{style} code {{ overflow-wrap: anywhere }}</style></head>
<body><main>{body}</main></body></html>
"""


def markdown(facts: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        facts: training, test, audit (contents of training.json, test.json, audit.json); folds
            (cross_validation.json, or None, and then folds_missing says why); rivals, compared and
            metric (see `rivals`); explanation (explanation_headline.json or None); subgroups;
            level.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(  # noqa: S701  # nosec B701  # Markdown: `_safe` escapes what comes in
        undefined=StrictUndefined, trim_blocks=True, finalize=_safe
    )
    environment.filters["decimal"] = lambda value: "-" if value is None else f"{value:.3f}"
    environment.filters["percent"] = lambda value: "-" if value is None else f"{value:.1%}"
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    parameters = facts["training"]["parameters"]
    weights = str(parameters["backbone.weights"])
    named = {"none": "none, from random", "imagenet": "ImageNet"}
    template = environment.from_string(MACROS + TEMPLATE)
    text = template.render(
        **facts,
        parameters=parameters,
        weights=named.get(weights, "from a folder"),  # its path is the machine's own
        figures=FIGURES,
    )
    return f"{text.strip()}\n"


def html(text: str) -> str:
    """A Markdown card as one page that loads nothing and runs nothing."""
    import mistune

    body = str(mistune.create_markdown(escape=True, plugins=["table"])(text))
    return PAGE.format(style=STYLE, body=body)


def rivals(comparison: Mapping[str, Any], backbone: str) -> dict[str, Any]:
    """What comparison.json says of `backbone` and the others: rivals, compared, metric."""
    evidence = comparison["evidence"]
    name = next((one for one in ("cross_validation", "test") if "overall" in evidence[one]), "test")
    part, metric = evidence[name].get("overall"), comparison["metric"]
    if part is None or backbone not in part["figures"]:
        return {"rivals": [], "compared": name, "metric": metric}
    chances = {
        one["other"]: one["probability_better"]
        for one in part["differences"]
        if one["model"] == backbone
    }
    chances |= {
        one["model"]: None if one["probability_better"] is None else 1 - one["probability_better"]
        for one in part["differences"]
        if one["other"] == backbone
    }
    rows = [
        {"name": other, "value": one[metric]["value"], "probability": chances.get(other)}
        for other, one in part["figures"].items()
    ]
    ranked = sorted(rows, key=lambda one: -(one["value"] or 0))
    return {"rivals": ranked, "compared": name, "metric": metric}


def _safe(value: Any) -> Any:
    """Text of a class, an origin or a parameter cannot become markup."""
    if isinstance(value, str) and not value.replace(" ", "").replace(".", "").isalnum():
        return value.translate(SPECIAL).replace("\n", " ")
    return value
