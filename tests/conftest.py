"""Settings of all tests: no time limit for an example on a loaded machine, quiet TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tests.trials import Trial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Workers share the cores: threads of BLAS and OpenMP would spin while they wait for each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
# For a long run of the fuzzed tests: make hostile.
hypothesis.settings.register_profile(
    "hostile",
    deadline=None,
    derandomize=False,
    max_examples=2_000,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def converted_models_are_kept_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The user's own converted models stay in the project's folder for them."""
    os.environ["KNEE_CACHE"] = str(tmp_path_factory.mktemp("converted"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: no worker is left with one at the end, while the other has nothing to do.

    Of the long files those come first that do not begin with the finished project: while a worker
    makes it, the other has something else to do.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)

    def place(beside: list[pytest.Item]) -> tuple[bool, bool, bool]:
        slow, tf = (any(one.get_closest_marker(name) for one in beside) for name in ("slow", "tf"))
        waits = "finished" in getattr(beside[0], "fixturenames", ())
        return not slow, slow and waits, not tf

    places = {path: place(beside) for path, beside in files.items()}
    items.sort(key=lambda item: places[item.path])


@pytest.fixture
def trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Trial:
    """The command line of ingest, in a folder of its own."""
    from tests.trials import Trial  # only the tests of ingest need it

    # Unpacked archives go where a test can see whether they are gone.
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return Trial(tmp_path, monkeypatch, capsys)
