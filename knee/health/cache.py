"""Objects of DVC's cache: hashed again, since DVC trusts any whose mode is 0444."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from knee.health.project import Output, Project
from knee.health.result import Result, plural, size

CACHE, RECORDED = "cache objects", "objects of dvc.lock"
OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
READ_ONLY = 0o444  # as DVC leaves its objects


def objects(cache: Path) -> list[Path]:
    """Files of the cache that are named by their MD5: folders of two digits, names of thirty."""
    folders = sorted(path for path in cache.glob("[0-9a-f][0-9a-f]") if path.is_dir())
    return [
        file
        for folder in folders
        for file in sorted(folder.iterdir())
        if OBJECT.fullmatch(file.name) and file.is_file()
    ]


def place(cache: Path, md5: str) -> Path:
    """Where the object of an MD5 lies."""
    return cache / md5[:2] / md5[2:]


def files_of(output: Output, cache: Path) -> dict[Path, str] | None:
    """Files of an output in the workspace and their MD5; None if its list is missing or damaged."""
    if not output.is_folder:
        return {output.path: output.md5}
    try:
        entries = json.loads(place(cache, output.md5).read_text(encoding="utf-8"))
        return {output.path / entry["relpath"]: str(entry["md5"]) for entry in entries}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def listing(folder: Path) -> str:
    """The list of a folder's files as DVC writes it, from the files that are there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = [
        {"md5": md5 or "", "relpath": path.relative_to(folder).as_posix()}
        for path, md5 in md5_of_all(files, "hashing")
    ]
    return json.dumps(sorted(entries, key=lambda entry: entry["relpath"]))


def md5_of_text(content: str) -> str:
    """The name of the object of a folder with this list."""
    return hashlib.md5(content.encode(), usedforsecurity=False).hexdigest() + ".dir"


def check_cache(project: Project, outputs: Sequence[Output], *, mend: bool) -> Result:
    """Every object's MD5 against its name; with `mend`, damaged ones are taken out.

    One that a sound file of the workspace holds too is put back from there.
    """
    found = objects(project.cache)
    damaged = [
        path
        for path, md5 in md5_of_all(found, "hashing the cache")
        if f"{path.parent.name}{path.name}".removesuffix(".dir") != md5
    ]
    total = sum(path.stat().st_size for path in found)
    if not damaged:
        return Result(CACHE, "ok", f"{plural(len(found), 'object')}, {size(total)}, hashed again")
    names = tuple(project.shown(path) for path in damaged)
    saying = f"{plural(len(damaged), 'object')} of {len(found)} not what their names say"
    if not mend:
        remedy = "make doctor MEND=1 takes them out; then `dvc repro` makes them again"
        return Result(
            CACHE, "fault", f"{saying}: damaged on the disk, or not readable", remedy, names
        )
    copies = _copies(project, outputs)
    for path in damaged:
        path.unlink()
    restored = sum(_restore(path, copies) for path in damaged)
    rest = len(damaged) - restored
    again = f"; `dvc repro` or `dvc pull` brings {rest} back" if rest else ""
    return Result(
        CACHE,
        "mended",
        f"{saying}: taken out, {restored} put back from the workspace{again}",
        names=names,
    )


def check_recorded(project: Project, outputs: Sequence[Output], *, mend: bool) -> Result:
    """Objects that dvc.lock names and the cache lacks although the workspace has the output."""
    built = [output for output in outputs if output.path.exists()]
    absent = [output for output in outputs if not output.path.exists()]
    missing = {
        path: md5 for output in built for path, md5 in _missing(output, project.cache).items()
    }
    unbuilt = [output for output in absent if not _whole(output, project.cache)]
    if not missing:
        return Result(RECORDED, "ok", _built(outputs, unbuilt))
    names = tuple(f"{project.shown(path)} ({md5[:12]})" for path, md5 in missing.items())
    saying = f"{plural(len(missing), 'object')} missing, whose output the workspace has"
    if not mend:
        remedy = "make doctor MEND=1 copies them from the workspace where that is sound"
        return Result(RECORDED, "fault", saying, remedy, names)
    left = {
        path: md5 for path, md5 in missing.items() if not _restore_from(path, md5, project.cache)
    }
    if not left:
        return Result(RECORDED, "mended", f"{saying}: copied from there", names=names)
    names = tuple(f"{project.shown(path)} ({md5[:12]})" for path, md5 in left.items())
    copied = len(missing) - len(left)
    remedy = "`dvc pull` where there is a remote, else `dvc repro`, which makes them again"
    return Result(RECORDED, "fault", f"{saying}; {copied} copied from there", remedy, names)


