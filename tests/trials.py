"""The command line of ingest, tried in a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from knee.records.records_table import read_records
from knee.run import parameters
from stages import ingest
from tests.films import NO_SHEET, settings


class Trial:
    """The command line of ingest, in a folder of its own."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(
        self, images: str = "images", sheet: str = "", manifest: str = "", **changes: Any
    ) -> int:
        """The exit status; the error is in `error` then."""
        configuration = settings(**changes)
        self._monkeypatch.setattr(parameters, "load", lambda _: configuration)
        status = ingest.main(
            [
                f"--images={self.folder / images}",
                f"--sheet={self.folder / sheet if sheet else NO_SHEET}",
                f"--records-out={self.folder / 'out' / 'records.csv'}",
                f"--pixels-out={self.folder / 'out' / 'pixels'}",
                f"--known-results={self.folder / 'known'}",
                f"--manifest={self.folder / (manifest or images)}",
            ]
        )
        self.error = self._capsys.readouterr().err
        return status

    def reasons(
        self, images: str = "images", sheet: str = "", manifest: str = "", **changes: Any
    ) -> dict[str, str]:
        """Reason by source of the rows that are rejected; every usable row is checked."""
        assert self.run(images, sheet, manifest, **changes) == 0, self.error
        records = read_records(self.folder / "out" / "records.csv")
        rejected = records[records["status"] == "rejected"]
        assert (rejected["pixel_row"] == -1).all()
        assert (rejected["reason"] != "").all()
        self.records: pd.DataFrame = records
        return dict(zip(rejected["source"], rejected["reason"], strict=True))

    def refused(
        self, images: str = "images", sheet: str = "", manifest: str = "", **changes: Any
    ) -> str:
        """The one line of a refusal that leaves nothing behind."""
        assert self.run(images, sheet, manifest, **changes) == 1
        assert self.error.startswith("ingest: ")
        assert self.error.count("\n") == 1
        assert list(self.folder.glob("out/*")) == []
        return self.error
