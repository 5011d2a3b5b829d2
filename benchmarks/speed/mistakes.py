"""How long seven mistakes take to be told, and in which words.

python -m benchmarks.speed.mistakes

Each is made in a clone of the project, in every way in which it can be made: `make repro` (what
runs in it before DVC) and `dvc repro` with an edited params.yaml, `make exp` (stages.experiment)
and `dvc exp run`, and the command itself. Seconds are those of processors (user and system), which
other programs do not lengthen; the last line that was said beside DVC's own stands with them.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.machine import ROOT, describe
from knee.run import command

MISTAKES: Final = {  # overrides of conf/, {folder} has one image and a sheet
    "data.path missing": ["data=folder", "data.path=/nowhere"],
    "weights folder wrong": ["data=folder", "data.path={folder}", "weights=/nowhere"],
    "unknown key": ["train.epoch=3"],
    "wrong type": ["train.epochs=many"],
    "sheet without path": ["data=folder", "data.path={folder}", "data.sheet={folder}/s.csv"],
}


def main() -> int:
    """Measure, print, write; 1 if one of our own ways takes longer than `--limit`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    out = ROOT / "benchmarks" / "results" / "mistakes.json"
    parser.add_argument("--out", type=Path, default=out, help="file to write")
    parser.add_argument("--limit", type=float, default=3.0, help="seconds of processors")
    chosen = parser.parse_args()
    facts: dict[str, Any] = {"machine": describe()}
    taken = socket.create_server(("127.0.0.1", 0))
    with tempfile.TemporaryDirectory() as temporary, taken:
        clone = _clone(Path(temporary))
        facts["mistakes"] = [
            {"mistake": mistake, "way": way, **_told(words, clone)}
            for mistake, way, words in _cases(clone, str(taken.getsockname()[1]))
        ]
    for row in facts["mistakes"]:
        print(f"{row['mistake']:28} {row['way']:12} {row['seconds']:5.1f} s  {row['said'][:120]}")
    chosen.out.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    own = [row for row in facts["mistakes"] if not row["way"].startswith("dvc ")]
    return 1 if any(row["seconds"] > chosen.limit or not row["status"] for row in own) else 0


def _clone(folder: Path) -> Path:
    """A clone of what is committed, in which nothing has run."""
    clone = folder / "project"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    (clone / ".dvc" / "config.local").write_text(
        f"[core]\n    site_cache_dir = {clone}/.dvc/tmp/site_cache\n", encoding="utf-8"
    )
    prepare = [sys.executable, "-m", "knee.tracking", "prepare"]
    subprocess.run(prepare, cwd=clone, check=True, capture_output=True)
    (clone / "films" / "a").mkdir(parents=True)
    (clone / "films" / "a" / "1.png").touch()
    (clone / "films" / "s.csv").write_text("file,label\na/1.png,a\n", encoding="utf-8")
    return clone


def _cases(clone: Path, port: str) -> Iterator[tuple[str, str, list[str]]]:
    dvc = ["-m", "dvc"]
    for mistake, overrides in MISTAKES.items():
        given = [text.format(folder=clone / "films") for text in overrides]
        flags = [word for text in given for word in ("-S", text)]
        _edit(clone, given)
        yield mistake, "make repro", ["-m", "stages.repro"]
        yield mistake, "dvc repro", [*dvc, "repro"]
        subprocess.run(["git", "checkout", "-q", "params.yaml"], cwd=clone, check=True)
        yield mistake, "make exp", ["-m", "stages.experiment", *flags]
        yield mistake, "dvc exp run", [*dvc, "exp", "run", *flags]
        subprocess.run(["git", "checkout", "-q", "params.yaml"], cwd=clone, check=True)
    yield "port taken", "make serve", ["-m", "stages.serve", "--port", port]
    yield "port taken", "make demo", ["-m", "stages.demo", "--port", port]
    named = ["films", "--model", "models:/knee-bone-health-sample/9999"]
    yield "no such version", "predict", ["-m", "stages.predict", *named]
    yield "no such version", "promote", ["-m", "stages.promote", "9999", "--reason", "x"]


def _edit(clone: Path, overrides: Sequence[str]) -> None:
    """Write overrides into params.yaml as somebody would who edits it."""
    params = clone / "params.yaml"
    values = yaml.safe_load(params.read_text(encoding="utf-8"))
    if "data=folder" in overrides:
        folder = (clone / "conf" / "data" / "folder.yaml").read_text(encoding="utf-8")
        values["data"] = yaml.safe_load(folder)["data"]
    for key, value in (text.split("=", 1) for text in overrides if text != "data=folder"):
        *section, name = key.split(".")
        (values[section[0]] if section else values)[name] = yaml.safe_load(value)
    params.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def _told(words: Sequence[str], folder: Path) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = [line for line in done.stderr.splitlines() if line and not line.startswith("Having any")]
    ours = [line for line in said if not line.startswith("ERROR: failed to reproduce")]
    last = (ours or said)[-1].replace(str(folder), "PROJECT")
    return {"status": done.returncode, "seconds": round(seconds, 2), "said": last}


if __name__ == "__main__":
    raise SystemExit(main())
