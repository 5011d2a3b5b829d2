"""Connections: a silent client keeps no place, and fills no log."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from knee.prediction import request_images
from knee.serving.connections import Connection, FewRefusals
from tests.serving.stand_in import StandIn
from tests.serving.test_application import served

PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
UPLOAD = HEAD + b"Content-Length: 10\r\n\r\n{"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server with short limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_images, "SILENT_SECONDS", 1.0)
        patch.setattr(request_images, "BODY_PAUSE_SECONDS", 0.5)
        patch.setattr(request_images, "CONNECTIONS", 4)
        config = uvicorn.Config(
            served(StandIn()), "127.0.0.1", 0, http=Connection, log_level="critical"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield int(server.servers[0].sockets[0].getsockname()[1])
        server.should_exit = True
        thread.join()


def opened(port: int, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 30)
    connection.sendall(sent)
    return connection


def answer(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    content = b""
    try:
        while part := connection.recv(1 << 16):
            content += part
    except ConnectionResetError:
        pass
    return content


@pytest.mark.parametrize("sent", [b"", b"GET /ping HT", HEAD, HEAD + b"X: "])
def test_a_client_that_sends_no_whole_header_is_closed(port: int, sent: bytes) -> None:
    with opened(port, sent) as silent:
        assert answer(silent) == b""


def test_a_header_that_comes_in_drops_has_no_more_time(port: int) -> None:
    with opened(port, HEAD) as slow:
        begun = time.monotonic()
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            while time.monotonic() < begun + 20:
                slow.sendall(b"X")
                time.sleep(0.05)


@pytest.mark.parametrize("behind", [b"", PING[:20], UPLOAD[:30]])
def test_a_connection_without_a_next_request_is_closed(port: int, behind: bytes) -> None:
    with opened(port, PING + behind) as idle:
        assert answer(idle).count(b"200 OK") == 1


def test_requests_one_behind_the_other_are_answered(port: int) -> None:
    with opened(port, PING * 3) as busy:
        assert answer(busy).count(b"200 OK") == 3


def test_a_body_that_stops_is_told_so(port: int) -> None:
    with opened(port, UPLOAD) as stopped:
        assert b"408" in answer(stopped)


@pytest.mark.parametrize("sent", [b"", b"GET /ping HT", UPLOAD])
def test_clients_that_are_waited_for_keep_no_other_out(port: int, sent: bytes) -> None:
    silent = [opened(port, sent) for _ in range(20)]
    with opened(port, PING) as asked:
        assert b"200 OK" in asked.recv(1 << 16)
    for each in silent:
        each.close()


def record(name: str, level: int, *arguments: object) -> logging.LogRecord:
    text = '%s - "%s %s HTTP/%s" %d' if arguments else "Invalid HTTP request received."
    return logging.LogRecord(name, level, "", 0, text, arguments, None)


def access(status: int) -> logging.LogRecord:
    return record("uvicorn.access", logging.INFO, "127.0.0.1:1", "GET", "/ping", "1.1", status)


@pytest.mark.parametrize(
    "refused", [access(503), access(408), record("uvicorn.error", logging.WARNING)]
)
def test_refusals_write_a_line_a_second_and_no_other_line_is_lost(
    refused: logging.LogRecord, caplog: pytest.LogCaptureFixture
) -> None:
    few = FewRefusals()
    for number in range(1000):
        refused.created = 1e9 + number / 512
        assert not few.filter(refused)
        assert few.filter(access(200))
        assert few.filter(record("uvicorn.error", logging.ERROR))
    assert [line.args for line in caplog.records] == [(1,), (512,)]
