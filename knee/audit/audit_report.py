"""The audit's report: one self-contained HTML page.

File names are hostile text and may name patients: all text is escaped, the page may load and run
nothing, and without `named` it calls files by their record's number. It shows no patient's hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.audit import audit_charts, audit_pictures
from knee.records import reasons
from knee.records.records_table import USED
from knee.storage.arrays import Pixels

MEGABYTE: Final = 1_000_000
FIRST: Final = 12  # pictures under several labels that are seen without unfolding the rest
REASONS: Final = 100  # rows of the table
LONGEST_NAME: Final = 120  # letters of a file's name, of its end
FILMS_OF_A_PICTURE: Final = 4  # a quarter of a class' films are shown of one picture

SHORTCUTS: Final = {
    "majority": ("Largest class", "Nothing: always the most frequent class"),
    "metadata": ("File metadata", "Size, format, bits, compression, borders; never a pixel"),
    "border": ("Border ring", "The outer eighth on each side; the inside is black"),
    "nearest_neighbour": ("Nearest neighbour", "The most similar film at 32 x 32 pixels"),
    "origin": ("Origin", "Which hospital, device or collection it comes from"),
}
SEES_THE_JOINT: Final = ("Nearest neighbour",)


@dataclass(frozen=True)
class Limits:
    """How much the report shows.

    Attributes:
        conflicts: pictures under several labels.
        groups: pictures with most copies.
        films: of each class; of one picture a quarter of that.
        thumbnail_pixels: longer side.
        megabytes: of the whole page.
    """

    conflicts: int
    groups: int
    films: int
    thumbnail_pixels: int
    megabytes: float


@dataclass(frozen=True)
class Subject:
    """What is reported on.

    Attributes:
        records: the records table.
        originals: (records,) False for copies that their file names call derived.
        kept: one used record a picture.
        pixels: uint8 (rows, side, side), canonical.
        facts: the content of audit.json.
        level: of the intervals, 0-1.
        alarm_level: largest p-value of an alarm.
        seed: of the films drawn for the montages.
    """

    records: pd.DataFrame
    originals: npt.NDArray[np.bool_]
    kept: pd.DataFrame
    pixels: Pixels
    facts: Mapping[str, Any]
    level: float
    alarm_level: float
    seed: int


def pages(subject: Subject, limits: Limits) -> tuple[str, str]:
    """The report with file names, and the one without that may leave the machine."""
    shapes = audit_charts.distributions(subject.kept, subject.pixels)
    most_bytes = int(limits.megabytes * MEGABYTE)
    thumbnails = audit_pictures.Thumbnails(subject.pixels, limits.thumbnail_pixels, most_bytes)
    with_names, without = (
        _page(subject, limits, thumbnails, shapes, named=named) for named in (True, False)
    )
    return with_names, without


def _page(
    subject: Subject,
    limits: Limits,
    thumbnails: audit_pictures.Thumbnails,
    shapes: list[audit_charts.Distribution],
    *,
    named: bool,
) -> str:
    films = subject.records.assign(derived=~subject.originals)
    films = films[films["pixel_row"] >= 0]
    name = _source if named else _number
    of_a_picture = max(2, limits.films // FILMS_OF_A_PICTURE)
    thumbnails.left_out = 0
    conflicts = audit_pictures.conflicts(films, thumbnails, name, of_a_picture, limits.conflicts)
    largest = audit_pictures.largest(films, thumbnails, name, limits.groups, of_a_picture)
    montages = audit_pictures.montages(subject.kept, thumbnails, name, limits.films, subject.seed)
    reasons = _reasons(subject.records, named=named)
    bars = _bars(subject.facts)
    page: str = _template().render(
        f=subject.facts,
        named=named,
        style=_safe(STYLE),
        first=FIRST,
        conflicts=conflicts,
        conflicts_hidden=max(0, subject.facts["conflicting_pictures"] - len(conflicts)),
        largest=largest,
        montages=montages,
        left_out=thumbnails.left_out,
        bars=bars,
        best=max(
            (bar for bar in bars if bar["title"] not in SEES_THE_JOINT),
            key=lambda bar: bar["figures"]["balanced_accuracy"],
            default=None,
        ),
        level=f"{100 * subject.level:g} %",
        alarm_level=subject.alarm_level,
        shapes=shapes,
        reasons=reasons[:REASONS],
        reasons_hidden=max(0, len(reasons) - REASONS),
        labels=sorted({label for row in subject.facts["origins"].values() for label in row}),
    )
    return page


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(
        count=lambda value: f"{value:,}",
        percent=_percent,
        decimal=lambda value: "-" if value is None else f"{value:.3f}",
        place=audit_charts.percent,
    )
    return environment.from_string(TEMPLATE)


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    text = f"{100 * value:.1f}"
    return ("0" if value == 0 else text) + "\N{NO-BREAK SPACE}%"


def _safe(style: str) -> Any:
    from markupsafe import Markup

    return Markup(style)  # noqa: S704  # nosec B704  # a constant of this package


def _bars(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    bars = []
    for name, figures in facts["shortcuts"].items():
        if figures["balanced_accuracy"] is None:
            continue
        title, sees = SHORTCUTS[name]
        ends = figures["confidence_interval"]["balanced_accuracy"]
        bars.append(
            {
                "title": title,
                "sees": sees,
                "figures": figures,
                "place": audit_charts.percent(figures["balanced_accuracy"]),
                "low": audit_charts.percent(ends["low"]),
                "high": audit_charts.percent(ends["high"]),
            }
        )
    return bars


def _source(row: Any) -> str:
    """The path below the class folder: the label stands beside it."""
    name = str(row.source).removeprefix(f"{row.label}/")
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"


def _number(row: Any) -> str:
    return f"record {row.record}"


def _reasons(records: pd.DataFrame, *, named: bool) -> list[reasons.Reason]:
    if named:
        return reasons.reasons(records)
    aside = records[records["status"] != USED]
    nameless = aside.assign(
        reason=[_without_name(row) for row in aside.itertuples()],
        source=[_number(row) for row in aside.itertuples()],
    )
    return reasons.reasons(nameless)


def _without_name(row: Any) -> str:
    """A reason is made without the file's name; should it hold it after all, it is cut."""
    path = PurePosixPath(row.source)
    text = str(row.reason)
    for part in (str(path), path.name, path.stem):
        if part:
            text = re.sub(re.escape(part), "the file", text)
    return text


