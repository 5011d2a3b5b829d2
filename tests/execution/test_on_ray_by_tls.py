"""A cluster whose traffic is encrypted: no trusted network needed, no stranger let in."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execution import certificates, ray_cluster
from tests.execution.ray_cluster import Cluster
from tests.execution.test_on_ray import WORK, driven, execution

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="ray is not installed"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One node, and certificates of one authority for it, the head and the driver."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as name:
        folder = Path(name)
        variables = certificates.signed_by_own_authority(folder)
        with ray_cluster.running(folder / "ray", [{}], variables) as made:
            yield made


def test_work_travels_by_tls_where_the_network_is_not_trusted(cluster: Cluster) -> None:
    done = driven(cluster, execution(cluster, trusted_network=False), WORK)
    assert done.returncode == 0, done.stderr
    assert str([(2 * number, "ours") for number in range(40)]) in done.stdout


def test_a_client_of_another_authority_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    stranger = certificates.signed_by_own_authority(tmp_path)
    done = driven(cluster, execution(cluster, trusted_network=False), WORK, **stranger)
    assert done.returncode != 0
    assert "told" not in done.stdout
    assert "refuses" in done.stderr.splitlines()[-1]


def test_a_client_without_tls_is_refused(cluster: Cluster) -> None:
    done = driven(cluster, execution(cluster), WORK, RAY_USE_TLS="0")
    assert done.returncode != 0
    assert "told" not in done.stdout
    assert "refuses" in done.stderr.splitlines()[-1]
