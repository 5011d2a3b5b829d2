import collections
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, UnidentifiedImageError

from knee.records.records_table import who_class
from knee.synthetic.cohort import draw_t_scores, write_sample
from knee.synthetic.faults import CLASSES
from knee.synthetic.sample_sheet import CELL, contact_sheet

PATIENTS = 60


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(
        folder / "images", folder / "truth.json", patients=PATIENTS, size_pixels=112, seed=3
    )
    truth: dict[str, Any] = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return folder / "images", truth


def files_under(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def of_fault(truth: dict[str, Any], fault: str) -> list[dict[str, Any]]:
    return [one for one in truth["images"] if one["fault"] == fault]


def original_of(truth: dict[str, Any], source: str) -> str:
    (group,) = [group for group in truth["same_picture"] if source in group]
    plain = {one["source"] for one in of_fault(truth, "")}
    (original,) = plain & set(group)
    return str(original)


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((48, 48)), dtype=float)


def correlation(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_same_seed_gives_same_bytes_and_replaces_what_was_there(tmp_path: Path) -> None:
    outputs = []
    for seed in (1, 1, 2):
        folder = tmp_path / "images"
        write_sample(folder, tmp_path / "truth.json", patients=12, size_pixels=96, seed=seed)
        outputs.append(files_under(tmp_path))
        (folder / "Normal" / "stray.jpg").write_bytes(b"left over")
    assert outputs[0] == outputs[1]
    assert outputs[0] != outputs[2]
    assert not [name for name in outputs[2] if "stray" in name or "staged" in name]


@given(st.floats(-6, 3))
def test_class_follows_the_who_cut_offs(t_score: float) -> None:
    expected = 0 if t_score >= -1.0 else 2 if t_score <= -2.5 else 1
    assert who_class(t_score, CLASSES) == CLASSES[expected]


@pytest.mark.parametrize(
    ("t_score", "label"), [(-1.0, "Normal"), (-1.01, "Osteopenia"), (-2.5, "Osteoporosis")]
)
def test_the_cut_offs_themselves_belong_to_the_outer_classes(t_score: float, label: str) -> None:
    assert who_class(t_score, CLASSES) == label


@given(st.integers(12, 400), st.integers(0, 1000))
def test_t_scores_are_imbalanced_and_every_class_occurs(patients: int, seed: int) -> None:
    scores = draw_t_scores(patients, np.random.default_rng(seed))
    counts = collections.Counter(who_class(score, CLASSES) for score in scores)
    assert counts["Normal"] > counts["Osteoporosis"] >= 2
    assert counts.total() == patients


def test_bone_masks_have_the_size_of_their_originals_and_change_no_image(tmp_path: Path) -> None:
    settings = {"patients": 12, "size_pixels": 96, "seed": 1}
    for name, masks in (("with", tmp_path / "masks"), ("without", None)):
        write_sample(tmp_path / name, tmp_path / f"{name}.json", **settings, masks_out=masks)
    assert files_under(tmp_path / "with") == files_under(tmp_path / "without")
    truth = json.loads((tmp_path / "with.json").read_text(encoding="utf-8"))
    originals = [*of_fault(truth, ""), *of_fault(truth, "16-bit")]
    masks_found = sorted((tmp_path / "masks").rglob("*.png"))
    assert len(masks_found) == len(originals)
    for one in originals:
        mask = (tmp_path / "masks" / one["source"]).with_suffix(".png")
        with Image.open(mask) as bone, Image.open(tmp_path / "with" / one["source"]) as image:
            assert bone.size == image.size


def test_truth_lists_every_file_once(sample: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = sample
    listed = [one["source"] for one in [*truth["images"], *truth["rejected"]]]
    assert sorted(listed) == sorted(files_under(folder))
    assert len(set(listed)) == len(listed)


def test_folder_and_class_agree_except_in_conflicts(sample: tuple[Path, dict[str, Any]]) -> None:
    _, truth = sample
    for one in truth["images"]:
        assert one["class"] == who_class(one["t_score"], CLASSES)
        assert (one["source"].split("/")[0] == one["class"]) == (one["fault"] != "conflict")


def test_stems_tell_patient_and_side(sample: tuple[Path, dict[str, Any]]) -> None:
    _, truth = sample
    for one in truth["images"]:
        stem = re.match(r"(?P<patient>P\d{4})_(?P<side>[LR])_\d", Path(one["source"]).stem)
        assert stem is not None
        assert stem["patient"] == one["patient"]
        assert {"L": "left", "R": "right"}[stem["side"]] == one["side"]


def test_a_patient_has_one_or_two_films_and_one_t_score(
    sample: tuple[Path, dict[str, Any]],
) -> None:
    _, truth = sample
    originals = [*of_fault(truth, ""), *of_fault(truth, "16-bit")]
    films = collections.Counter(one["patient"] for one in originals)
    assert len(films) == PATIENTS
    assert set(films.values()) == {1, 2}
    assert len({(one["patient"], one["t_score"]) for one in originals}) == PATIENTS


def test_both_views_occur_in_every_class(sample: tuple[Path, dict[str, Any]]) -> None:
    _, truth = sample
    seen = {(one["class"], one["view"]) for one in of_fault(truth, "")}
    assert len(seen) == len(CLASSES) * 2


def test_exact_copies_have_the_bytes_of_their_original(
    sample: tuple[Path, dict[str, Any]],
) -> None:
    folder, truth = sample
    copies = of_fault(truth, "exact copy")
    assert len(copies) >= 2
    for copy in copies:
        original = original_of(truth, copy["source"])
        assert (folder / copy["source"]).read_bytes() == (folder / original).read_bytes()


def test_re_encoded_copies_have_other_bytes_but_the_same_picture(
    sample: tuple[Path, dict[str, Any]],
) -> None:
    folder, truth = sample
    copies = of_fault(truth, "re-encoded copy")
    assert len(copies) >= 2
    for copy in copies:
        original = folder / original_of(truth, copy["source"])
        assert (folder / copy["source"]).read_bytes() != original.read_bytes()
        assert correlation(pixels(folder / copy["source"]), pixels(original)) > 0.998


def test_mirrored_copies_match_only_when_mirrored(sample: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = sample
    copies = of_fault(truth, "mirrored copy")
    assert len(copies) >= 2
    for copy in copies:
        original = folder / original_of(truth, copy["source"])
        with Image.open(folder / copy["source"]) as image:
            back = np.asarray(ImageOps.mirror(image).resize((48, 48)), dtype=float)
        assert correlation(back, pixels(original)) > 0.998
        assert correlation(pixels(folder / copy["source"]), pixels(original)) < 0.995


def test_augmented_copies_are_named_after_their_original(
    sample: tuple[Path, dict[str, Any]],
) -> None:
    folder, truth = sample
    copies = of_fault(truth, "augmented copy")
    assert len(copies) >= 3
    for copy in copies:
        original = original_of(truth, copy["source"])
        stem = re.sub(r"_aug_\d+$", "", Path(copy["source"]).stem)
        assert stem == Path(original).stem != Path(copy["source"]).stem
        assert (pixels(folder / copy["source"]) != pixels(folder / original)).any()


def test_a_conflict_is_one_file_under_two_classes(sample: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = sample
    assert truth["conflicts"]
    for pair in truth["conflicts"]:
        assert len({source.split("/")[0] for source in pair}) == 2
        assert len({(folder / source).read_bytes() for source in pair}) == 1


def test_rejected_files_cannot_be_loaded(sample: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = sample
    reasons = {one["reason"]: folder / one["source"] for one in truth["rejected"]}
    with (
        Image.open(reasons["truncated JPEG"]) as image,
        pytest.raises(OSError, match="truncated"),
    ):
        image.load()
    with pytest.raises(UnidentifiedImageError), Image.open(reasons["text file named .png"]):
        pass


def test_every_listed_image_loads_and_one_has_16_bits(
    sample: tuple[Path, dict[str, Any]],
) -> None:
    folder, truth = sample
    modes = {}
    for one in truth["images"]:
        with Image.open(folder / one["source"]) as image:
            image.load()
            modes[one["source"]] = image.mode
    (deep,) = of_fault(truth, "16-bit")
    assert modes.pop(deep["source"]) == "I;16"
    assert set(modes.values()) == {"L"}
    with Image.open(folder / deep["source"]) as image:
        assert np.asarray(image).max() > 30_000


def test_different_films_are_different_pictures(sample: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = sample
    rows = np.stack([pixels(folder / one["source"]).ravel() for one in of_fault(truth, "")])
    mirrored = rows.reshape(-1, 48, 48)[:, :, ::-1].reshape(len(rows), -1)
    both = np.corrcoef(rows, mirrored)[: len(rows)]
    both[:, : len(rows)] -= 2 * np.eye(len(rows))
    assert both.max() < 0.995


def test_the_contact_sheet_has_a_row_a_class_and_stable_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    films = write_sample(folder, tmp_path / "t.json", patients=12, size_pixels=96, seed=0)
    sheets = [tmp_path / "one.png", tmp_path / "two.png"]
    for sheet in sheets:
        contact_sheet(folder, sheet, films, columns=3)
    assert sheets[0].read_bytes() == sheets[1].read_bytes()
    with Image.open(sheets[0]) as image:
        assert image.width > 3 * CELL[0]
        assert image.height > len(CLASSES) * CELL[1]
