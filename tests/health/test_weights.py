"""Pretrained weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from knee.health.weights import HDF5, check_weights

BACKBONES = ("mobilenet", "xception")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights of both backbones."""
    (tmp_path / "w").mkdir()
    for name in BACKBONES:
        (tmp_path / "w" / f"{name}.h5").write_bytes(HDF5 + name.encode())
    return tmp_path


def test_none_asks_for_none(tmp_path: Path) -> None:
    assert check_weights("none", BACKBONES, {}, tmp_path).status == "ok"


def test_a_folder_with_every_backbone_is_healthy(folder: Path) -> None:
    found = check_weights("w", BACKBONES, {}, folder)
    assert (found.status, found.found) == ("ok", f"2 files in {folder / 'w'}, readable")


def test_what_is_missing_or_no_weights_is_named(folder: Path) -> None:
    (folder / "w" / "xception.h5").unlink()
    (folder / "w" / "mobilenet.h5").write_bytes(b"<html>not found</html>")
    found = check_weights("w", BACKBONES, {}, folder)
    assert found.status == "fault"
    assert "mobilenet.h5 is no HDF5 file" in found.names[0]
    assert "xception.h5 does not exist" in found.names[1]


def test_weights_that_changed_since_the_features_were_made_are_named(folder: Path) -> None:
    records = {}
    for name in BACKBONES:
        digest = hashlib.sha256((folder / "w" / f"{name}.h5").read_bytes()).hexdigest()
        records[name] = folder / f"{name}.json"
        records[name].write_text(json.dumps({"weights": digest}))
    assert check_weights("w", BACKBONES, records, folder).status == "ok"
    (folder / "w" / "xception.h5").write_bytes(HDF5 + b"others")
    found = check_weights("w", BACKBONES, records, folder)
    assert (found.status, found.names) == ("fault", ("xception.h5",))


def test_downloads_are_checked_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert (
        "downloads those of mobilenet" in check_weights("imagenet", BACKBONES, {}, tmp_path).found
    )
    models = tmp_path / "models"
    models.mkdir()
    (models / "mobilenet_1_0_224_tf_no_top.h5").write_bytes(HDF5)
    found = check_weights("imagenet", ("mobilenet",), {}, tmp_path)
    assert (found.status, found.found) == ("ok", f"imagenet: in {models}")
    xception = models / "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"
    xception.write_bytes(HDF5 + b"somebody else's")
    found = check_weights("imagenet", BACKBONES, {}, tmp_path)
    assert found.status == "fault"
    assert "not what Keras publishes" in found.found
    xception.write_bytes(b"cut")
    assert check_weights("imagenet", BACKBONES, {}, tmp_path).status == "fault"