# The template of the audit's report: one page that loads nothing and runs nothing.

# Okabe and Ito's palette, told apart with every kind of colour vision, lighter on a dark page.
STYLE: Final = """
:root { color-scheme: light dark; --page: #fbfaf7; --card: #fff; --ink: #1d2126; --faint: #5d666f;
  --line: #dcd8d0; --warn: #8f3f00; --warned: #fdeee0; --good: #00654a;
  --c0: #0072B2; --c1: #D98200; --c2: #008a64; --c3: #b8548f; --c4: #D55E00; --c5: #2f86b8;
  --c6: #444; --c7: #8d7f00 }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1d2125; --ink: #eceae5;
  --faint: #a3abb3; --line: #373d43; --warn: #ffb57a; --warned: #3a2413; --good: #5fd3ab;
  --c0: #56B4E9; --c1: #E69F00; --c2: #2fbf93; --c3: #e08fbd; --c4: #ff8a4c; --c5: #8fd0f5;
  --c6: #c8c8c8; --c7: #F0E442 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif }
main { max-width: 74rem; margin: 0 auto; padding: 1.5rem clamp(1rem, 3vw, 2.5rem) 4rem }
h1 { font-size: clamp(1.6rem, 4vw, 2.3rem); line-height: 1.2; margin: .5rem 0 .3rem }
h2 { font-size: 1.35rem; margin: 2.8rem 0 .4rem; line-height: 1.25 }
h3 { font-size: 1rem; margin: 0 0 .4rem }
p { max-width: 44rem; margin: .4rem 0 .8rem } .faint { color: var(--faint) }
.small { font-size: .85rem }
.shout { background: var(--warned); color: var(--warn); border-left: .4rem solid var(--warn);
  padding: .7rem 1rem; margin: 1rem 0; font-weight: 600; border-radius: .2rem; max-width: none }
.cards { display: grid; gap: .8rem; margin: 1.2rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 12.5rem), 1fr)) }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .9rem 1rem }
.figure { font-size: 2rem; line-height: 1.15; font-weight: 650; display: block }
.figure.bad { color: var(--warn) } .figure.good { color: var(--good) }
.films { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)) }
.film { margin: 0; font-size: .75rem; line-height: 1.3 }
.film img, .film .none { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  background: #000; border-radius: .2rem; border-bottom: .3rem solid var(--c) }
.film .none { color: #bbb; padding: 2rem .3rem; text-align: center }
.film b { color: var(--c) } .film span { color: var(--faint); overflow-wrap: anywhere;
  display: -webkit-box; -webkit-line-clamp: 4; -webkit-box-orient: vertical; overflow: hidden }
.groups { display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22.5rem), 1fr)) }
.bars { margin: 1rem 0; max-width: 56rem }
.bar { display: grid; grid-template-columns: 12rem 1fr 8.5rem; gap: .2rem .8rem; margin: .6rem 0;
  align-items: center }
.track { position: relative; height: 1.6rem; background: var(--line); border-radius: .2rem }
.track i, .track u, .track s { position: absolute; top: 0; bottom: 0 }
.track i { left: 0; background: var(--c); border-radius: .2rem 0 0 .2rem }
.track u { top: 45%; bottom: 45%; background: var(--ink) }
.track s { width: 0; border-left: 2px dashed var(--ink); top: -.3rem; bottom: -.3rem }
.axis { position: relative; height: 1.4rem; font-size: .8rem; color: var(--faint) }
.axis span { position: absolute; transform: translateX(-50%); white-space: nowrap }
.axis span:first-child { transform: none } .axis span:last-child { transform: translateX(-100%) }
.shapes { display: grid; gap: 1rem 1.6rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)) }
.shape { display: grid; grid-template-columns: 7rem 1fr; gap: 0 .6rem; align-items: end }
.shape .box { position: relative; height: 3.2rem; border-bottom: 1px solid var(--line) }
.shape svg { width: 100%; height: 100%; display: block; fill: var(--c) }
.shape .box s { position: absolute; top: 15%; bottom: 0; border-left: 2px solid var(--ink) }
.shape .who { font-size: .8rem; line-height: 1.2; overflow-wrap: anywhere; padding-bottom: .2rem }
.shape .who b { color: var(--c) }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem }
td, th { padding: .35rem .7rem .35rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line) }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td { overflow-wrap: anywhere } td.text { min-width: 11rem } td.name { white-space: nowrap }
details { margin: .8rem 0 }
summary, nav a { cursor: pointer; color: var(--c0) } nav a { margin-right: 1rem }
summary { margin: .8rem 0 }
@media (max-width: 40rem) { .bar { grid-template-columns: 1fr auto }
  .bar .track, .bar .axis { grid-column: 1 / -1; grid-row: 2 }
  .bar .axis { grid-row: 1 } .shape { grid-template-columns: 6.6rem 1fr } }
@media print { .card, .shape { break-inside: avoid } }
"""

