"""What a records table has to fulfil, as Great Expectations suites, with their report for people.

Great Expectations is imported where it is used: it takes seconds. It asks no server: its analytics
are switched off, and the report's pages refer to nothing outside themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from stages.radiographs.records import COLUMNS, QUARANTINED, REJECTED, USED

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult as Result
    from great_expectations.expectations import Expectation

EXAMPLES: Final = 5  # sources named for a failed expectation
SHA256: Final = r"^[0-9a-f]{64}$"
EXTERNAL: Final = re.compile(
    r"<script[^>]*\ssrc=[\"']http[^>]*>.*?</script>|<link[^>]*\shref=[\"']http[^>]*>"
    r"|<img[^>]*\ssrc=[\"']http[^>]*>",
    re.DOTALL,
)
STYLE: Final = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
table { border-collapse: collapse; margin: .6rem 0; width: 100% }
td, th { border: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top }
nav, .navbar, .modal, footer, button, #ge-cta-footer { display: none !important }
.text-success, .fa-check-circle { color: #0072B2 } .text-danger, .fa-times { color: #D55E00 }
ol.breadcrumb { list-style: none; padding: 0 } .badge { font-weight: bold }
</style></head>"""


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
        One entry an expectation: expectation (a sentence), success, examples (of what fails).
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read when the package is imported
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("radiographs")
    outcomes, pages = [], {}
    for name, (frame, key, expectations) in _suites(records, limits).items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=list(expectations)))
        definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [key]},
        )
        pages[name] = result
        outcomes += _outcomes(result, key)
    if docs is not None:
        _write_docs(pages, docs)
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
) -> dict[str, tuple[pd.DataFrame, str, Iterable[Expectation]]]:
    films = records[records["status"] != REJECTED]
    used = films[films["status"] == USED]
    classes = (
        used.groupby("label").size().reindex(sorted(set(films["label"])), fill_value=0)
    ).reset_index(name="images")
    total = max(len(records), 1)
    shares = pd.DataFrame(
        {
            "data": ["all files"],
            "rejected_share": [(records["status"] == REJECTED).sum() / total],
            "quarantined_share": [(records["status"] == QUARANTINED).sum() / total],
        }
    )
    return {
        "records": (records, "source", _of_records()),
        "films": (films, "source", _of_films()),
        "classes": (classes, "label", _of_classes(limits)),
        "shares": (shares, "data", _of_shares(limits)),
    }


def _of_records() -> Iterable[Expectation]:
    from great_expectations import expectations as gxe

    yield gxe.ExpectTableColumnsToMatchSet(
        column_set=list(COLUMNS), meta=_says("the table has the columns of the records schema")
    )
    yield gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=_says("there is at least one file"))
    for column in ("record", "source"):
        yield gxe.ExpectColumnValuesToBeUnique(
            column=column, meta=_says(f"each file has its own {column}")
        )
    yield gxe.ExpectColumnValuesToBeInSet(
        column="status",
        value_set=[USED, QUARANTINED, REJECTED],
        meta=_says("each file is used, quarantined or rejected"),
    )


def _of_films() -> Iterable[Expectation]:
    from great_expectations import expectations as gxe

    for column in ("sha256", "pixel_sha256", "perceptual_hash"):
        yield gxe.ExpectColumnValuesToMatchRegex(
            column=column, regex=SHA256, meta=_says(f"{column} is 64 hexadecimal digits")
        )
    yield gxe.ExpectColumnValueLengthsToBeBetween(
        column="label", min_value=1, meta=_says("each film has a label")
    )
    for column in ("class_index", "pixel_row", "picture", "group"):
        yield gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=0, meta=_says(f"each film has a {column}")
        )
    yield gxe.ExpectColumnValuesToBeUnique(
        column="pixel_row", meta=_says("each film has pixels of its own")
    )
    for column in ("width", "height", "bytes"):
        yield gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=1, meta=_says(f"{column} is positive")
        )


def _of_classes(limits: Thresholds) -> Iterable[Expectation]:
    from great_expectations import expectations as gxe

    yield gxe.ExpectTableRowCountToBeBetween(min_value=2, meta=_says("there are two classes"))
    least = limits.minimum_images_per_class
    yield gxe.ExpectColumnValuesToBeBetween(
        column="images", min_value=least, meta=_says(f"each class has at least {least} used films")
    )


def _of_shares(limits: Thresholds) -> Iterable[Expectation]:
    from great_expectations import expectations as gxe

    for status, most in (
        (REJECTED, limits.maximum_rejected_share),
        (QUARANTINED, limits.maximum_quarantined_share),
    ):
        yield gxe.ExpectColumnValuesToBeBetween(
            column=f"{status}_share",
            max_value=most,
            meta=_says(f"at most {most:.1%} of all files are {status}"),
        )


def _says(sentence: str) -> dict[str, str]:
    return {"sentence": sentence}


def _outcomes(result: Result, key: str) -> list[dict[str, Any]]:
    return [
        {
            "expectation": one.expectation_config.meta["sentence"],
            "success": bool(one.success),
            "examples": _examples(one.result, key),
        }
        for one in result.results
    ]


def _examples(result: Mapping[str, Any], key: str) -> list[str]:
    if "unexpected_index_list" in result:
        rows: Sequence[Mapping[str, Any]] = result["unexpected_index_list"] or []
        return [", ".join(f"{v}" for v in _key_first(row, key)) for row in rows[:EXAMPLES]]
    return []


def _key_first(row: Mapping[str, Any], key: str) -> list[Any]:
    others = [value for name, value in row.items() if name != key]
    return [row[key], *others]


def _write_docs(pages: Mapping[str, Result], docs: Path) -> None:
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    lines = []
    for name, result in pages.items():
        document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
        html = EXTERNAL.sub("", DefaultJinjaPageView().render(document))
        (docs / f"{name}.html").write_text(html.replace("</head>", STYLE, 1), encoding="utf-8")
        verdict = "passed" if result.success else "FAILED"
        held = sum(bool(one.success) for one in result.results)
        lines.append(
            f'<tr><td><a href="{name}.html">{name}</a></td><td>{verdict}</td>'
            f"<td>{held} of {len(result.results)}</td></tr>"
        )
    table = "".join(lines)
    (docs / "index.html").write_text(
        f"<!doctype html><html><head><title>Validation</title>{STYLE}<body>"
        f"<h1>Validation of the radiographs</h1><table><tr><th>suite</th><th>result</th>"
        f"<th>expectations met</th></tr>{table}</table></body></html>\n",
        encoding="utf-8",
    )
