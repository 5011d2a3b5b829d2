"""The guard: whom the server answers, how much it reads, and that errors quote nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from knee.prediction import request_limits
from knee.prediction.films import RefusedError
from knee.serving import asgi, guard
from knee.serving.guard import Guard, Route
from tests.serving.asgi import ask

JSON = {"content-type": "application/json"}


def refuse_secrets(body: bytes) -> None:
    if b"secret" in body:
        raise RefusedError("no secrets")


ROUTES = {
    "/ping": Route(),
    "/echo": Route("POST", "application/json", 10, refuse_secrets),
}


class Application:
    """Answers with what it was told, and remembers the bodies."""

    def __init__(self, status: int = 200, answer: bytes | None = None) -> None:
        self.status, self.answer = status, answer
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        message = await receive()
        self.bodies.append(message["body"])
        headers = [(b"content-type", b"text/plain"), (b"x-secret", b"1")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        content = message["body"] if self.answer is None else self.answer
        await send({"type": "http.response.body", "body": content})


def test_a_good_request_is_handed_on_whole() -> None:
    application = Application()
    chunks = [b"one", b" ", b"two"]
    status, headers, body = ask(Guard(application, ROUTES), "/echo", "POST", JSON, chunks)
    assert (status, body) == (200, b"one two")
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:5001", "[::1]:5001"])
def test_this_machines_names_are_answered(host: str) -> None:
    assert ask(Guard(Application(), ROUTES), "/ping", headers={"host": host})[0] == 200


@pytest.mark.parametrize(
    ("status", "path", "method", "headers", "body"),
    [
        (421, "/ping", "GET", {"host": "elsewhere.example"}, b""),
        (421, "/ping", "GET", {"host": "localhost.elsewhere.example"}, b""),
        (421, "/ping", "GET", {"host": "localhost@elsewhere.example"}, b""),
        (421, "/ping", "GET", {"host": "[::1"}, b""),
        (421, "/ping", "GET", {"host": ""}, b""),
        (403, "/ping", "GET", {"origin": "http://elsewhere.example"}, b""),
        (403, "/ping", "GET", {"origin": "null"}, b""),
        (404, "/docs", "GET", {}, b""),
        (404, "/ping/", "GET", {}, b""),
        (405, "/echo", "GET", {}, b""),
        (405, "/ping", "OPTIONS", {}, b""),
        (413, "/ping", "GET", {}, b"x"),
        (415, "/echo", "POST", {}, b"{}"),
        (415, "/echo", "POST", {"content-type": "text/csv"}, b"{}"),
        (415, "/echo", "POST", {"content-type": "application/json; charset=latin-1"}, b"{}"),
        (415, "/echo", "POST", {**JSON, "content-encoding": "gzip"}, b"{}"),
        (413, "/echo", "POST", JSON, b"x" * 11),
        (413, "/echo", "POST", {**JSON, "content-length": "11"}, b"x"),
        (413, "/echo", "POST", {**JSON, "content-length": "1e3"}, b"x"),
        (413, "/echo", "POST", {**JSON, "content-length": "9" * 5000}, b"x"),
        (400, "/echo", "POST", JSON, b"secret"),
    ],
)
def test_what_cannot_be_answered_is_refused_before_the_application(
    status: int, path: str, method: str, headers: dict[str, str], body: bytes
) -> None:
    application = Application()
    found, said, content = ask(Guard(application, ROUTES), path, method, headers, [body])
    assert found == status
    assert application.bodies == []
    assert said["content-type"] == "application/json"
    answer = json.loads(content)
    assert set(answer) == {"error", "message"}
    assert "elsewhere" not in answer["message"]


def test_a_body_without_a_length_is_read_up_to_the_limit_alone() -> None:
    application = Application()
    status, _, _ = ask(Guard(application, ROUTES), "/echo", "POST", JSON, [b"1234567"] * 100)
    assert status == 413
    assert application.bodies == []


def test_a_body_that_breaks_off_is_not_handed_on() -> None:
    application = Application()
    status, _, _ = ask(Guard(application, ROUTES), "/echo", "POST", JSON, [b"12"], breaks_off=True)
    assert status == 400
    assert application.bodies == []


@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
@pytest.mark.parametrize(
    "words",
    [b"Failed to predict data 'JANE DOE'", b'{"message": "JANE DOE"}', b"[1]", b"[" * 99_999],
)
def test_the_applications_own_errors_stay_inside(status: int, words: bytes) -> None:
    found, headers, body = ask(Guard(Application(status, words), ROUTES), "/ping")
    assert found == status
    assert b"JANE DOE" not in body
    assert "x-secret" not in headers
    assert json.loads(body)["error"] == status


def test_a_refusal_of_the_model_goes_out() -> None:
    words = json.dumps({"message": "image 1: empty file", "error_code": "X", guard.REFUSED: True})
    found, _, body = ask(Guard(Application(400, words.encode()), ROUTES), "/ping")
    assert found == 400
    assert json.loads(body) == {"error": 400, "message": "image 1: empty file"}


def test_a_broken_application_is_a_plain_500() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        raise RuntimeError("JANE DOE")

    status, _, body = ask(Guard(broken, ROUTES), "/ping")
    assert status == 500
    assert b"JANE" not in body


def test_waiting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "ANSWER_SECONDS", 0.01)

    async def slow(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        await asyncio.sleep(60)

    assert ask(Guard(slow, ROUTES), "/ping")[0] == 504
    monkeypatch.setattr(request_limits, "BODY_SECONDS", 0.01)

    async def silent() -> Any:
        await asyncio.sleep(60)

    with pytest.raises(asgi.RefusedRequestError) as caught:
        asyncio.run(asgi.body({}, silent, 10))
    assert caught.value.status == 408
