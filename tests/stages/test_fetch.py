import json
import sys
import types
from pathlib import Path

import pytest
import yaml

from stages.fetch import main
from tests.films import PARAMS, ROOT, fill


def arguments(folder: Path, dataset: str) -> list[str]:
    values = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    values["data"]["dataset"] = dataset
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return [
        f"--params={folder / 'params.yaml'}",
        f"--files-out={folder / 'download' / 'files'}",
        f"--record-out={folder / 'download' / 'record.json'}",
    ]


def test_the_stage_writes_the_files_and_their_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = fill(tmp_path / "versions" / "2", {"a/1.png": b"one"})
    module = types.SimpleNamespace(dataset_download=lambda _: str(cache))
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    assert main(arguments(tmp_path, "owner/knees/versions/2")) == 0
    assert (tmp_path / "download" / "files" / "a" / "1.png").read_bytes() == b"one"
    record = json.loads((tmp_path / "download" / "record.json").read_text(encoding="utf-8"))
    assert [file["path"] for file in record["files"]] == ["a/1.png"]


def test_a_mistake_is_one_clear_line_and_exit_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, "")) == 1
    message = capsys.readouterr().err
    assert message.startswith("fetch: data.dataset is ''")
    assert message.count("\n") == 1
    assert not (tmp_path / "download").exists()


def test_the_configuration_for_kaggle_downloads_what_ingest_reads() -> None:
    conf = yaml.safe_load((ROOT / "conf" / "data" / "kaggle.yaml").read_text(encoding="utf-8"))
    folder = yaml.safe_load((ROOT / "conf" / "data" / "folder.yaml").read_text(encoding="utf-8"))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert conf["data"]["downloads"] == ["kaggle"]
    assert conf["data"]["path"] in stages["fetch"]["do"]["outs"]
    assert conf["data"]["dataset"] == "???"  # must be given
    assert set(conf["data"]) == set(folder["data"])
