"""A store that did not answer is not asked again for a while, by this stage or those after it.

Each stage is a process of its own: a file tells the next ones of the same dvc. The next dvc asks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from knee.storage import artifacts

STAGE_SECONDS = 60.0  # within one stage
RUN_SECONDS = 600.0  # for the other stages of the same dvc

_since: dict[str, float] = {}


def is_silent(uri: str, notes: Path, *, ask_anew: bool) -> bool:
    """Whether `uri` is not to be asked now.

    Args:
        uri: of the store.
        notes: file of what other stages have found.
        ask_anew: whatever they have found.
    """
    if time.monotonic() - _since.get(uri, float("-inf")) < STAGE_SECONDS:
        return True
    if ask_anew:
        return False
    found = _read(notes)
    age = time.time() - found.get("time", 0.0)
    return bool(found.get("who") == _who(uri) and 0 <= age < RUN_SECONDS)


def remember(uri: str, notes: Path) -> None:
    """It did not answer just now."""
    _since[uri] = time.monotonic()
    if "DVC_STAGE" in os.environ:
        with contextlib.suppress(OSError):  # on a full disk the next stage asks by itself
            artifacts.write_json(notes, {"who": _who(uri), "time": time.time()})


def forget(uri: str, notes: Path) -> None:
    """It answers."""
    _since.pop(uri, None)
    with contextlib.suppress(OSError):
        notes.unlink(missing_ok=True)


def _who(uri: str) -> str:
    """This dvc and this store; an address may hold a password, and is not written down."""
    return f"{os.getppid()} {hashlib.sha256(uri.encode()).hexdigest()}"


def _read(notes: Path) -> dict[str, Any]:
    try:
        values = json.loads(notes.read_text(encoding="utf-8"))
        return {"who": str(values["who"]), "time": float(values["time"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
