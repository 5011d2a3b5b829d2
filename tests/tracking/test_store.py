"""Where runs are kept, and what importing and waiting costs."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knee import tracking
from knee.tracking import store
from knee.tracking.evidence import Evidence
from tests.tracking.runs import runs


def test_the_default_store_is_sqlite_in_the_project_root(root: Path) -> None:
    assert store.tracking_uri() == f"sqlite:///{root}/mlflow.db"


def test_a_queued_experiments_copy_uses_the_main_checkouts_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert store.project_root() == tmp_path
    monkeypatch.delenv("DVC_ROOT")
    assert store.project_root() == tmp_path
    monkeypatch.setenv("DVC_ROOT", str(copy))
    assert store.project_root() == tmp_path


def test_without_dvc_the_working_directory_is_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert store.project_root() == tmp_path


def test_environment_of_the_user_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    store.prepare_environment()
    with store.patient_upload():
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


def test_a_new_store_gets_no_journal_of_one_that_was_moved_away(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "mlflow.db").unlink()
    names = ("mlflow.db-journal", "mlflow.db-wal", "mlflow.db-shm")
    for name in (*names, "mlflow.db.new-journal"):
        (root / name).write_bytes(b"old")

    def whole(uri: str) -> None:
        path = Path(uri.removeprefix("sqlite:///"))
        assert not store.journals(path)
        path.write_bytes(b"whole")

    monkeypatch.setattr(store, "_open", whole)
    store.connect()
    assert sorted(file.name for file in root.glob("mlflow.db*")) == sorted(
        ["mlflow.db", *(f"{name}.left" for name in names)]
    )


def test_importing_tracking_starts_neither_mlflow_nor_tensorflow() -> None:
    code = "import sys, knee.tracking; print({'mlflow', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_kill_while_the_tables_are_made_leaves_no_half_store(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "mlflow.db").unlink()

    def killed(uri: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half")
        raise KeyboardInterrupt

    def whole(uri: str) -> None:
        path = Path(uri.removeprefix("sqlite:///"))
        if path.name == "mlflow.db.new":
            assert not path.exists()
            path.write_bytes(b"whole")

    monkeypatch.setattr(store, "_open", killed)
    with pytest.raises(KeyboardInterrupt):
        store.connect()
    assert not (root / "mlflow.db").exists()
    monkeypatch.setattr(store, "_open", whole)
    store.connect()
    assert (root / "mlflow.db").read_bytes() == b"whole"


MOVED_TO = ["renamed", "a blank", "Größe 知識", "p@rt#1"]
ADDRESSES_IN_STORE = (
    "select artifact_location from experiments",
    "select artifact_uri from runs",
    "select artifact_location from logged_models",
    "select storage_location from model_versions",
)


def recorded_addresses(root: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        return [row[0] for query in ADDRESSES_IN_STORE for row in database.execute(query)]


def forget_addresses() -> None:
    """Clear MLflow's cache of addresses, as in another process."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()


def register(evidence: Evidence) -> None:
    run_id = tracking.publish(evidence)
    assert run_id is not None
    tracking.Registry("knee").add(run_id, evidence.execution, {}, "text")


@pytest.mark.parametrize("name", MOVED_TO)
def test_a_renamed_project_finds_its_artifacts(
    root: Path,
    evidence: Evidence,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    register(evidence)
    forget_addresses()
    moved = tmp_path_factory.mktemp("other") / name
    moved.mkdir()
    for entry in ("mlflow.db", "mlartifacts"):
        shutil.move(root / entry, moved / entry)
    monkeypatch.setenv("DVC_ROOT", str(moved))
    fetched = tmp_path_factory.mktemp("fetched")
    assert tracking.fetch_model("models:/knee/1", fetched) == ("knee", "1")
    assert (fetched / "model.keras").read_bytes() == evidence.model.read_bytes()
    assert not (root / "mlartifacts").exists()
    assert all(str(root) not in urllib.parse.unquote(one) for one in recorded_addresses(moved))


def test_a_copy_of_a_project_writes_into_itself_only(
    root: Path,
    evidence: Evidence,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(evidence)
    forget_addresses()
    copy = tmp_path_factory.mktemp("copy")
    shutil.copy(root / "mlflow.db", copy / "mlflow.db")
    shutil.copytree(root / "mlartifacts", copy / "mlartifacts")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    addresses = recorded_addresses(root)
    monkeypatch.setenv("DVC_ROOT", str(copy))
    evidence.artifacts["test.json"].write_text('{"accuracy": 0.5}')
    register(evidence)
    changed = {path for path in root.rglob("*") if before.get(path) != path.stat().st_mtime_ns}
    assert changed == {evidence.artifacts["test.json"]}
    assert recorded_addresses(root) == addresses
    (written,) = copy.glob("mlartifacts/*/*/artifacts/test.json")
    assert written.read_text() == '{"accuracy": 0.5}'


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/mlartifacts/knee-bone-health-sample",
        "mlflow-artifacts:/1",
        "file:///mnt/shared/experiments",
        "file:///mnt/shared/mlartifacts/knee-bone-health-sample/deeper",
        "file:///mnt/shared/mlartifacts/another",
    ],
)
def test_addresses_that_are_no_folder_of_the_project_stay(root: Path, address: str) -> None:
    client = store.connect()
    client.create_experiment("other", address)
    before = recorded_addresses(root)
    assert address in before
    store.connect()
    assert recorded_addresses(root) == before


