import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from stages.sample import main

ROOT = Path(__file__).parents[2]


def arguments(folder: Path, **sample: int) -> list[str]:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["sample"] |= sample
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return [
        f"--images-out={folder / 'data' / 'images'}",
        f"--bone-masks-out={folder / 'data' / 'bone_masks'}",
        f"--truth-out={folder / 'data' / 'truth.json'}",
        f"--contact-sheet-out={folder / 'pictures' / 'sheet.png'}",
        f"--params={folder / 'params.yaml'}",
    ]


def test_the_stage_writes_images_truth_and_contact_sheet(tmp_path: Path) -> None:
    assert main(arguments(tmp_path, patients=12, size_pixels=96)) == 0
    truth = json.loads((tmp_path / "data" / "truth.json").read_text(encoding="utf-8"))
    assert truth["settings"] == {"patients": 12, "size_pixels": 96, "seed": 42}
    folders = {path.name for path in (tmp_path / "data" / "images").iterdir()}
    assert folders == {"Normal", "Osteopenia", "Osteoporosis"}
    masks = {path.stem for path in (tmp_path / "data" / "bone_masks").rglob("*.png")}
    originals = {Path(one["source"]).stem for one in truth["images"] if one["fault"] == ""}
    assert originals <= masks
    with Image.open(tmp_path / "pictures" / "sheet.png") as sheet:
        assert sheet.format == "PNG"


def test_a_bad_parameter_is_one_clear_line_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, patients=3)) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "sample.patients: 3" in message
    assert not (tmp_path / "data").exists()