MACROS: Final = """
{%- macro colour(index) %}--c: var(--c{{ index % 8 }}){% endmacro %}
{%- macro show(film, labelled) %}
<figure class="film" style="{{ colour(film.class_index) }}">
{%- if film.thumbnail %}<img src="{{ film.thumbnail }}" alt="{{ film.label }}">
{%- else %}<div class="none">no room in this report</div>{% endif %}
<figcaption>{% if labelled %}<b>{{ film.label }}</b>{% endif %}
{%- if film.copies > 1 %} &times; {{ film.copies }}{% endif %}
<span>{{ film.name }}</span></figcaption></figure>
{%- endmacro %}
{%- macro pictures(groups) %}<div class="groups">
{%- for group in groups %}<div class="card"><h3>{{ group.title }}</h3><div class="films">
{%- for film in group.films %}{{ show(film, true) }}{% endfor %}</div>
{%- if group.hidden %}<p class="small faint">{{ group.hidden | count }} more not shown, of
{{ group.files | count }} files</p>{% endif %}</div>{% endfor %}</div>
{%- endmacro %}
{%- macro range(ends) %}{% if ends.low is not none %}{{ ends.low | percent }}
to {{ ends.high | percent }}{% endif %}{% endmacro %}
"""

BODY: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ "SYNTHETIC: " if f.synthetic }}audit of the radiographs</title>
<style>{{ style }}</style></head><body><main>
<h1>What is in these radiographs</h1>
<p class="faint">An audit of the data before anything is learned from it.
{%- if not named %} Files are called by their record's number.{% endif %}</p>
{% if f.synthetic %}<p class="shout">SYNTHETIC DATA. These films were drawn by a program. Nothing
here says anything about patients.</p>{% endif %}
{% if f.split_protocol == "random" %}<p class="shout">LEAKY SPLIT IN USE. The random protocol puts
copies of one picture on both sides: its figures are no results.</p>{% endif %}
<div class="cards">
<div class="card"><span class="figure">{{ f.records | count }}</span>
files{% if f.rejected %}, {{ f.rejected | count }} of them not readable as a film{% endif %}.
{{ f.distinct_files | count }} differ in their bytes.</div>
<div class="card"><span class="figure">{{ f.pictures | count }}</span>
different pictures: the other files are copies, mirrored and augmented ones too.
{% if f.groups != f.pictures %}Those of one patient put together, they are
{{ f.groups | count }} groups.{% endif %}</div>
<div class="card"><span class="figure {{ 'bad' if f.conflicting_pictures else 'good' }}">
{{- f.conflicting_pictures | count }}</span>
of these pictures stand under more than one label. At most one of them can be right.</div>
<div class="card"><span class="figure {{ 'bad' if f.leakage.in_use else 'good' }}">
{{- f.leakage.in_use | percent }}</span> of the test films have a relative in training with the
split in use. {% if f.leakage.random is not none %}With a plain random split of all files it would
be <b>{{ f.leakage.random | percent }}</b>.{% endif %}</div>
{% if best %}<div class="card"><span class="figure {{ 'bad' if best.figures.alarm else 'good' }}">
{{- best.figures.balanced_accuracy | percent }}</span>
balanced accuracy without any look at the joint ({{ best.title | lower }}). Chance is
{{ f.chance | percent }}.</div>{% endif %}
</div>
<nav class="small"><a href="#conflicts">Several labels</a> <a href="#copies">Copies</a>
<a href="#shortcuts">Shortcuts</a> <a href="#classes">Classes</a>
<a href="#light">Light and size</a> <a href="#aside">Set aside</a>
<a href="#origins">Origins</a></nav>

