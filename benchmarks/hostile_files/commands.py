"""Hostile files through the commands that users run: ingest, predict; and the fuzzed tests."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import pandas as pd

from benchmarks import machine
from benchmarks.hostile_files.bases import bases
from benchmarks.hostile_files.mutations import mutated
from benchmarks.hostile_files.pool import Bounds
from benchmarks.hostile_files.readers import kind
from knee.storage import artifacts

MUTATED_FILES: Final = 1000
LIMIT_SECONDS: Final = 900
FUZZED: Final = (
    "tests/intake/test_fuzzed_sheets.py",
    "tests/intake/test_fuzzed_archives.py",
)


def ingest(corpora: Path, temporary: Path, bounds: Bounds) -> dict[str, Any]:
    """`python -m stages.ingest` over a folder with a class a corpus, and one of mutated files."""
    films = _films(corpora, temporary)
    out = temporary / "ingested"
    out.mkdir(exist_ok=True)
    command = [
        *("stages.ingest", f"--params={_params(temporary, films)}", f"--images={films}"),
        f"--sheet={machine.ROOT / 'conf' / 'no_sheet.csv'}",
        f"--records-out={out / 'records.csv'}",
        f"--pixels-out={out / 'pixels'}",
        f"--known-results={out / 'known'}",
    ]
    code, output, cost = _run(command)
    failures = [] if code == 0 else [{"what": f"ingest ended with {code}: {output[-600:]}"}]
    rows = _rows(out / "records.csv")
    failures += _missing(films, films, [row["source"] for row in rows])
    failures += [
        {"file": row["source"], "what": "neither used nor a reason"}
        for row in rows
        if (row["status"] == "used") == bool(row["reason"])
    ]
    failures += _too_much(cost, bounds, output)
    return {**_table(rows, "status"), **vars(cost), "failures": failures}


def predict(corpora: Path, temporary: Path, bounds: Bounds, model: Path | None) -> dict[str, Any]:
    """`python -m stages.predict` over the same folder, and over one without any image."""
    films = _films(corpora, temporary)
    folder, name = (model, model.name) if model else (_tiny_model(temporary), "tiny, random")
    out = temporary / "predictions.csv"
    common = ("stages.predict", f"--model={folder.resolve()}")
    code, output, cost = _run([*common, str(films), f"--out={out}"])
    failures = [] if code == 0 else [{"what": f"predict ended with {code}: {output[-600:]}"}]
    rows = _rows(out)
    failures += _missing(films, films, [str(Path(row["path"]).relative_to(films)) for row in rows])
    failures += [{"file": row["path"], "what": "no valid row"} for row in rows if not _valid(row)]
    failures += _too_much(cost, bounds, output)
    broken = temporary / "broken"
    _fill_broken(broken)
    code, output, _ = _run([*common, str(broken)])
    if code != 1 or "Traceback" in output:
        failures.append({"what": f"without any usable file predict ended with {code}"})
    for row in rows:
        row["status"] = "rejected" if row["reason"] else "classified"
    return {"model": name, **_table(rows, "status"), **vars(cost), "failures": failures}


def fuzz(profile: str) -> dict[str, Any]:
    """The tests of sheets and archives with as many examples as the profile gives."""
    options = [f"--hypothesis-profile={profile}", "--hypothesis-show-statistics"]
    code, output, cost = _run(["pytest", "-q", *options, "-p", "no:cacheprovider", *FUZZED], 7200)
    targets: dict[str, int] = {}
    name = ""
    for line in output.splitlines():
        if match := re.match(r"tests/\S+::(\S+):$", line):
            name = match[1]
        elif match := re.search(r"- (\d+) passing, (\d+) failing", line):
            targets[name] = targets.get(name, 0) + int(match[1]) + int(match[2])
    failures = [] if code == 0 else [{"what": output[-4000:]}]
    if not targets:
        failures.append({"what": "no examples were counted"})
    return {"profile": profile, "examples": targets, **vars(cost), "failures": failures}


def _films(corpora: Path, temporary: Path) -> Path:
    """A class a corpus, and the class mutated."""
    films = temporary / "films"
    if not films.exists():
        shutil.copytree(corpora, films)
        (films / "mutated").mkdir()
        known = bases(corpora)
        for seed in range(MUTATED_FILES):
            (films / "mutated" / f"{seed:05}").write_bytes(mutated(seed, known).content)
    return films


def _fill_broken(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in {"a.png": b"\x89PNG", "b.dcm": bytes(128) + b"DICM", "c": b""}.items():
        (folder / name).write_bytes(content)


def _params(temporary: Path, films: Path) -> Path:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    given = ["data=folder", f"data.path={films}"]
    with initialize_config_dir(str(machine.ROOT / "conf"), version_base=None):
        text = OmegaConf.to_yaml(compose("config", overrides=given), resolve=True)
    path = temporary / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _tiny_model(temporary: Path) -> Path:
    """In a process of its own: TensorFlow's memory is not the harness'."""
    folder = temporary / "model"
    code = (
        "import pathlib, sys; from tests.stages import test_predict; "
        "test_predict.write_model(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    subprocess.run(command, cwd=machine.ROOT, check=True, capture_output=True)
    return folder


def _run(
    arguments: Sequence[str], limit_seconds: float = LIMIT_SECONDS
) -> tuple[int, str, machine.Cost]:
    """Exit code, both outputs as one text, and the cost; 124 if it took too long."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=machine.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        watch = machine.Watch(process.pid)
        try:
            output, _ = process.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            return 124, output.decode("utf-8", "replace"), watch.cost(start)
    return process.returncode, output.decode("utf-8", "replace"), watch.cost(start)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        table = pd.DataFrame(csv.DictReader(stream))
    return cast(list[dict[str, str]], artifacts.with_all_texts(table).to_dict("records"))


def _missing(films: Path, root: Path, named: Sequence[str]) -> list[dict[str, Any]]:
    """Files without exactly one row."""
    there = Counter(str(p.relative_to(root)) for p in films.rglob("*") if not p.is_dir())
    told = Counter(named)
    return [
        {"file": name, "what": f"{told[name]} rows"} for name in there | told if told[name] != 1
    ] + [{"file": name, "what": "a row without a file"} for name in told if name not in there]


def _valid(row: dict[str, str]) -> bool:
    """Probabilities that sum to 1, or a reason and none."""
    shares = [float(v) for k, v in row.items() if k.startswith("probability_") and v]
    if row["reason"]:
        return not shares
    return bool(shares) and abs(sum(shares) - 1) < 1e-3 and min(shares) >= 0


def _too_much(cost: machine.Cost, bounds: Bounds, output: str) -> list[dict[str, Any]]:
    found = []
    if cost.peak_megabytes > 2 * bounds.megabytes:  # several files are read at once
        found.append({"what": f"memory of {cost.peak_megabytes:.0f} MB"})
    if "Traceback" in output:
        found.append({"what": f"a traceback: {output[-600:]}"})
    return found


def _table(rows: Sequence[dict[str, str]], status: str) -> dict[str, Any]:
    reasons = Counter(kind(row["reason"]) for row in rows if row["reason"])
    return {
        "files": len(rows),
        **Counter(row[status] for row in rows),
        "reasons": dict(reasons.most_common()),
    }
