"""A comparison as files: JSON, two tables, a picture for each kind of evidence, one page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from knee.audit.audit_report import STYLE
from knee.drawing.charts import COLOURS, GRAY, new_figure, plain, save_figure
from knee.statistics import paired_comparison
from knee.storage import artifacts


def write(facts: Mapping[str, Any], folder: Path) -> None:
    """Write comparison.json, figures.csv, differences.csv, pictures and the page to `folder`."""
    pictures = {}
    for name, evidence in facts["evidence"].items():
        if "overall" in evidence:
            picture = folder / f"{name}.png"
            title = f"{name.replace('_', ' ').capitalize()}: models and baselines"
            forest(evidence["overall"], facts["metric"], title, _subtitle(facts, evidence), picture)
            pictures[name] = picture.read_bytes()
    artifacts.write_json(folder / "comparison.json", facts)
    artifacts.write_text(folder / "figures.csv", artifacts.as_csv(_figures(facts)))
    artifacts.write_text(folder / "differences.csv", artifacts.as_csv(_differences(facts)))
    artifacts.write_text(folder / "comparison.html", page(facts, pictures))


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
            for metric in paired_comparison.SHOWN:
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


# The report of a comparison: one page that loads nothing and runs nothing.

TEMPLATE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ "SYNTHETIC: " if f.synthetic }}comparison of models and baselines</title>
<style>{{ style }}</style></head><body><main>
<h1>Models beside what needs no bone</h1>
<p class="faint">All are judged on the same records, and resampled together by groups of the same
patient or picture. Differences are in {{ f.metric | words }}; p-values are corrected for the number
of comparisons (Holm).</p>
{% if f.synthetic %}<p class="shout">SYNTHETIC DATA. These films were drawn by a program. Nothing
here says anything about patients.</p>{% endif %}
{% if f.leaky %}<p class="shout">LEAKY SPLIT. Relatives of test films are in training: the figures
are no results.</p>{% endif %}
{% for name, evidence in f.evidence.items() %}
<h2>{{ name | words | capitalize }}</h2>
{% if evidence.reason is defined %}<p>{{ evidence.reason }}</p>{% else %}
<p>{{ evidence.overall.records }} records in {{ evidence.overall.groups }} groups.</p>
{% if name in pictures %}<p><img src="{{ pictures[name] }}" style="max-width: 100%"
 alt="Figures with intervals, as in the table below"></p>{% endif %}
{{ verdicts(evidence.overall) }}
{{ figures(evidence.overall) }}
{{ differences(evidence.overall) }}
{% for origin, part in evidence.within.items() %}
<h3>Within the origin {{ origin or "unknown" }}: {{ part.records }} records in {{ part.groups }}
groups</h3>{{ verdicts(part) }}{{ figures(part) }}
<details><summary>differences</summary>{{ differences(part) }}</details>
{% endfor %}{% endif %}{% endfor %}
</main></body></html>
"""

MACROS: Final = """
{%- macro bounded(one) %}{{ one.value | decimal }}
{%- if one.low is not none %}<br><span class="small faint">{{ one.low | decimal }} to
{{ one.high | decimal }}</span>{% endif %}{% endmacro %}
{%- macro verdicts(part) %}<ul>{% for one in part.best_shortcut %}<li><b>{{ one.model }}</b> is
{{ "" if one.significant else "not " }}surely better than the best shortcut,
{{ one.other | words }}: difference {{ one.difference | decimal }} ({{ one.low | decimal }} to
{{ one.high | decimal }}), corrected p {{ one.p_corrected | decimal }}</li>{% endfor %}</ul>
{% endmacro %}
{%- macro figures(part) %}<div class="wide"><table><tr><th></th><th>kind</th>
<th class="n">macro-F1</th><th class="n">balanced accuracy</th><th class="n">accuracy</th></tr>
{% for name, one in part.figures.items() %}<tr><td class="name">{% if one.kind == "model" %}
<b>{{ name }}</b>{% else %}{{ name | words }}{% endif %}</td><td>{{ one.kind }}</td>
<td class="n">{{ bounded(one.macro_f1) }}</td>
<td class="n">{{ bounded(one.balanced_accuracy) }}</td>
<td class="n">{{ bounded(one.accuracy) }}</td></tr>{% endfor %}</table></div>{% endmacro %}
{%- macro differences(part) %}<div class="wide"><table><tr><th>model</th><th>less</th>
<th class="n">difference</th><th class="n">chance that it is better</th><th class="n">p</th>
<th class="n">p, corrected</th></tr>
{% for one in part.differences %}<tr><td class="name"><b>{{ one.model }}</b></td>
<td class="name">{{ one.other | words }}</td>
<td class="n">{{ bounded({"value": one.difference, "low": one.low, "high": one.high}) }}</td>
<td class="n">{{ one.probability_better | decimal }}</td><td class="n">{{ one.p_value | decimal }}
</td><td class="n">{{ one.p_corrected | decimal }}</td></tr>{% endfor %}</table></div>{% endmacro %}
"""


def page(facts: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """HTML of `facts`, the content of comparison.json, with a PNG for each kind of evidence."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["decimal"] = lambda value: "-" if value is None else f"{value:.3f}"
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    encoded = {
        name: f"data:image/png;base64,{base64.b64encode(content).decode()}"
        for name, content in pictures.items()
    }
    template = environment.from_string(MACROS + TEMPLATE)
    style = Markup(STYLE)  # noqa: S704  # nosec B704  # a constant of ours
    return str(template.render(f=facts, pictures=encoded, style=style))


# Figures of models and baselines with their intervals, as a PNG.


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
