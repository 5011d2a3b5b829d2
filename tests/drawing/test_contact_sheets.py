"""What a person has to be able to read off the contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from knee.drawing import contact_sheets

TILE, MARGIN, HEADER = contact_sheets.TILE, contact_sheets.MARGIN, contact_sheets.HEADER
FRAME = 3  # px, the coloured outline and its neighbour


def image(value: int, count: int = 1) -> npt.NDArray[np.uint8]:
    return np.full((count, 16, 16), value, np.uint8)


def predictions(label: str, predicted: str, chance: float = 0.9, count: int = 1) -> pd.DataFrame:
    line = {
        "record": range(count),
        "source": "patient-name.png",
        "label": label,
        "predicted": predicted,
        f"probability_{label}": 1 - chance,
        f"probability_{predicted}": chance,
    }
    return pd.DataFrame(line)


def panel(heat: npt.NDArray[np.float64], out: Path, label: str = "a") -> npt.NDArray[np.int64]:
    """The pixels of a panel of one gray image under `heat`, (height, width, 3)."""
    table = predictions(label, "b")
    contact_sheets.heat_maps(image(100), [heat[np.newaxis]], table, "x", "y", out)
    with Image.open(out) as file:
        return np.asarray(file.convert("RGB"), np.int64)


def halves(sheet: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first pair of a panel: the image and the image under its heat, without the outline."""
    rows = slice(HEADER + FRAME, HEADER + TILE - FRAME)
    left = sheet[rows, MARGIN + FRAME : MARGIN + TILE - FRAME]
    return left, sheet[rows, MARGIN + TILE + FRAME : MARGIN + 2 * TILE - FRAME]


def test_an_image_without_heat_is_shown_unchanged(tmp_path: Path) -> None:
    plain, covered = halves(panel(np.zeros((16, 16)), tmp_path / "panel.png"))
    assert (plain == 100).all()
    assert (covered == 100).all()


def test_heat_colours_its_own_place_and_no_other(tmp_path: Path) -> None:
    heat = np.zeros((16, 16))
    heat[:4, :4] = 1
    _, covered = halves(panel(heat, tmp_path / "panel.png"))
    changed = (covered != 100).any(axis=2)
    assert changed[:20, :20].all()
    assert not changed[TILE // 2 :].any()
    assert not changed[:, TILE // 2 :].any()


def test_right_and_wrong_predictions_differ_in_their_outline(tmp_path: Path) -> None:
    outlines = [
        panel(np.zeros((16, 16)), tmp_path / "panel.png", label)[HEADER, MARGIN].tolist()
        for label in ("b", "a")
    ]
    right, wrong = (
        [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        for colour in (contact_sheets.RIGHT, contact_sheets.WRONG)
    )
    assert outlines == [right, wrong]


def test_right_predictions_are_no_mistakes_and_the_count_is_kept(tmp_path: Path) -> None:
    sizes = []
    for wrong, count in ((0, 12), (3, 12), (12, 12), (12, 8)):
        table = predictions("a", "b", count=12)
        table["predicted"] = ["b"] * wrong + ["a"] * (12 - wrong)
        out = tmp_path / "sheet.png"
        contact_sheets.worst_mistakes(image(9, 12), table, ["a", "b"], count, "x", out)
        with Image.open(out) as file:
            sizes.append((file.height - HEADER - MARGIN) // TILE)
    assert sizes == [0, 1, 3, 2]


def test_source_file_names_do_not_change_a_sheet(tmp_path: Path) -> None:
    """Names of files may name patients, and sheets leave the machine."""
    table = predictions("a", "b")
    for name, source in (("one", "Jane Doe.png"), ("two", "x.png")):
        shown = table.assign(source=source)
        out = tmp_path / f"{name}.png"
        contact_sheets.worst_mistakes(image(50), shown, ["a", "b"], 3, "x", out)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_sheets_carry_no_metadata(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    contact_sheets.worst_mistakes(image(50), predictions("a", "b"), ["a", "b"], 3, "x", out)
    with Image.open(out) as file:
        assert file.info == {}


def test_explanations_stand_beside_their_image_in_the_order_of_the_methods(tmp_path: Path) -> None:
    left, right = np.zeros((2, 1, 16, 16))
    left[0, :4, :4], right[0, 12:, 12:] = 1, 1
    out = tmp_path / "maps.png"
    contact_sheets.heat_maps(image(100), [left, right], predictions("a", "b"), "x", "y", out)
    with Image.open(out) as file:
        sheet = np.asarray(file.convert("RGB"), np.int64)[HEADER : HEADER + TILE]
    tiles = [
        sheet[FRAME:-FRAME, MARGIN + n * TILE + FRAME : MARGIN + (n + 1) * TILE - FRAME]
        for n in range(3)
    ]
    plain, first, second = [(tile != 100).any(axis=2) for tile in tiles]
    assert not plain.any()
    assert first[:20, :20].all()
    assert not first[TILE // 2 :].any()
    assert second[-20:, -20:].all()
    assert not second[: TILE // 2].any()
