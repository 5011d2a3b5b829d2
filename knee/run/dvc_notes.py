"""The notes of dvc about its work, and the repair of what a kill or a power cut left of them.

python -m knee.run.dvc_notes

makes dvc work again where it was killed while it wrote .dvc/tmp/rwlock or dvc.lock. It writes both
in place, and refuses everything as long as one of them cannot be read. Objects of its cache that a
power cut left empty are removed: dvc would restore them as they are. `make repro` runs this first.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from knee.run import git_notes, locks, parameters
from knee.run.messages import listed

log = logging.getLogger(__name__)

LOCK_FILES: Final = ("lock", "stages/*.lock")  # of dvc, and of a stage at work
PLACES: Final = ("", "exps/tmp*/.dvc/tmp", "exps/standalone/tmp*/.dvc/tmp")  # of experiments
OBJECT: Final = re.compile(r"[0-9a-f]{30}(\.dir)?")
READINGS: Final = 20  # of a list that cannot be read
PAUSE_SECONDS: Final = 0.05  # between two of them
EMPTY_MD5: Final = "d41d8cd98f00b204e9800998ecf8427e"  # of a file that is meant to be empty


def starter(project: Path, output: Path) -> int | None:
    """Return the number of the dvc process that makes `output`; None where dvc has noted none.

    The list is read again where another dvc is just writing it, in place.
    """
    for _ in range(READINGS):
        try:
            return int(_read(project / ".dvc" / "tmp")["write"][str(output)]["pid"])
        except (OSError, KeyError, TypeError):
            return None
        except ValueError:
            time.sleep(PAUSE_SECONDS)
    return None


def at_work(private: Path, places: Sequence[str] = PLACES) -> Iterator[tuple[int, Path]]:
    """Yield who works on the project now, 0 if not known, and the file that says so.

    `private` is dvc's folder .dvc/tmp. While a stage runs dvc holds no lock, but its list names it.
    """
    for place, name in itertools.product(places, LOCK_FILES):
        for file in private.glob(str(Path(place) / name)):
            if (number := locks.holder(file)) is not None:
                yield number, file
    for number in _listed(private):
        if _is_dvc(number):
            yield number, private / "rwlock"


def mend(project: Path) -> list[str]:
    """Remove what dvc cannot read; return what was removed, in words.

    Without dvc.lock dvc takes what has been computed from its cache of runs: nothing runs twice.

    Raises:
        locks.BusyError: another dvc is at work and may be writing just now, or is stopped.
    """
    private = project / ".dvc" / "tmp"
    if not (project / ".dvc").is_dir():
        return []
    for number, file in at_work(private, PLACES[:1]):
        if locks.is_stopped(number):  # dvc would say no more than "busy"
            raise locks.BusyError(f"the project {locks.in_use(number)} ({file})")
    mended: list[str] = []
    # dvc's own locks: rwlock.lock while it writes its list, lock while it writes dvc.lock.
    with locks.held(private / "rwlock.lock", "dvc's list of writers", keep=True):
        if not is_list(private / "rwlock"):
            (private / "rwlock").unlink()
            mended.append(".dvc/tmp/rwlock was half-written: removed")
    if not is_lock_file(project / "dvc.lock"):
        with locks.held(private / "lock", "the project", keep=True):
            if not is_lock_file(project / "dvc.lock"):  # it is not just being written
                _set_aside(project / "dvc.lock", private)
                mended.append("dvc.lock was half-written: moved to .dvc/tmp/dvc.lock.damaged")
    if empty := empty_objects(project / ".dvc" / "cache"):
        for file in empty:
            file.unlink()
        names = listed([file.relative_to(project) for file in empty])
        mended.append(f"empty after a power cut, removed from dvc's cache: {names}")
    return mended


def in_git(project: Path) -> list[str]:
    """Return in words what killed programs left in git that costs edits; nothing is changed."""
    at_rest = next(at_work(project / ".dvc" / "tmp"), None) is None
    left = git_notes.killed_experiment(project) if at_rest else ""
    return [said for said in (git_notes.index_lock(project), left) if said]


def empty_objects(cache: Path) -> list[Path]:
    """Return objects of no bytes in dvc's cache that are named as others; no file is read."""
    return [
        file
        for file in cache.glob("files/md5/[0-9a-f][0-9a-f]/*")
        if OBJECT.fullmatch(file.name)
        and file.parent.name + file.name != EMPTY_MD5
        and file.stat().st_size == 0
    ]


def is_lock_file(path: Path) -> bool:
    """Whether dvc can read `path`, a dvc.lock; one that is missing is no obstacle."""
    if not path.exists():
        return True
    from dvc.exceptions import DvcException
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import load_yaml
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(load_yaml(str(path)))
    except (DvcException, Invalid, UnicodeDecodeError):
        return False
    return True


def registered_model(params: Path) -> str:
    """Return the name of the registered model of the project that `params` lies in.

    It is that of the last run that ended with `register`, by dvc.lock: params.yaml may be of a run
    that failed. Before the first one it is that of `params`.

    Raises:
        ParamsError: there is no such run, and `params` cannot be used.
    """
    try:
        lock = yaml.safe_load((params.parent / "dvc.lock").read_text(encoding="utf-8"))
        name = str(lock["stages"]["register"]["params"]["params.yaml"]["register"]["model_name"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return parameters.load(params).register.model_name
    with contextlib.suppress(parameters.ParamsError):
        if (asked := parameters.load(params).register.model_name) != name:
            said = "%s is for %s, which no finished run has registered: %s is used"
            log.warning(said, params, asked, name)
    return name


def is_list(path: Path) -> bool:
    """Whether dvc can read `path`, its list of writers; one that is missing is no obstacle."""
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return True
    except ValueError:
        return False


def _set_aside(lock_file: Path, private: Path) -> None:
    """Move a damaged dvc.lock away, unless a dvc is at work that will write it again."""
    for number, file in at_work(private, PLACES[:1]):
        if number != os.getpid():
            raise locks.BusyError(f"dvc.lock is half-written and {locks.in_use(number)} ({file})")
    lock_file.replace(private / "dvc.lock.damaged")


def _read(private: Path) -> Any:
    return json.loads((private / "rwlock").read_text(encoding="utf-8"))


def _listed(private: Path) -> set[int]:
    """The processes of dvc's list of readers and writers; none where it cannot be read."""
    try:
        notes = _read(private)
        writers = list(notes.get("write", {}).values())
        readers = itertools.chain.from_iterable(notes.get("read", {}).values())
        return {int(entry["pid"]) for entry in [*writers, *readers] if entry}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _is_dvc(number: int) -> bool:
    """Whether the process `number` lives and is dvc: the system uses numbers again."""
    with contextlib.suppress(psutil.Error):
        return any("dvc" in Path(word).name for word in psutil.Process(number).cmdline())
    return False


def put_in_order(project: Path) -> list[str]:
    """Mend `project`; return in words what was mended, and what was left in git.

    Raises:
        locks.BusyError: as `mend`.
    """
    return [*in_git(project), *mend(project)]


def main() -> int:
    """Mend the project of the working directory."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for said in put_in_order(Path.cwd()):
            log.warning("%s", said)
    except (locks.BusyError, OSError) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