<h2 id="conflicts">Pictures under several labels</h2>
{% if conflicts %}<p>The same picture, in the class folders named above each. Whoever knows the
patients can tell which is right. {% if f.quarantined %}{{ f.quarantined | count }} files are
quarantined: no model is trained or tested on them.{% else %}They are used all the same:
ingest.conflicts says so.{% endif %}</p>
{{ pictures(conflicts[:first]) }}
{% if conflicts | length > first %}<details><summary>the other
{{ (conflicts | length - first) | count }} pictures</summary>{{ pictures(conflicts[first:]) }}
</details>{% endif %}
{% if conflicts_hidden %}<p class="faint">and {{ conflicts_hidden | count }} pictures more:
audit.conflicts_shown is the limit.</p>{% endif %}
{% else %}<p>None. No picture stands under two labels.</p>{% endif %}

<h2 id="copies">Pictures with most copies</h2>
{% if largest %}<p>Files beyond the first of their picture, each counted once:
{{ f.copies.same_bytes | count }} are the same bytes, {{ f.copies.same_pixels | count }} more the
same pixels, {{ f.copies.same_name | count }} more are copies by their name,
{{ f.copies.near_copy | count }} more by their look.
&times;&nbsp;3 says that three files have these very pixels.</p>{{ pictures(largest) }}
{% else %}<p>None. Every file is a picture of its own.</p>{% endif %}

<h2 id="shortcuts">What is not bone, and still knows the label</h2>
{% if bars %}<p>Each row guesses the label from something that is no sign of disease, or from a
plain look-up, on {{ f.shortcut_pictures | count }} pictures, never of a group it has seen. A model
has to beat the best of them before anything can be said about bone. Bars: balanced accuracy; thin
lines: {{ level }} intervals; dashed: chance.</p>
<div class="bars">{% for bar in bars %}<div class="bar"
 style="--c: var({{ '--c4' if bar.figures.alarm else '--c5' }})">
