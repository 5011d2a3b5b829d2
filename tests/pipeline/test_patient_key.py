"""Records are of the key that is set: another makes them anew, and no cache gives old ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from knee.intake.patients import KEY_VARIABLE, hashed, key_from_environment
from tests.films import encoded, fill, film
from tests.project import ROOT, Project, ran

KEY = "planted-key-4711"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The stages check and ingest alone, of four films of two patients."""
    for name in ("knee", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    nothing = ("no_sheet.csv", "no_split.csv", "no_decisions.csv")
    fill(tmp_path / "conf", {name: (ROOT / "conf" / name).read_bytes() for name in nothing})
    names = ("a/P1_L.png", "a/P2_L.png", "b/P1_R.png", "b/P2_R.png")
    fill(tmp_path / "films", {name: encoded(film(seed)) for seed, name in enumerate(names)})
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    used = {name: stages[name] for name in ("check", "ingest")}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": used}))
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    own = ("path", "manifest", "bone_masks")
    values["data"] |= {**dict.fromkeys(own, "films"), "classes": [], "generators": []}
    values["locate"] |= dict.fromkeys(("images", "manifest"), "films")
    values["ingest"]["image_size_pixels"] = 32
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    made = Project(tmp_path)
    made.dvc("init", "--no-scm")
    return made


def patients(project: Project) -> set[str]:
    return set(pd.read_csv(project.folder / "data" / "records.csv")["patient"])


def test_records_are_of_the_key_that_is_set(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    public = {hashed(number, key_from_environment()) for number in ("P1", "P2")}
    assert ran(project.dvc("repro")) == ["ingest"]
    assert patients(project) == public

    monkeypatch.setenv(KEY_VARIABLE, KEY)
    secret = {hashed(number, KEY.encode()) for number in ("P1", "P2")}
    assert ran(project.dvc("repro")) == ["ingest"]
    assert patients(project) == secret

    monkeypatch.delenv(KEY_VARIABLE)
    assert ran(project.dvc("repro")) == []  # the cache of runs has those of either key
    assert patients(project) == public
    texts = [path.read_bytes() for path in project.folder.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in text for text in texts)
