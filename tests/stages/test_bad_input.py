"""Whatever a user gives ingest: one clear line and status 1, or a row with its reason.

Never a traceback, never a file that disappears, never a file beside the outputs.
"""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages import split
from tests import shards
from tests.films import CLASSES, GOOD, encoded, fill, film, png
from tests.intake.packing import FORMATS, encrypted, special, tarred, zipped, zipped_link
from tests.records.tables import NO_SPLIT
from tests.trials import Trial

NOT_AN_IMAGE = "not a JPEG, PNG, TIFF, BMP or DICOM image"


def test_every_bad_file_has_a_row_with_its_reason(trial: Trial) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    bad = {
        "Normal/empty.png": b"",
        "Normal/text.png": b"not an image",
        "Normal/cut.png": encoded(noise)[:2000],
        "Normal/cut.jpg": encoded(noise, "JPEG")[:1000],
        "Normal/nested.zip": zipped(GOOD),
        "Normal/nested.tar.gz": FORMATS["films.tar.gz"](GOOD),
        "Normal/zip.png": zipped(GOOD),
        "Normal/.hidden.png": png(1),
        "stray.png": png(1),
        "stray.dcm": bytes(128) + b"DICM",
        "stray": png(2),
    }
    fill(trial.folder / "images", GOOD | bad)
    reasons = trial.reasons()
    assert set(reasons) == set(bad)
    assert {name: reasons[name] for name in bad if "cut" not in name} == {
        "Normal/empty.png": "empty file",
        "Normal/text.png": NOT_AN_IMAGE,
        "Normal/nested.zip": "an archive inside the data: unpack it",
        "Normal/nested.tar.gz": "an archive inside the data: unpack it",
        "Normal/zip.png": NOT_AN_IMAGE,
        "Normal/.hidden.png": "hidden",
        "stray.png": "in no class folder",
        "stray.dcm": "in no class folder",
        "stray": "in no class folder",
    }
    assert "truncated" in reasons["Normal/cut.png"] + reasons["Normal/cut.jpg"]


@pytest.mark.parametrize("above", ["", "train/"])
def test_documents_beside_the_class_folders_are_no_share_of_the_rejected(
    trial: Trial, above: str
) -> None:
    films = {f"{above}{name}": content for name, content in GOOD.items()}
    names = ["LICENSE", "README.md", "metadata.csv", "sheet.csv", f"{above}notes.txt"]
    fill(trial.folder / "images", films | dict.fromkeys(names, b"text"))
    fill(trial.folder / "images", {"sheet.csv": f"path,side\n{min(films)},L\n".encode()})
    assert trial.reasons(sheet="images/sheet.csv", parts=("train",) * bool(above)) == {}
    unlisted = trial.records[trial.records["status"] == "unlisted"]
    assert sorted(unlisted["source"]) == sorted(names)
    assert "the sheet itself" in set(unlisted["reason"])


def test_a_wrong_extension_costs_no_image(trial: Trial) -> None:
    jpeg = encoded(film(99), "JPEG")
    fill(trial.folder / "images", GOOD | {"Normal/x.png": jpeg, "Normal/no extension": jpeg})
    assert trial.reasons() == {}
    assert len(trial.records) == len(GOOD) + 2


def test_links_in_circles_end_and_are_listed(trial: Trial) -> None:
    images = fill(trial.folder / "images", GOOD)
    (images / "Normal" / "self").symlink_to("self")
    (images / "Normal" / "up").symlink_to("..")
    (images / "Normal" / "nowhere").symlink_to("missing")
    assert trial.reasons() == {
        "Normal/nowhere": "broken link",
        "Normal/self": "link to itself",
        "Normal/up": "link to a folder that contains it",
    }


def test_strange_names_are_listed_and_long_ones_used(trial: Trial) -> None:
    long = f"Normal/{'x' * 250}.png"
    quoted = 'Normal/a "quoted", name\nin two lines.png'
    images = fill(trial.folder / "images", GOOD | {long: png(50), quoted: png(51)})
    try:
        Path(os.fsdecode(os.fsencode(images / "Normal") + b"/\xff.png")).write_bytes(png(52))
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    assert trial.reasons() == {"Normal/\\xff.png": "name is not UTF-8: rename the file"}
    assert {long, quoted} <= set(trial.records["source"])


def test_names_that_differ_in_case_are_two_files(trial: Trial) -> None:
    both = {"Normal/film.png": png(60), "Normal/FILM.png": png(61)}
    images = fill(trial.folder / "images", GOOD | both)
    if len(list((images / "Normal").iterdir())) < 5:
        pytest.skip("the file system does not tell case")
    assert trial.reasons() == {}
    assert set(both) <= set(trial.records["source"])


