"""dvc.lock, written quickly and whole while `make repro` runs.

After each stage dvc reads and writes all of dvc.lock in ruamel.yaml's round-trip mode, which keeps
comments and is pure Python: 0.6 s for this project's, while the next stage waits. It has no
comments, and ruamel.yaml's parser and emitter in C take 0.1 s.

With another version of dvc: `dvc.dvcfile.modify_yaml` still has to be what writes the file. The
tests compare the two.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from knee.run import dvc_notes, locks
from knee.storage import artifacts

PROJECT: Final = Path("dvc.lock")  # of the project in the working directory
log = logging.getLogger(__name__)


def write_quickly(lock_file: Path = PROJECT) -> None:
    """Replace the function of dvc that changes a YAML file, for `lock_file` and in this process.

    Long commands are broken into lines elsewhere than by dvc, until `rewrap` is called.
    """
    from dvc import dvcfile

    original, own = dvcfile.modify_yaml, lock_file.resolve()

    def modify(path: str, fs: Any = None) -> contextlib.AbstractContextManager[Any]:
        return _modified(own) if Path(path).resolve() == own else original(path, fs=fs)

    dvcfile.modify_yaml = modify


@contextlib.contextmanager
def _modified(lock_file: Path) -> Iterator[dict[str, Any]]:
    """The content of `lock_file`, to be changed; it is written at the end."""
    from dvc.utils.serialize import load_yaml
    from ruamel.yaml import YAML

    content = load_yaml(str(lock_file)) if lock_file.exists() else {}
    yield content
    emitter = YAML(typ="safe")
    emitter.default_flow_style = False
    emitter.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    emitter.representer.add_representer(OrderedDict, type(emitter.representer).represent_dict)
    text = io.StringIO()
    emitter.dump(content, text)
    artifacts.write_text(lock_file, text.getvalue())


def rewrap(lock_file: Path = PROJECT) -> None:
    """Break the lines of `lock_file` as dvc does, so that git shows what has changed alone.

    A file that cannot be read or written stays as it is, and so it does beside another dvc.
    """
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    own, private = lock_file.resolve(), lock_file.parent / ".dvc" / "tmp"
    if not own.exists():
        return
    try:
        with locks.held(private / "lock", "the project", grace_seconds=0, keep=True):
            if dvc_notes.is_lock_file(own):
                content = parse_yaml_for_update(own.read_text(encoding="utf-8"), str(own))
                artifacts.write_text(own, dumps_yaml(content))
    except locks.BusyError:
        return
    except OSError as error:
        log.warning("the lines of %s stay as they are: %s", lock_file, error)
