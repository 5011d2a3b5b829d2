"""What a records table has to fulfil, as Great Expectations suites, with their report for people.

Great Expectations is imported where it is used: it takes seconds. It asks no server: its analytics
are switched off, and the report's pages may load nothing and run nothing.
"""

from __future__ import annotations

import copy
import html
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from stages.radiographs.records import COLUMNS, QUARANTINED, REJECTED, USED

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult as Result
    from great_expectations.expectations import Expectation

EXAMPLES: Final = 5  # sources named for a failed expectation
LISTED: Final = 500  # files set aside that the report names
HEX: Final = r"^[0-9a-f]{64}$"
REASON: Final = "each file set aside has a reason"
STATUS: Final = "each file is used, quarantined or rejected"
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
<html lang="en"><head><title>Validation of the radiographs</title>HEAD</head><body>
<h1>Validation of the radiographs</h1>
<p>{% for name, count in counts %}{{ name }} {{ count }}{{ ", " if not loop.last }}{% endfor %}</p>
<table><tr><th>expectation</th><th>result</th><th>for example</th><th>details</th></tr>
{% for one in outcomes %}<tr><td>{{ one.expectation }}</td>
<td class="{{ 'met' if one.success else 'failed' }}">{{ 'met' if one.success else 'FAILED' }}</td>
<td>{{ one.examples | join('; ') }}</td><td><a href="{{ one.suite }}.html">{{ one.suite }}</a></td>
</tr>{% endfor %}</table>
<h2>Files set aside: {{ aside | length }}{{ ", the first %d" % most if aside | length > most }}</h2>
<table><tr><th>file</th><th>status</th><th>reason</th></tr>
{% for row in aside[:most] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></body></html>
""".replace("HEAD", HEAD)


@dataclass(frozen=True)
class Thresholds:
    """Limits of the suites: images a class, and shares of all files, 0-1."""

    minimum_images_per_class: int
    maximum_rejected_share: float
    maximum_quarantined_share: float


def check(records: pd.DataFrame, limits: Thresholds, docs: Path | None) -> list[dict[str, Any]]:
    """Run all suites; write their report into the folder `docs`, if one is given.

    Args:
        records: the records table.
        limits: thresholds.
        docs: an existing folder; gets index.html and one page a suite.

    Returns:
        One entry an expectation: suite, expectation (a sentence), success, examples (what fails).
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the package is imported
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # It announces a temporary site that it never makes.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("radiographs")
    outcomes: list[dict[str, Any]] = []
    for name, (frame, key, expectations) in _suites(records, limits).items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [key]},
        )
        outcomes += _outcomes(name, result, key)
        if docs is not None:
            (docs / f"{name}.html").write_text(_page(result), encoding="utf-8")
    if docs is not None:
        (docs / "index.html").write_text(_index(records, outcomes), encoding="utf-8")
    return outcomes


def counts(records: pd.DataFrame) -> dict[str, Any]:
    """Files by status, pictures, and used files of each class."""
    per_class = records.loc[records["status"] == USED, "label"].value_counts().sort_index()
    return {
        "files": len(records),
        "used": int((records["status"] == USED).sum()),
        "quarantined": int((records["status"] == QUARANTINED).sum()),
        "rejected": int((records["status"] == REJECTED).sum()),
        "pictures": int(records.loc[records["picture"] >= 0, "picture"].nunique()),
        "per_class": {str(name): int(count) for name, count in per_class.items()},
    }


def _suites(
    records: pd.DataFrame, limits: Thresholds
) -> dict[str, tuple[pd.DataFrame, str, list[Expectation]]]:
    # One row a pair: a label with two indices, or an index with two labels, stands out.
    named = records[records["class_index"] >= 0]
    images = named["status"].eq(USED).groupby([named["label"], named["class_index"]]).sum()
    shares = pd.DataFrame({"data": ["share of all files"]})
    for status in (REJECTED, QUARANTINED):
        shares[status] = records["status"].eq(status).mean()
    frames = {
        "records": (records, "source"),
        "set_aside": (records[records["status"] != USED], "source"),
        "films": (records[records["status"] != REJECTED], "source"),
        "classes": (images.reset_index(name="images"), "label"),
        "shares": (shares, "data"),
    }
    wanted = {**_of_files(), **_of_totals(limits)}
    return {name: (*frame, wanted[name]) for name, frame in frames.items()}