def test_a_file_that_may_not_be_read_has_its_reason(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(trial.folder / "images", GOOD | {"Normal/locked.png": png(70)})
    read_bytes = Path.read_bytes  # a mode means nothing to root: the refusal is acted

    def locked(path: Path) -> bytes:
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", locked)
    assert trial.reasons() == {"Normal/locked.png": "cannot be read: Permission denied"}


BAD_FOLDERS: dict[str, tuple[dict[str, bytes], dict[str, Any], str]] = {
    "no folder": ({}, {}, "is not a folder: set data.path"),
    "no class folders": ({"1.png": b""}, {}, "has no sub-folder"),
    "missing class": ({"Normal/1.png": b""}, {}, "data.classes names Osteopenia, Osteoporosis"),
    "unnamed class": (GOOD | {"Other/1": b""}, {}, "has Other, which data.classes does not name"),
    "no usable image": (
        {"a/1.png": b"text", "b/1.png": png(0)},
        {"classes": ()},
        f"has no usable image in a (rejected: {NOT_AN_IMAGE}): add images, or leave the class out",
    ),
    "one class": ({"films/Normal/1.png": png(0)}, {"classes": ()}, "has only one class, films"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_folder_that_cannot_be_used_is_one_line(trial: Trial, case: str) -> None:
    files, changes, message = BAD_FOLDERS[case]
    fill(trial.folder / "images", files)
    assert message in trial.refused(**changes)


def test_an_empty_class_folder_is_refused_by_name(trial: Trial) -> None:
    images = fill(trial.folder / "images", GOOD)
    (images / "Severe").mkdir()
    assert "has no usable image in Severe" in trial.refused(classes=(*CLASSES, "Severe"))


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_of_a_class_are_said_by_split(
    trial: Trial, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    few = {name: content for name, content in GOOD.items() if int(name[-5]) < count}
    fill(trial.folder / "images", few)
    assert trial.reasons() == {}
    status = split.main(
        [
            f"--records={trial.folder / 'out' / 'records.csv'}",
            f"--keep={NO_SPLIT}",
            f"--split-out={trial.folder / 'split.csv'}",
            f"--images-out={trial.folder / 'split_images.csv'}",
            f"--subsets-out={trial.folder / 'subsets.csv'}",
            f"--metrics-out={trial.folder / 'split.json'}",
        ]
    )
    assert status == 1
    error = capsys.readouterr().err
    assert error.startswith("split: every class needs at least")
    assert f"Normal has {count}" in error
    assert error.count("\n") == 1
    assert not (trial.folder / "split.csv").exists()


BAD_ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "leads out": (lambda: zipped(GOOD | {"../evil.png": b""}), "'../evil.png' leads out"),
    "absolute": (lambda: tarred(GOOD | {"/evil.png": b""}), "'/evil.png' has an absolute path"),
    "link": (lambda: special("Normal/link", b"2"), "'Normal/link' is a link"),
    "link in a zip": (lambda: zipped_link("Normal/link"), "'Normal/link' is a link"),
    "encrypted": (lambda: encrypted(GOOD), "is encrypted"),
    "cut off": (lambda: zipped(GOOD)[:5000], "is damaged, cut off or no archive"),
    "no archive": (lambda: b"text", "is no folder and no zip"),
    "gzip without tar": (lambda: gzip.compress(png(0)), "is damaged, cut off or no archive"),
    "empty": (lambda: b"", "is no folder and no zip"),
    "no member": (lambda: zipped({}), "has no sub-folder"),
    "no class": (lambda: zipped({"1.png": png(0)}), "has no sub-folder"),
    "other classes": (lambda: zipped({"x/y/1.png": png(0)}), "has only y"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_an_archive_that_cannot_be_used_is_one_line_that_names_it(trial: Trial, case: str) -> None:
    make, message = BAD_ARCHIVES[case]
    fill(trial.folder, {"films.any": make()})
    error = trial.refused("films.any")
    assert message in error
    assert str(trial.folder / "films.any") in error
    assert list((trial.folder / "temporary").iterdir()) == []
    assert {path.name for path in trial.folder.iterdir()} <= {"films.any", "temporary", "out"}


@pytest.mark.parametrize(
    ("limit", "value"), [("maximum_archive_files", 3), ("maximum_archive_gigabytes", 0.001)]
)
def test_an_archive_above_a_limit_is_refused_by_the_limits_name(
    trial: Trial, limit: str, value: Any
) -> None:
    large = {"Normal/large.png": random.Random(0).randbytes(2_000_000)}
    fill(trial.folder, {"films.zip": zipped(GOOD | large)})
    assert f"ingest.{limit}" in trial.refused("films.zip", **{limit: value})


@pytest.mark.parametrize("name", FORMATS)
def test_an_archive_gives_the_bytes_that_its_folder_gives(trial: Trial, name: str) -> None:
    bad = {"Normal/nested.zip": zipped(GOOD), "Normal/text.png": b"x", "stray.png": png(1)}
    fill(trial.folder / "images", GOOD | bad)
    reasons = trial.reasons()
    expected = {path.name: shards.content(path) for path in (trial.folder / "out").iterdir()}
    fill(trial.folder, {name: FORMATS[name](GOOD | bad)})
    assert trial.reasons(name) == reasons
    assert {
        path.name: shards.content(path) for path in (trial.folder / "out").iterdir()
    } == expected
    assert list((trial.folder / "temporary").iterdir()) == []
