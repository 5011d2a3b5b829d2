"""Hostile files as requests to the served champion: an answer or 4xx, never 5xx, never NaN."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from benchmarks.hostile_files.bases import bases
from benchmarks.hostile_files.mutations import mutated
from benchmarks.hostile_files.readers import kind
from benchmarks.speed.serve_load import Client, not_finite, resident, served

MUTATED_FILES: Final = 1000
LONGEST_MESSAGE: Final = 400  # characters: an answer that quotes its request would be longer


def serve(corpora: Path, model: str = "") -> dict[str, Any]:
    """Each file of the corpora and some mutated ones, one a request.

    Args:
        corpora: folder of the files.
        model: models:/NAME@ALIAS or a folder; "": the champion of params.yaml's registered model.
    """
    files = sorted(path for path in corpora.rglob("*") if path.is_file())
    known, failures = bases(corpora), list[dict[str, Any]]()
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with served(model) as (port, server):
        client, at_start = Client(port), resident(server)
        for number in tqdm(range(len(files) + MUTATED_FILES), "serve", unit="file", disable=None):
            seed = number - len(files)
            content = files[number].read_bytes() if seed < 0 else mutated(seed, known).content
            name = str(files[number].relative_to(corpora)) if seed < 0 else f"seed {seed}"
            try:
                status, answer, _ = client.ask(_body(content))
            except OSError as error:
                failures.append({"file": name, "what": f"no answer: {error}"})
                client = Client(port)
                continue
            statuses[str(status)] += 1
            wrong, reason = _judged(status, answer)
            failures += [{"file": name, "what": wrong}] if wrong else []
            reasons.update([reason] if reason else [])
        megabytes = resident(server)
    return {
        "files": sum(statuses.values()),
        "classified": statuses["200"],
        "rejected": sum(count for status, count in statuses.items() if status.startswith("4")),
        "statuses": dict(statuses.most_common()),
        "reasons": dict(reasons.most_common()),
        "megabytes_at_start": round(at_start),
        "megabytes_at_end": round(megabytes),
        "failures": failures,
    }


def _body(content: bytes) -> bytes:
    text = base64.b64encode(content).decode("ascii")
    return json.dumps({"dataframe_records": [{"image": text}]}).encode()


def _judged(status: int, answer: bytes) -> tuple[str, str]:
    """What is wrong with an answer, "" for nothing; and the reason that a refusal gives."""
    if status == 200:
        return ("NaN in an answer" if not_finite(answer) else ""), ""
    if not 400 <= status < 500:
        return f"status {status}", ""
    message = _message(answer)
    return ("a long message" if len(message) > LONGEST_MESSAGE else ""), kind(message)


def _message(answer: bytes) -> str:
    try:
        found = json.loads(answer)
    except ValueError:
        return answer.decode("utf-8", "replace")
    return str(found.get("message", found) if isinstance(found, dict) else found)
