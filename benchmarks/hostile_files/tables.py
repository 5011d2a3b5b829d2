"""The results of a run as Markdown, part by part; docs/operations.md has the sums.

python -m benchmarks.hostile_files.tables [FILE.json]
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "hostile.json"
SHOWN_FAILURES = 3
STATUSES = ("used", "classified", "quarantined", "rejected", "failed")


def shown(part: str, result: Mapping[str, Any]) -> str:
    """One part: a heading, its tables, its cost, its failures."""
    lines = [f"## {part}", ""]
    if part == "corpora":
        lines += _by_corpus(result["by_corpus"])
    elif part == "largest":
        head = ("image of 64 megapixels", "status", "seconds", "MB", "MB of the decoding process")
        names = ("status", "seconds", "megabytes", "decoder_megabytes")
        lines += _table(head, [(k, *(v[n] for n in names)) for k, v in result["kinds"].items()])
    elif part == "fuzz":
        lines += _table(("target", "examples"), list(result["examples"].items()))
    else:
        counts = [(name, result[name]) for name in STATUSES if name in result]
        lines += _table(("", "files"), [("all", result["files"]), *counts])
        lines += ["", *_table(("reason", "files"), list(grouped(result["reasons"]).items()))]
    costs = {k: v for k, v in result.items() if k.startswith(("largest_", "peak_"))}
    told = ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in costs.items())
    machine = result["machine"]
    load = machine.get("load_before", ["unknown"])[0]
    cost = f"{result['seconds']:g} s{', ' + told if told else ''}"
    lines += ["", f"{cost}; {machine['processor']}, {machine['cores']} cores, load before: {load}."]
    if "code" in result:
        lines += ["", f"Code: {result['code']}."]
    failures = result["failures"]
    lines += ["", f"{len(failures)} failures." if failures else "No failure."]
    lines += [f"- {json.dumps(failure)}" for failure in failures[:SHOWN_FAILURES]]
    return "\n".join(lines)


def grouped(reasons: Mapping[str, int]) -> dict[str, int]:
    """Reasons that differ in a number or in the name of an error or a transfer syntax, as one."""
    found: Counter[str] = Counter()
    for reason, count in reasons.items():
        text = re.sub(r"\((\w+: )?[\w.]*(Error|Exception)\)", "(name of the error)", reason)
        found[re.sub(r"syntax \w+ is", "syntax NAME is", text)] += count
    return dict(found.most_common())


def _by_corpus(corpora: Mapping[str, Any]) -> list[str]:
    """Statuses and reasons down, corpora across."""
    names = list(corpora)
    told = {name: grouped(corpora[name]["reasons"]) for name in names}
    reasons = sum((Counter(each) for each in told.values()), Counter())
    rows: list[Sequence[Any]] = [
        (status, *(corpora[name].get(status, 0) for name in names))
        for status in ("files", *STATUSES)
        if any(status in corpus for corpus in corpora.values())
    ]
    rows += [
        (f"rejected: {reason}", *(told[name].get(reason, 0) for name in names))
        for reason, _ in reasons.most_common()
    ]
    return _table(("", *names), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return [*lines, *(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows)]


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "/")


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    parts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    print("\n\n".join(shown(part, result) for part, result in parts.items()))