<div><b>{{ bar.title }}</b></div>
<div class="track" role="img" aria-label="{{ bar.figures.balanced_accuracy | percent }}">
<i style="width: {{ bar.place }}%"></i>
{% if bar.high > bar.low %}<u style="left: {{ bar.low }}%; width: {{ bar.high - bar.low }}%">
</u>{% endif %}<s style="left: {{ f.chance | place }}%"></s></div>
<div><b>{{ bar.figures.balanced_accuracy | percent }}</b>
{% if bar.figures.alarm %}<br><span class="small faint">above chance</span>{% endif %}
</div></div>{% endfor %}
<div class="bar"><div></div><div class="axis"><span style="left: 0">0 %</span>
<span style="left: {{ f.chance | place }}%">chance</span><span style="left: 100%">100 %</span>
</div><div></div></div></div>
<div class="wide"><table><tr><th>shortcut</th><th>sees</th><th class="n">accuracy</th>
<th class="n">macro F1</th><th class="n">balanced</th><th class="n">p</th>
<th class="n">test accuracy</th></tr>
{% for bar in bars %}<tr><td class="name">{{ bar.title }}</td><td class="text">{{ bar.sees }}</td>
<td class="n">{{ bar.figures.accuracy | percent }}<br>
<span class="small faint">{{ range(bar.figures.confidence_interval.accuracy) }}</span></td>
<td class="n">{{ bar.figures.macro_f1 | decimal }}</td>
<td class="n">{{ bar.figures.balanced_accuracy | percent }}</td>
<td class="n">{{ bar.figures.p_value | decimal }}</td>
<td class="n">{{ bar.figures.test.accuracy | percent }}</td></tr>{% endfor %}</table></div>
<p class="small faint">p: share of permutations of the labels between groups that do as well. Above
chance: p of at most {{ alarm_level }}. Test accuracy: fitted to the split's training films, scored
on its test films, as the models are.</p>
{% else %}<p>Not measured: a class has too few groups for a cross-validation.</p>{% endif %}

<h2 id="classes">What each class looks like</h2>
<p class="faint">Drawn at random, one file a picture.</p>
{% for group in montages %}<h3 style="{{ colour(loop.index0) }}">{{ group.title }}:
{{ group.files | count }} pictures in use</h3><div class="films">
{% for film in group.films %}{{ show(film, false) }}{% endfor %}</div><br>{% endfor %}
{% if left_out %}<p class="faint">{{ left_out | count }} thumbnails were left out:
audit.report_megabytes is the limit.</p>{% endif %}

<h2 id="light">Light and size by class</h2>
<p>Outlines of equal area; the upright line is the median. Classes that differ here differ in how
they were taken, before any bone is looked at.</p>
<div class="shapes">{% for one in shapes if not one.constant %}<div class="card">
<h3>{{ one.title }} <span class="faint small">{{ one.unit }}</span></h3>
{% for row in one.outlines %}<div class="shape" style="{{ colour(row.class_index) }}">
<div class="who"><b>{{ row.label }}</b><br>{{ row.median }}</div><div class="box">
<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
<path d="{{ row.path }}"/></svg><s style="left: {{ row.median_percent }}%"></s></div></div>
{% endfor %}<div class="shape"><div></div><div class="axis">{% for tick in one.ticks %}
{%- if loop.first or loop.last or loop.index0 == 2 %}
<span style="left: {{ 100 * loop.index0 / (one.ticks | length - 1) }}%">{{ tick }}</span>
{%- endif %}{% endfor %}</div></div></div>{% endfor %}</div>
{% for one in shapes if one.constant %}<p>{{ one.title }}: {{ one.constant }} {{ one.unit }}
in every film.</p>{% endfor %}

<h2 id="aside">What was set aside, and why</h2>
{% if reasons %}<div class="wide"><table><tr><th>status</th><th class="n">files</th><th>reason</th>
<th>for example</th></tr>{% for one in reasons %}<tr><td class="name">{{ one.status }}</td>
<td class="n">{{ one.count | count }}</td><td class="text">{{ one.reason }}</td>
<td class="text">{{ one.examples | join(", ") }}</td></tr>{% endfor %}</table></div>
{% if reasons_hidden %}<p class="faint">and {{ reasons_hidden | count }} reasons more: see
the column reason of the records.</p>{% endif %}
{% else %}<p>Nothing: every file is used.</p>{% endif %}

<h2 id="origins">Where the films come from</h2>
{% if f.origins %}<p>Films by origin and label. A label that one origin alone has cannot be told
from it.</p><div class="wide"><table><tr><th>origin</th>{% for label in labels %}
<th class="n">{{ label }}</th>{% endfor %}</tr>{% for origin, row in f.origins.items() %}
<tr><td>{{ origin or "unknown" }}</td>{% for label in labels %}
<td class="n">{{ row.get(label, 0) | count }}</td>{% endfor %}</tr>{% endfor %}</table></div>
{% else %}<p>Unknown. data.origin_pattern or a sheet's column can tell.</p>{% endif %}
</main></body></html>
"""

TEMPLATE: Final = MACROS + BODY