def _of_files() -> dict[str, list[Expectation]]:
    unique, between = "ColumnValuesToBeUnique", "ColumnValuesToBeBetween"
    lengths, match = "ColumnValueLengthsToBeBetween", "ColumnValuesToMatchRegex"
    statuses = [USED, QUARANTINED, REJECTED]
    hashes = ("sha256", "pixel_sha256", "perceptual_hash")
    sizes = ("width", "height", "bytes")
    numbers = ("class_index", "pixel_row", "picture", "group")
    return {
        "records": [
            _expect("TableColumnsToMatchSet", "the columns are as agreed", column_set=[*COLUMNS]),
            _expect("TableRowCountToBeBetween", "there is at least one file", min_value=1),
            _expect(unique, "each file has its own record", column="record"),
            _expect(unique, "each file has its own source", column="source"),
            _expect("ColumnValuesToBeInSet", STATUS, column="status", value_set=statuses),
        ],
        "set_aside": [_expect(lengths, REASON, column="reason", min_value=1)],
        "films": [
            *(_expect(match, f"{n} is 64 hex digits", column=n, regex=HEX) for n in hashes),
            _expect(lengths, "each film has a label", column="label", min_value=1),
            *(_expect(between, f"each film has a {n}", column=n, min_value=0) for n in numbers),
            _expect(unique, "each film has pixels of its own", column="pixel_row"),
            *(_expect(between, f"{n} is positive", column=n, min_value=1) for n in sizes),
        ],
    }


def _of_totals(limits: Thresholds) -> dict[str, list[Expectation]]:
    unique, between = "ColumnValuesToBeUnique", "ColumnValuesToBeBetween"
    least = limits.minimum_images_per_class
    enough = f"each class has at least {least} used films"
    return {
        "classes": [
            _expect("TableRowCountToBeBetween", "there are two or more classes", min_value=2),
            _expect(unique, "each label has one class_index", column="label"),
            _expect(unique, "each class_index has one label", column="class_index"),
            _expect(between, enough, column="images", min_value=least),
        ],
        "shares": [
            _expect(between, f"at most {most:.6g} of all files are {n}", column=n, max_value=most)
            for n, most in (
                (REJECTED, limits.maximum_rejected_share),
                (QUARANTINED, limits.maximum_quarantined_share),
            )
        ],
    }


def _expect(kind: str, sentence: str, **arguments: Any) -> Expectation:
    from great_expectations import expectations

    expectation: Expectation = getattr(expectations, f"Expect{kind}")
    return expectation(**arguments, meta={"sentence": sentence})


def _outcomes(suite: str, result: Result, key: str) -> list[dict[str, Any]]:
    def failing(one: Any) -> list[dict[str, Any]]:
        return one.result.get("unexpected_index_list") or []

    return [
        {
            "suite": suite,
            "expectation": one.expectation_config.meta["sentence"],
            "success": bool(one.success),
            "examples": [_example(row, key) for row in failing(one)[:EXAMPLES]],
        }
        for one in result.results
    ]


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


def _index(records: pd.DataFrame, outcomes: Sequence[Mapping[str, Any]]) -> str:
    from jinja2 import Environment

    aside = records.loc[records["status"] != USED, ["source", "status", "reason"]]
    rows = aside.sort_values("status", ascending=False, kind="stable").to_numpy().tolist()
    totals = counts(records)
    totals |= {f"used {name}": count for name, count in totals.pop("per_class").items()}
    template = Environment(autoescape=True).from_string(INDEX)
    return template.render(counts=totals.items(), outcomes=outcomes, aside=rows, most=LISTED)


def _escaped(value: Any) -> Any:
    """`value` with all text in it, keys apart, safe to stand in HTML."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, Mapping):
        return {name: _escaped(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(inner) for inner in value]
    return value
