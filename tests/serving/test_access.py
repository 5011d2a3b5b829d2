"""Beyond this machine: a token in a file that nobody else can read, and names that are allowed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest

from knee.serving import access, local
from knee.serving.access import Access
from knee.serving.application import application
from knee.serving.listening import Listening
from tests import films as drawn
from tests.serving.asgi import ask
from tests.serving.stand_in import HOSTILE, StandIn

if TYPE_CHECKING:
    from knee.prediction.graph_answers import GraphAnswers

TOKEN = "t" * 40
BEARER = {"authorization": f"Bearer {TOKEN}"}
BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def guarded() -> Any:
    names = access.LOCAL_NAMES | {"films.hospital.org"}
    rules = Access(names, hashlib.sha256(TOKEN.encode()).digest())
    return application(cast("GraphAnswers", StandIn()), rules)


@pytest.mark.parametrize("path", ["/version", "/metrics", "/invocations", "/image", "/elsewhere"])
@pytest.mark.parametrize(
    "authorization",
    [
        "",
        TOKEN,
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}t",
        f"Basic {TOKEN}",
        "Bearer",
        "Bearer \xe9",
    ],
)
def test_without_the_token_there_is_no_answer(guarded: Any, path: str, authorization: str) -> None:
    status, headers, content = ask(guarded, path, "POST", {"authorization": authorization})
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert HOSTILE.encode() not in content
    assert TOKEN.encode() not in content


def test_with_the_token_there_is_one(guarded: Any) -> None:
    status, _, content = ask(guarded, "/image", "POST", BEARER | BYTES, [drawn.png(1)])
    assert (status, json.loads(content)["class"]) == (200, HOSTILE)
    assert ask(guarded, "/version", headers={"authorization": f"bearer  {TOKEN}"})[0] == 200


def test_probes_and_the_page_need_no_token_and_the_page_asks_for_it(guarded: Any) -> None:
    for path in ("/ping", "/health", "/style.css", "/script.js", "/examples/normal.jpg"):
        assert ask(guarded, path)[0] == 200
    status, _, page = ask(guarded, "/")
    assert (status, b'type="password"' in page) == (200, True)
    assert b'type="password"' not in ask(application(cast("GraphAnswers", StandIn())), "/")[2]


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("films.hospital.org", "https://films.hospital.org", 200),
        ("FILMS.hospital.org:5001", "", 200),
        ("other.hospital.org", "", 421),
        ("films.hospital.org", "https://other.hospital.org", 403),
    ],
)
def test_an_allowed_name_is_answered_and_no_other(
    guarded: Any, host: str, origin: str, status: int
) -> None:
    found, _, content = ask(guarded, "/ping", headers={"host": host, "origin": origin})
    assert found == status
    assert found != 421 or "use films.hospital.org" in json.loads(content)["message"]


@pytest.mark.parametrize(
    ("mode", "text", "message"),
    [
        (0o640 if os.geteuid() else 0o660, TOKEN, "chmod 600"),
        (0o604, TOKEN, "chmod 600"),
        (0o600, "short", "32 or more"),
        (0o600, f"{TOKEN} {TOKEN}", "32 or more"),
        (0o600, "", "32 or more"),
        (None, "", "secrets.token_urlsafe"),
    ],
)
def test_a_token_file_that_others_read_or_that_holds_none_is_refused(
    token_file: Path, mode: int | None, text: str, message: str
) -> None:
    token_file.write_text(text)
    token_file.unlink() if mode is None else token_file.chmod(mode)
    with pytest.raises(access.TokenError, match=re.escape(message)) as refused:
        access.read_token(token_file)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_server_for_other_machines_needs_a_token(
    host: str, token_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", "nowhere", "--port", "59171", "--host", host]
    assert local.main("serve", None, 5001, words) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"serve: --host {host} lets other machines ask: give --token-file")
    assert error.count("\n") == 1
    place = Listening(59171, host, ("Films.Hospital.org",), token_file)
    with place.bound() as bound:
        rules = place.access(bound)
        assert bound.proto == socket.IPPROTO_TCP  # else each answer waits 40 ms for the client
    assert rules.names == access.LOCAL_NAMES | {"films.hospital.org"}
    assert rules.token_sha256 == hashlib.sha256(TOKEN.encode()).digest()


def test_the_address_that_is_listened_on_may_be_asked_for() -> None:
    place = Listening(59171, "127.0.0.2")
    with place.bound() as bound:
        assert place.access(bound) == Access(access.LOCAL_NAMES | {"127.0.0.2"})


def test_an_address_that_is_not_this_machines_is_one_message(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert local.main("serve", None, 5001, ["--model", "nowhere", "--host", "192.0.2.1"]) == 1
    assert capfd.readouterr().err.startswith("serve: --host 192.0.2.1 --port 5001: ")


@pytest.mark.parametrize(
    "name", ["films.hospital.org:5001", "https://films.hospital.org", "[::1]", ""]
)
def test_an_allowed_name_that_no_request_can_be_for_is_refused(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        local.main("serve", None, 5001, ["--model", "nowhere", "--allow-host", name])
    assert "give the name alone" in capfd.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1", "films.hospital.org"])
def test_the_address_of_the_page_is_one_that_the_server_answers_to(host: str) -> None:
    address = urlsplit(Listening(5001, host).page)
    assert (address.hostname in access.LOCAL_NAMES | {"films.hospital.org"}, address.port) == (
        True,
        5001,
    )
