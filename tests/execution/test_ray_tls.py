"""The first handshake with a cluster's head: who is let in, and what is said to whom is not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from knee.execution import ray_tls
from knee.execution.place import ExecutionError
from tests.execution.certificates import signed_by_own_authority


@contextlib.contextmanager
def head(variables: dict[str, str]) -> Iterator[tuple[str, int]]:
    """A server that speaks, by TLS as `variables` say or else in the clear."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                if not variables:
                    connection.sendall(b"plain" + connection.recv(1))
                    return
                context = ssl.create_default_context(
                    ssl.Purpose.CLIENT_AUTH, cafile=variables[ray_tls.AUTHORITY]
                )
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_cert_chain(variables[ray_tls.CERTIFICATE], variables[ray_tls.KEY])
                with context.wrap_socket(connection, server_side=True) as encrypted:
                    encrypted.sendall(b"settings")
                    encrypted.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()
        thread.join()


@pytest.fixture
def ours(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "ours").mkdir()
    return signed_by_own_authority(tmp_path / "ours")


@pytest.fixture
def strangers(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "strangers").mkdir()
    return signed_by_own_authority(tmp_path / "strangers")


def test_certificates_of_one_authority_meet(ours: dict[str, str]) -> None:
    with head(ours) as address:
        ray_tls.check_handshake(address, ours)


def test_without_tls_on_both_sides_nothing_is_asked() -> None:
    with head({}) as address:
        ray_tls.check_handshake(address, {})


def test_each_side_refuses_the_certificate_of_another_authority(
    ours: dict[str, str], strangers: dict[str, str]
) -> None:
    with head(strangers) as address, pytest.raises(ExecutionError, match="no connection by TLS"):
        ray_tls.check_handshake(address, ours)  # we do not believe the head
    half = {**strangers, ray_tls.AUTHORITY: ours[ray_tls.AUTHORITY]}
    with head(ours) as address, pytest.raises(ExecutionError, match="refuses"):
        ray_tls.check_handshake(address, half)  # the head does not believe us


def test_one_side_alone_with_tls_is_told_so(ours: dict[str, str]) -> None:
    with head(ours) as address, pytest.raises(ExecutionError, match="set RAY_USE_TLS=1"):
        ray_tls.check_handshake(address, {})
    with head({}) as address, pytest.raises(ExecutionError, match="needs RAY_USE_TLS=1 too"):
        ray_tls.check_handshake(address, ours)


def test_missing_variables_and_files_are_named(ours: dict[str, str], tmp_path: Path) -> None:
    nowhere = ("127.0.0.1", 9)
    with pytest.raises(ExecutionError, match="RAY_USE_TLS=1 needs RAY_TLS_CA_CERT, RAY_TLS_SER"):
        ray_tls.check_handshake(nowhere, {"RAY_USE_TLS": "1"})
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate", encoding="utf-8")
    for file in (broken, tmp_path / "missing.pem"):
        for name in (ray_tls.AUTHORITY, ray_tls.CERTIFICATE, ray_tls.KEY):
            with pytest.raises(ExecutionError, match="missing or no PEM file"):
                ray_tls.check_handshake(nowhere, {**ours, name: str(file)})
