"""The download of a Kaggle data set: a folder of its files, and a record of what they are.

The version is part of the name, so that a later download gives the same files.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from knee.run.errors import UserError
from knee.run.messages import escaped
from knee.storage.artifacts import staged_folder, write_json
from knee.storage.provenance import fingerprint

INSTALL: Final = ".venv/bin/python -m pip install 'kagglehub>=0.3.13,<2'"
HANDLE: Final = re.compile(r"\w[\w.-]*/\w[\w.-]*(/versions/[1-9]\d*)?", re.ASCII)


class DownloadError(UserError):
    """The data set is not there; the message says why and what to do."""


def download(handle: str, files_out: Path, record_out: Path) -> int:
    """Download a data set to `files_out` and return the number of its files.

    `record_out` becomes JSON: the handle, and path, size in bytes and SHA-256 of every file.

    Raises:
        DownloadError: no version in `handle`, no kagglehub, no network, no such data set, or one
            that holds no file, or one that DVC cannot keep.
    """
    if not HANDLE.fullmatch(handle):
        raise DownloadError(
            f"data.dataset is {handle!r}: name the data set as owner/name/versions/NUMBER, as its "
            "page on Kaggle does"
        )
    cached = _fetched(handle)
    if "/versions/" not in handle:
        # kagglehub's folder ends with versions/NUMBER.
        newest = cached.name if cached.parent.name == "versions" else "NUMBER"
        raise DownloadError(
            f"data.dataset {handle} has no version, and would change by itself: "
            f"set it to {handle}/versions/{newest}, which is the newest"
        )
    names = sorted(_regular_files(cached), key=os.fsencode)
    if not names:
        raise DownloadError(f"data.dataset {handle} holds no file: check {cached}")
    with staged_folder(files_out) as staged:
        files = [_copied(cached / name, staged / name, name) for name in names]
    write_json(record_out, {"dataset": handle, "files": files})
    return len(files)


def _fetched(handle: str) -> Path:
    """The folder where kagglehub keeps the data set; downloaded if it is not there yet."""
    try:
        import kagglehub  # an extra: most users bring their own images
    except ImportError as error:
        raise DownloadError(f"kagglehub is not installed: run {INSTALL}") from error
    try:
        return Path(kagglehub.dataset_download(handle))
    except Exception as error:  # of requests, of kagglehub, of the file system
        raise DownloadError(_message(handle, error)) from error


def _message(handle: str, error: Exception) -> str:
    """The message, without the exception's text, which may hold an address or a token."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    kind = type(error).__name__
    if status in (401, 403) or "Unauthenticated" in kind or "Credential" in kind:
        return (
            f"Kaggle refuses {handle} ({status or kind}): log in as kagglehub's manual says, and "
            "accept the data set's terms on its page"
        )
    if status == 404:
        return f"Kaggle has no {handle} (status 404): check data.dataset, owner, name and version"
    if status is not None:
        return f"Kaggle answered {handle} with status {status}: try again later"
    if "Connection" in kind or "Timeout" in kind or "SSL" in kind or "Proxy" in kind:
        return (
            f"Kaggle cannot be reached for {handle} ({kind}): check the network, or download the "
            "data set by hand and use data=folder with data.path"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{handle} cannot be stored: {error.strerror}"
    return f"kagglehub could not download {handle} ({kind}): check data.dataset, or try again"


def _regular_files(folder: Path) -> Iterator[str]:
    """Names of files below `folder`; `DownloadError` for a link, and for what DVC cannot keep."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise DownloadError(f"{str(path)!r} is a link: the data set is not used")
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            if path.name == ".dvcignore" or escaped(name) != name:
                raise DownloadError(
                    f"DVC cannot keep the file {escaped(name)!r} of the data set: download it by "
                    "hand, rename the file, and use data=folder with data.path"
                )
            yield name


def _copied(source: Path, target: Path, name: str) -> dict[str, Any]:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return {"path": name, "bytes": target.stat().st_size, "sha256": fingerprint(target)}
