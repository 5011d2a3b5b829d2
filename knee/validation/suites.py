"""Suites of Great Expectations over frames, run without a server, with pages for people.

What is expected of records and of a split is in `records_suite` and `split_suite`. Great
Expectations is imported where it is used: it takes seconds. Its analytics are switched off, and
the pages are the project's own: Great Expectations' load scripts and do not escape file names.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from knee.drawing.html import render
from knee.run.errors import UserError

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult as SuiteResult
    from great_expectations.core import ExpectationValidationResult as Result
    from great_expectations.expectations import Expectation

EXAMPLES: Final = 5  # rows named for a failed expectation in figures, messages and the index
HOME: Final = "../index.html"  # the page that leads to all others
LISTED: Final = 20  # rows named on the page of a suite


class ValidationError(UserError):
    """The data fail an expectation."""


@dataclass(frozen=True)
class Suite:
    """The expectations of one frame."""

    frame: pd.DataFrame  # the rows that are checked
    key: str  # the column that names a row in examples
    expectations: Sequence[Expectation]  # made by `expect`
    asked: bool = True  # False: listed as not asked for, and not run


@dataclass(frozen=True)
class Table:
    """A table on the index page."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Index:
    """The title, lines of text and tables of the index page, besides the outcomes."""

    title: str
    lines: Sequence[str]
    tables: Sequence[Table] = field(default=())


def expect(kind: str, sentence: str, **arguments: Any) -> Expectation:
    """Return Great Expectations' `Expect<kind>`, which reports call by `sentence`."""
    expectations = _great_expectations().expectations
    expectation: Expectation = getattr(expectations, f"Expect{kind}")
    return expectation(**arguments, meta={"sentence": sentence})


def unique(sentence: str, column: str) -> Expectation:
    """Expect no value of `column` twice."""
    return expect("ColumnValuesToBeUnique", sentence, column=column)


def between(
    sentence: str, column: str, least: float | None = None, most: float | None = None
) -> Expectation:
    """Expect each known value of `column` from `least` to `most`; None: no end."""
    kind = "ColumnValuesToBeBetween"
    return expect(kind, sentence, column=column, min_value=least, max_value=most)


def one_of(sentence: str, column: str, values: Sequence[Any]) -> Expectation:
    """Expect each known value of `column` among `values`."""
    return expect("ColumnValuesToBeInSet", sentence, column=column, value_set=[*values])


def run(suites: Mapping[str, Suite], docs: Path | None, index: Index) -> list[dict[str, Any]]:
    """Run all suites; write index.html and a page for each into the folder `docs`, if given.

    Returns:
        One entry an expectation: suite, expectation (a sentence), asked, success, examples (what
        fails). One that was not asked for counts as a success.
    """
    version, validate = _engine()
    outcomes: list[dict[str, Any]] = []
    for name, suite in suites.items():
        if not suite.asked:
            sentences = [expectation.meta["sentence"] for expectation in suite.expectations]
            left_out = {"suite": name, "asked": False, "success": True, "examples": []}
            outcomes += [left_out | {"expectation": sentence} for sentence in sentences]
            continue
        details = [_details(name, suite.key, result) for result in validate(name, suite).results]
        outcomes += [{**one, "examples": one["examples"][:EXAMPLES]} for one in details]
        if docs is not None:
            page = render(
                "validation/suite.html.j2", home=HOME, suite=name, details=details, version=version
            )
            (docs / f"{name}.html").write_text(page, encoding="utf-8")
    if docs is not None:
        page = render("validation/index.html.j2", home=HOME, index=index, outcomes=outcomes)
        (docs / "index.html").write_text(page, encoding="utf-8")
    return outcomes


def summary(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of a metrics file: counts, and what failed or was not asked for."""
    failed = [one for one in outcomes if not one["success"]]
    keys = ("suite", "expectation", "examples")
    not_asked = [one["expectation"] for one in outcomes if not one["asked"]]
    return {
        "expectations": {"evaluated": len(outcomes) - len(not_asked), "failed": len(failed)},
        "failed": [{key: one[key] for key in keys} for one in failed],
        "not_asked": not_asked,
    }


def require_success(outcomes: Sequence[Mapping[str, Any]], remedy: str) -> None:
    """Stop where an expectation failed.

    Raises:
        ValidationError: what failed, with examples and `remedy`.
    """
    failed = [one for one in outcomes if not one["success"]]
    if not failed:
        return
    lines = [f"{len(failed)} expectations failed; nothing downstream is run:"]
    for one in failed:
        examples = "; ".join(ascii(example)[1:-1] for example in one["examples"])
        named = f" (for example {examples})" if examples else ""
        lines.append(f"  not true: {one['expectation']}{named}")
    raise ValidationError("\n".join([*lines, remedy]))


def _great_expectations() -> Any:
    """Import the package, which is not to call home, nor to log what it does."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations

    # It announces a temporary site that it never makes, at a level that the import sets.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    return great_expectations


def _engine() -> tuple[str, Callable[[str, Suite], SuiteResult]]:
    """Return Great Expectations' version, and what validates a suite in a context in memory."""
    gx = _great_expectations()
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("radiographs")

    def validate(name: str, suite: Suite) -> SuiteResult:
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        expectations = gx.ExpectationSuite(name=name, expectations=list(suite.expectations))
        definition = gx.ValidationDefinition(
            name=name, data=batch, suite=context.suites.add(expectations)
        )
        keys = [suite.key]
        return context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": suite.frame},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": keys},
        )

    return gx.__version__, validate


def _details(suite: str, key: str, one: Result) -> dict[str, Any]:
    """Return an outcome as of `run`, with more examples, and what else a suite's page says."""
    rule = one.expectation_config
    rows = one.result.get("unexpected_index_list") or []
    return {
        "suite": suite,
        "expectation": rule.meta["sentence"],
        "asked": True,
        "success": bool(one.success),
        "examples": [_example(row, key) for row in rows[:LISTED]],
        "observed": _observed(one),
        "rule": rule.type,
        "arguments": {n: _text(value) for n, value in rule.kwargs.items() if n != "batch_id"},
    }


def _observed(one: Result) -> str:
    """Return a value of the whole table, or how many rows fail, or why it could not be checked."""
    found = one.result
    if "observed_value" in found:
        return _text(found["observed_value"])
    if "element_count" in found:
        return (
            f"{found['unexpected_count']} of {found['element_count']} rows unexpected, "
            f"{found['missing_count']} empty"
        )
    told = one.exception_info
    faults = [told] if "exception_message" in told else told.values()
    return "; ".join(sorted({str(fault["exception_message"]) for fault in faults}))


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple | set) else str(value)


def _example(row: Mapping[str, Any], key: str) -> str:
    """Return a file, class or share that fails, with the value it fails by."""
    others = {name: value for name, value in row.items() if name != key}
    texts = [f"{n} {round(v, 6) if isinstance(v, float) else v}" for n, v in others.items()]
    return f"{row[key]}: {', '.join(texts)}" if texts else str(row[key])