def _built(outputs: Sequence[Output], unbuilt: Sequence[Output]) -> str:
    if len(unbuilt) == len(outputs):
        return "nothing is built yet: `make repro` does it"
    note = f"; {len(unbuilt)} are not built: `dvc repro` does it" if unbuilt else ""
    return f"{len(outputs) - len(unbuilt)} of {plural(len(outputs), 'output')} in the cache{note}"


def _missing(output: Output, cache: Path) -> dict[Path, str]:
    """Files of the workspace whose object is missing, if the output is still the recorded one."""
    wanted = files_of(output, cache)
    if wanted is None:
        listed = md5_of_text(listing(output.path)) == output.md5
        return {output.path: output.md5} if listed else {}
    lost = {path: md5 for path, md5 in wanted.items() if not place(cache, md5).exists()}
    if not output.is_folder and lost and md5_of(output.path) != output.md5:
        return {}  # another version, which `dvc status` shows
    return lost


def _whole(output: Output, cache: Path) -> bool:
    wanted = files_of(output, cache)
    return wanted is not None and all(place(cache, md5).exists() for md5 in wanted.values())


def _copies(project: Project, outputs: Sequence[Output]) -> dict[str, Path]:
    """MD5 -> a file of the workspace that should hold it."""
    copies: dict[str, Path] = {}
    for output in outputs:
        for path, md5 in (files_of(output, project.cache) or {}).items():
            copies.setdefault(md5, path)
    return copies


def _restore(path: Path, copies: Mapping[str, Path]) -> bool:
    md5 = f"{path.parent.name}{path.name}"
    source = copies.get(md5)
    return source is not None and _restore_from(source, md5, path.parents[1])


def _restore_from(source: Path, md5: str, cache: Path) -> bool:
    """Copy a file of the workspace to its place in the cache, if it is what it should be."""
    target = place(cache, md5)
    temporary = target.with_name(f".{target.name}.tmp")
    target.parent.mkdir(parents=True, exist_ok=True)
    if md5.endswith(".dir"):
        content = listing(source)
        if md5_of_text(content) != md5:
            return False
        temporary.write_text(content, encoding="utf-8")
    elif not source.is_file() or md5_of(source) != md5:
        return False
    else:
        shutil.copyfile(source, temporary)
    temporary.chmod(READ_ONLY)
    temporary.replace(target)
    return True


# MD5 of many files at once. DVC names its objects by it: against accidents, not against malice.

READERS = min(8, os.cpu_count() or 1)  # hashing lets other threads run


def md5_of(path: Path) -> str | None:
    """MD5 of a file in hexadecimal, or None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(
                file, partial(hashlib.md5, usedforsecurity=False)
            ).hexdigest()
    except OSError:
        return None


def md5_of_all(paths: Iterable[Path], doing: str) -> Iterator[tuple[Path, str | None]]:
    """Each path with the MD5 of its file, in order; with a progress bar on a terminal."""
    waiting = list(paths)
    with ThreadPoolExecutor(READERS) as pool:
        digests = pool.map(md5_of, waiting)
        yield from zip(
            waiting,
            tqdm(digests, doing, len(waiting), leave=False, unit="file", disable=None),
            strict=True,
        )