def test_processes_that_open_a_moved_store_at_once_change_it_once(
    root: Path,
    evidence: Evidence,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(evidence)
    moved = tmp_path_factory.mktemp("moved")
    shutil.move(root / "mlflow.db", moved / "mlflow.db")
    monkeypatch.setenv("DVC_ROOT", str(moved))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store._readdress, [moved] * 8))
    addresses = recorded_addresses(moved)
    assert all(urllib.parse.unquote(one).count(str(moved)) == 1 for one in addresses)


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    names = [name for name in os.environ if name.startswith("MLFLOW_")]
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.delenv(name)
        for name, value in values.items():
            patch.setenv(name, value)
        yield


SECRET = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=6).map(
    lambda text: f"Zx9{text}Qw7"
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(password=SECRET, quoted_by_user=st.booleans(), scheme=st.sampled_from(["http", "HTTPS"]))
def test_no_message_shows_a_password_whatever_its_letters(
    password: str, quoted_by_user: bool, scheme: str
) -> None:
    written = urllib.parse.quote(password, safe="") if quoted_by_user else password
    address = f"{scheme}://reader:{written}@tracking.test:5000/base"
    with environment(MLFLOW_TRACKING_URI=address):
        assert store.shown_uri().endswith("://tracking.test:5000/base")
        said = store.brief(ValueError(f"Failed to parse: {address} ({password})"))
        try:
            store.prepare_environment()
        except tracking.TrackingError as error:
            assert not quoted_by_user
            said += str(error)
        else:
            assert os.environ["MLFLOW_TRACKING_USERNAME"] == "reader"
            assert os.environ["MLFLOW_TRACKING_PASSWORD"] == urllib.parse.unquote(written)
            assert os.environ["MLFLOW_TRACKING_URI"].endswith("://tracking.test:5000/base")
            said += store.brief(ValueError(f"Basic {password} at {store.tracking_uri()}"))
    assert "Zx9" not in said
    assert "Qw7" not in said


@pytest.mark.parametrize(
    "address",
    [
        "http://reader:Zx9/Qw7@host:5000",
        "http://reader:12/Qw7@host",
        "http://reader:Zx9?Qw7@host",
        "postgresql://reader:Zx9@Qw7@host/runs",
        "mysql+pymysql://reader:Zx9 Qw7@host/runs",
    ],
)
@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"])
def test_a_password_that_libraries_would_cut_is_refused_before_any_of_them_sees_it(
    root: Path, address: str, name: str
) -> None:
    given = environment(**{name: address, "DVC_ROOT": str(root)})
    with given, pytest.raises(tracking.TrackingError, match="%2F") as caught:
        store.connect()
    for part in ("Zx9", "Qw7", "reader"):
        assert part not in str(caught.value)


def test_a_projects_path_may_have_any_letter(root: Path) -> None:
    assert runs() == []
    with environment(MLFLOW_TRACKING_URI=f"sqlite:///{root}/a@b:c?/mlflow.db"):
        store.prepare_environment()
        assert store.shown_uri() == f"sqlite:///{root}/a@b:c?/mlflow.db"


def test_a_password_with_what_separates_a_scheme_is_not_shown() -> None:
    with environment(MLFLOW_TRACKING_URI="http://reader:Zx9://Qw7@tracking.test"):
        assert store.shown_uri() == "http://tracking.test"
        assert "Qw7" not in store.brief(ValueError(f"bad {os.environ['MLFLOW_TRACKING_URI']}"))


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"])
def test_a_token_in_an_error_of_the_http_library_is_not_shown(name: str) -> None:
    with environment(**{name: "Zx9Qw7 \n"}):
        said = store.brief(ValueError("Invalid header value: b'Bearer Zx9Qw7 \\n'"))
    assert "Zx9" not in said
