"""What is said of weights that Keras will download."""

from __future__ import annotations

import http.client
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from knee.health import downloads


@pytest.mark.parametrize("error", [TimeoutError(), http.client.BadStatusLine("<html>")])
def test_a_server_that_gives_no_answer_or_nonsense_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(downloads.OfflineError, match="cannot be reached"):
        downloads.announce(["mobilenet"])
