"""Whether a change of the code changed a figure: two commits, one machine, file by file.

python -m benchmarks.evidence.same_figures COMMIT [COMMIT] [--keep FOLDER]
    [--experiment few_pictures --data FOLDER --weights FOLDER]
python -m benchmarks.evidence.same_figures FOLDER FOLDER

Each COMMIT is cloned and its pipeline run from nothing (the second is HEAD where it is not given);
a FOLDER is a project that has run already. Compared are all files below metrics/, and data/*.csv
and data/*.npy: bytes, but for JSON keys that name a run or a model, and the words of HTML pages,
of which the numbers are compared. The exit status is 1 where a file differs.
"""

from __future__ import annotations

import argparse
import collections
import html
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from knee.run import command

ROOT = Path(__file__).parents[2]
PATTERNS = ("metrics/**/*", "data/*.csv", "data/*.npy")
NAMES_OF_RUNS = {
    "execution",
    "model_sha256",
    "record_sha256",
    "run_id",
}  # as JSON keys: other ones each time
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def main() -> int:
    """Compare, and print a line for each file that differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("before", help="commit, or folder of a finished project")
    parser.add_argument("after", nargs="?", default="HEAD", help="likewise")
    parser.add_argument("--experiment", help="a file of conf/experiment, run on --data")
    parser.add_argument("--data", type=Path, help="folder of class folders, of --experiment")
    parser.add_argument("--weights", type=Path, help="folder with <backbone>.h5, of --experiment")
    parser.add_argument("--keep", type=Path, help="folder for the clones; else temporary")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.keep or Path(temporary)).resolve()
        before, after = (
            Path(given) if Path(given).is_dir() else _built(given, folder / name, chosen)
            for given, name in ((chosen.before, "before"), (chosen.after, "after"))
        )
        found = differences(before, after)
        count = len(_files(after))
    for line in found:
        print(line)
    print(f"{count} files compared, {len(found)} differ")
    return 1 if found else 0


def differences(before: Path, after: Path) -> list[str]:
    """A line for each file that is in one folder alone, or differs."""
    old, new = _files(before), _files(after)
    lines = [f"{name}: only before" for name in sorted(set(old) - set(new))]
    lines += [f"{name}: only after" for name in sorted(set(new) - set(old))]
    for name in sorted(set(old) & set(new)):
        if _content(old[name]) != _content(new[name]):
            lines.append(f"{name}: differs")
    return lines


def _files(folder: Path) -> dict[str, Path]:
    found = (path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file())
    return {str(path.relative_to(folder)): path for path in found if not path.name.startswith(".")}


def _content(path: Path) -> Any:
    """What has to be equal of a file."""
    content = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(_without_names(json.loads(content)))
    if path.suffix == ".html":
        text = re.sub(r"<style.*?</style>|<[^>]*>", " ", content.decode(), flags=re.DOTALL)
        return collections.Counter(NUMBER.findall(html.unescape(text)))
    return content


def _without_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_names(one) for key, one in value.items() if key not in NAMES_OF_RUNS}
    return [_without_names(one) for one in value] if isinstance(value, list) else value


def _built(commit: str, folder: Path, chosen: argparse.Namespace) -> Path:
    """A clone of the project at `commit`, its pipeline run with the packages of this process."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", commit], cwd=folder, check=True)
    command = ["dvc", "repro"]
    if chosen.experiment:
        command = ["dvc", "exp", "run", "-S", "data=osteoporosis"]
        command += ["-S", f"data.path={chosen.data.resolve()}"]
        command += ["-S", f"weights={chosen.weights.resolve()}"]
        command += ["-S", f"experiment={chosen.experiment}"]
    subprocess.run(command, cwd=folder, check=True)
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
