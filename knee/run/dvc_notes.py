"""The notes of dvc about its work, and the repair of those that a kill left half-written.

python -m knee.run.dvc_notes

makes dvc work again where it was killed while it wrote .dvc/tmp/rwlock or dvc.lock. It writes both
in place, and refuses everything as long as one of them cannot be read. `make repro` runs this
first.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from knee.run import locks

log = logging.getLogger(__name__)


def starter(project: Path, output: Path) -> int | None:
    """Return the number of the dvc process that makes `output`; None where dvc has noted none."""
    try:
        notes = (project / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8")
        return int(json.loads(notes)["write"][str(output)]["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def mend(project: Path) -> list[str]:
    """Remove what dvc cannot read; return what was removed, in words.

    Without dvc.lock dvc takes what has been computed from its cache of runs: nothing runs twice.

    Raises:
        locks.BusyError: another dvc is at work, and may be writing just now.
    """
    mended: list[str] = []
    if not (project / ".dvc").is_dir():
        return mended
    private = project / ".dvc" / "tmp"
    # dvc's own locks: rwlock.lock while it writes its list, lock while it writes dvc.lock.
    with locks.held(private / "rwlock.lock", "dvc's list of writers", keep=True):
        if not _is_json(private / "rwlock"):
            (private / "rwlock").unlink()
            mended.append(".dvc/tmp/rwlock was half-written: removed")
    if not _is_lock_file(project / "dvc.lock"):
        with locks.held(private / "lock", "the project", keep=True):
            if not _is_lock_file(project / "dvc.lock"):  # it is not just being written
                (project / "dvc.lock").replace(private / "dvc.lock.damaged")
                mended.append("dvc.lock was half-written: moved to .dvc/tmp/dvc.lock.damaged")
    return mended


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return True
    except ValueError:
        return False


def _is_lock_file(path: Path) -> bool:
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


def main() -> int:
    """Mend the project of the working directory."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for said in mend(Path.cwd()):
            log.warning("%s", said)
    except locks.BusyError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
