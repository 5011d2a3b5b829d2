"""A model as a folder of its own: its pins, and what is refused; test_serve starts one."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from knee.classifier.net.trained_model import TrainedModel
from knee.serving import export, exported

ROOT = Path(__file__).parents[2]
LOCK = """one==1.0 \\
    --hash=sha256:aa
two==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:bb
two==3.0 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
"""


def test_pins_are_those_of_the_lock_with_all_that_they_need() -> None:
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pins = export.serving_pins(lock, export.PACKAGES)
    names = [line.split("==")[0] for line in pins.splitlines() if line[:1].isalnum()]
    assert {*export.PACKAGES, "anyio", "markupsafe", "python-dateutil", "six"} <= {*names}
    assert not {"tensorflow", "tensorflow-cpu", "keras", "mlflow", "dvc", "torch"} & {*names}
    assert len(names) < 40
    assert all(line in lock for line in pins.splitlines())
    assert pins.count("--hash=sha256:") > len(names)


def test_a_lock_that_lacks_a_package_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(export.ExportError, match="lacks three: run make lock"):
        export.serving_pins(LOCK, ["one", "three"])
    monkeypatch.setattr("importlib.metadata.requires", lambda _: None)
    assert export.serving_pins(LOCK, ["two"]) == LOCK[LOCK.index("two") :]


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("used", "used/file", "link"):
        with pytest.raises(export.ExportError, match="give another folder"):
            export.write(cast("TrainedModel", None), tmp_path, tmp_path / name)
    assert [file.name for file in (tmp_path / "used").iterdir()] == ["file"]


def test_a_damaged_or_missing_file_is_named_before_the_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b c", "d"):
        (tmp_path / name).write_text(name)
    (tmp_path / exported.SUMS).write_text(export._sums(tmp_path))
    assert exported.damaged(tmp_path) == []
    (tmp_path / "b c").write_text("B")
    (tmp_path / "d").unlink()
    assert exported.main([], tmp_path) == 1
    assert capfd.readouterr().err.startswith("serve: damaged or missing: b c, d: copy")
