"""Great Expectations: suites over frames, run without a server, with pages for people.

What is expected of records and of a split is in `expected_records` and `expected_split`. Great
Expectations is imported where it is used: it takes seconds. It asks no server: its analytics are
switched off, and the report's pages may load nothing and run nothing.
"""

from __future__ import annotations

import copy
import html
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult as Result
    from great_expectations.expectations import Expectation

EXAMPLES: Final = 5  # rows named for a failed expectation
LOADED: Final = re.compile(r"<script\b.*?</script>|<(?:link|img)\b[^>]*>", re.S | re.I)
ELSEWHERE: Final = re.compile(r"(\.\./)+(expectations/)?")  # pages of one folder here
HEAD: Final = """<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
table { border-collapse: collapse; margin: .6rem 0; width: 100% }
td, th { border: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top }
td { overflow-wrap: anywhere } .met, .failed, td a { white-space: nowrap }
nav.navbar, .modal, footer, button, .card-header, .card-header + .card-body { display: none }
.text-success, .met { color: #0072B2 } .text-danger, .failed { color: #D55E00 }
.fa-check-circle::before { content: "met" } .fa-times::before { content: "FAILED" }
</style>"""
INDEX: Final = """<!doctype html>
<html lang="en"><head><title>{{ title }}</title>HEAD</head><body>
<h1>{{ title }}</h1>
{% for line in lines %}<p>{{ line }}</p>{% endfor %}
<table><tr><th>expectation</th><th>result</th><th>for example</th><th>details</th></tr>
{% for one in outcomes %}<tr><td>{{ one.expectation }}</td>
{% if one.asked %}<td class="{{ 'met' if one.success else 'failed' }}">
{{- 'met' if one.success else 'FAILED' }}</td>
<td>{{ one.examples | join('; ') }}</td><td><a href="{{ one.suite }}.html">{{ one.suite }}</a></td>
{% else %}<td>not asked</td><td></td><td></td>{% endif %}
</tr>{% endfor %}</table>
{% for table in tables %}<h2>{{ table.title }}</h2>
<table><tr>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>{% endfor %}</body></html>
""".replace("HEAD", HEAD)


@dataclass(frozen=True)
class Suite:
    """Expectations of one frame.

    Attributes:
        frame: what they look at.
        key: the column that names a row in examples.
        expectations: made by `expect`.
        asked: False: listed as not asked for, and not run.
    """

    frame: pd.DataFrame
    key: str
    expectations: Sequence[Expectation]
    asked: bool = True


@dataclass(frozen=True)
class Table:
    """A table on the index page."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Index:
    """What the index page says besides the outcomes: a title, lines of text, tables."""

    title: str
    lines: Sequence[str]
    tables: Sequence[Table] = field(default=())


def expect(kind: str, sentence: str, **arguments: Any) -> Expectation:
    """Great Expectations' `Expect<kind>`, which reports call by `sentence`."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the package is imported
    from great_expectations import expectations

    expectation: Expectation = getattr(expectations, f"Expect{kind}")
    return expectation(**arguments, meta={"sentence": sentence})


def run(suites: Mapping[str, Suite], docs: Path | None, index: Index) -> list[dict[str, Any]]:
    """Run all suites; write their report into the folder `docs`, if one is given.

    Args:
        suites: by name.
        docs: an existing folder; gets index.html and one page a suite.
        index: for index.html.

    Returns:
        One entry an expectation: suite, expectation (a sentence), asked, success, examples (what
        fails). One that was not asked for counts as a success.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # It announces a temporary site that it never makes.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("radiographs")
    outcomes: list[dict[str, Any]] = []
    for name, one in suites.items():
        if not one.asked:
            outcomes += [_outcome(name, e.meta, asked=False) for e in one.expectations]
            continue
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        suite = context.suites.add(
            gx.ExpectationSuite(name=name, expectations=list(one.expectations))
        )
        definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": one.frame},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [one.key]},
        )
        outcomes += _outcomes(name, result, one.key)
        if docs is not None:
            (docs / f"{name}.html").write_text(_page(result), encoding="utf-8")
    if docs is not None:
        (docs / "index.html").write_text(_index(index, outcomes), encoding="utf-8")
    return outcomes


def summary(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of a metrics file: success, counts, and what failed or was not asked for."""
    failed = [one for one in outcomes if not one["success"]]
    keys = ("suite", "expectation", "examples")
    asked = [one for one in outcomes if one["asked"]]
    return {
        "expectations": {"evaluated": len(asked), "failed": len(failed)},
        "failed": [{key: one[key] for key in keys} for one in failed],
        "not_asked": [one["expectation"] for one in outcomes if not one["asked"]],
    }


def complaint(outcomes: Sequence[Mapping[str, Any]], remedy: str) -> str | None:
    """What failed, with examples, and then `remedy`; None if nothing did."""
    failed = [one for one in outcomes if not one["success"]]
    if not failed:
        return None
    lines = [f"{len(failed)} expectations failed; nothing downstream is run:"]
    for one in failed:
        examples = "; ".join(ascii(example)[1:-1] for example in one["examples"])
        named = f" (for example {examples})" if examples else ""
        lines.append(f"  not true: {one['expectation']}{named}")
    return "\n".join([*lines, remedy])


def _outcomes(suite: str, result: Result, key: str) -> list[dict[str, Any]]:
    def failing(one: Any) -> list[dict[str, Any]]:
        return one.result.get("unexpected_index_list") or []

    return [
        {
            **_outcome(suite, one.expectation_config.meta),
            "success": bool(one.success),
            "examples": [_example(row, key) for row in failing(one)[:EXAMPLES]],
        }
        for one in result.results
    ]


def _outcome(suite: str, meta: Mapping[str, Any], *, asked: bool = True) -> dict[str, Any]:
    sentence = meta["sentence"]
    return {
        "suite": suite,
        "expectation": sentence,
        "asked": asked,
        "success": True,
        "examples": [],
    }


def _example(row: Mapping[str, Any], key: str) -> str:
    """The file, class or share that fails, and the value it fails by."""
    others = {name: value for name, value in row.items() if name != key}
    texts = [f"{n} {round(v, 6) if isinstance(v, float) else v}" for n, v in others.items()]
    return f"{row[key]}: {', '.join(texts)}" if texts else str(row[key])


def _page(result: Result) -> str:
    """Great Expectations' own page of one suite; it does not escape file names itself."""
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    shown = copy.deepcopy(result)
    for one in shown.results:
        one.result = _escaped(one.result)
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(shown)
    page = ELSEWHERE.sub("", LOADED.sub("", DefaultJinjaPageView().render(document)))
    return page.replace("<head>", f"<head>{HEAD}", 1)


def _index(index: Index, outcomes: Sequence[Mapping[str, Any]]) -> str:
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string(INDEX)
    return template.render(
        title=index.title, lines=index.lines, tables=index.tables, outcomes=outcomes
    )


def _escaped(value: Any) -> Any:
    """`value` with all text in it, keys apart, safe to stand in HTML."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, Mapping):
        return {name: _escaped(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(inner) for inner in value]
    return value
