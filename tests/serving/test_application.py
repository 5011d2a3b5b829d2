"""The application: whom it answers, how much it reads, and that errors quote nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from knee.prediction import request_images
from knee.serving import request_bodies
from knee.serving.application import application
from tests import films as drawn
from tests.serving.asgi import ask
from tests.serving.stand_in import StandIn

if TYPE_CHECKING:
    from knee.prediction.answers import Answers

JSON = {"content-type": "application/json"}
ASKED = "/invocations"
BODY = json.dumps(
    {"dataframe_records": [{"image": base64.b64encode(drawn.png(1)).decode("ascii")}]}
).encode()


def served(stand_in: object) -> Any:
    return application(cast("Answers", stand_in))


def test_a_good_request_in_chunks_is_answered() -> None:
    stand_in = StandIn()
    chunks = [BODY[:5], b"", BODY[5:]]
    status, headers, content = ask(served(stand_in), ASKED, "POST", JSON, chunks)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    (answer,) = json.loads(content)["predictions"]
    assert answer["prediction_set"][1] == "Osteopenia"
    assert "grad_cam" not in answer
    ((images, explain),) = stand_in.asked
    assert (len(images), explain) == (1, False)


def test_an_explanation_is_asked_for_by_a_parameter() -> None:
    body = json.dumps({**json.loads(BODY), "params": {"explain": True}}).encode()
    _, _, content = ask(served(StandIn()), ASKED, "POST", JSON, [body])
    assert json.loads(content)["predictions"][0]["grad_cam"]


@pytest.mark.parametrize(
    "kind",
    ["Application/JSON", "application/json; charset=UTF-8", 'application/json;charset="utf-8"'],
)
def test_a_content_type_has_no_case(kind: str) -> None:
    assert ask(served(StandIn()), ASKED, "POST", {"content-type": kind}, [BODY])[0] == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:5001", "[::1]:5001"])
def test_this_machines_names_are_answered(host: str) -> None:
    assert ask(served(StandIn()), "/ping", headers={"host": host})[0] == 200


@pytest.mark.parametrize("path", ["/ping", "/health", "/version", "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_monitors_ask_is_answered(path: str, method: str) -> None:
    assert ask(served(StandIn()), path, method)[0] == 200


def test_the_version_is_that_of_the_model() -> None:
    stand_in = StandIn()
    assert json.loads(ask(served(stand_in), "/version")[2]) == stand_in.model


@pytest.mark.parametrize(
    ("status", "path", "method", "headers", "body"),
    [
        (421, "/ping", "GET", {"host": "elsewhere.example"}, b""),
        (421, "/ping", "GET", {"host": "localhost.elsewhere.example"}, b""),
        (421, "/ping", "GET", {"host": "localhost@elsewhere.example"}, b""),
        (421, "/ping", "GET", {"host": "[::1"}, b""),
        (421, "/ping", "GET", {"host": ""}, b""),
        (421, "/elsewhere", "GET", {"host": "elsewhere.example"}, b""),
        (403, "/ping", "GET", {"origin": "http://elsewhere.example"}, b""),
        (403, "/ping", "GET", {"origin": "null"}, b""),
        (403, ASKED, "POST", {**JSON, "origin": "http://elsewhere.example"}, BODY),
        (404, "/elsewhere", "GET", {}, b""),
        (404, "/docs", "GET", {}, b""),
        (404, "/ping/", "GET", {}, b""),
        (405, ASKED, "GET", {}, b""),
        (405, "/ping", "OPTIONS", {}, b""),
        (413, "/ping", "GET", {}, b"x"),
        (415, ASKED, "POST", {}, BODY),
        (415, ASKED, "POST", {"content-type": "text/csv"}, BODY),
        (415, ASKED, "POST", {"content-type": "application/json; charset=latin-1"}, BODY),
        (415, ASKED, "POST", {**JSON, "content-encoding": "gzip"}, BODY),
        (413, ASKED, "POST", {**JSON, "content-length": str(request_images.BODY_BYTES + 1)}, b"x"),
        (413, ASKED, "POST", {**JSON, "content-length": "1e3"}, b"x"),
        (413, ASKED, "POST", {**JSON, "content-length": "-1"}, b"x"),
        (413, ASKED, "POST", {**JSON, "content-length": "9" * 5000}, b"x"),
        (400, ASKED, "POST", JSON, b"elsewhere"),
        (400, ASKED, "POST", JSON, b'{"dataframe_records": [{"image": "elsewhere"}]}'),
    ],
)
def test_what_cannot_be_answered_is_refused_before_the_model(
    status: int, path: str, method: str, headers: dict[str, str], body: bytes
) -> None:
    stand_in = StandIn()
    found, said, content = ask(served(stand_in), path, method, headers, [body])
    assert found == status
    assert said["content-type"] == "application/json"
    assert said["cache-control"] == "no-store"
    answer = json.loads(content)
    assert set(answer) == {"error", "message"}
    assert answer["error"] == status
    assert "elsewhere" not in answer["message"]
    assert len(stand_in.asked) == (b"image" in body and status == 400)


@pytest.mark.parametrize(
    ("path", "method", "host", "message"),
    [
        (ASKED, "GET", "localhost", "use POST for /invocations"),
        (ASKED, "DELETE", "localhost", "use POST for /invocations"),
        ("/ping", "POST", "localhost", "use GET or HEAD for /ping"),
        ("/invocations/", "POST", "localhost", "no slash at the end"),
        ("/ping", "GET", "films.example", "use localhost or 127.0.0.1"),
    ],
)
def test_a_refusal_says_what_to_do(path: str, method: str, host: str, message: str) -> None:
    _, _, content = ask(served(StandIn()), path, method, {**JSON, "host": host})
    assert message in json.loads(content)["message"]


@pytest.mark.parametrize("stated", ["", "17000000"])
def test_a_body_without_room_is_told_when_to_ask_again(
    stated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_images, "SMALL_BODIES_BYTES", len(BODY) - 1)
    monkeypatch.setattr(request_images, "LARGE_BODIES_BYTES", len(BODY) - 1)
    stand_in = StandIn()
    headers = {**JSON, "content-length": stated}
    status, said, _ = ask(served(stand_in), ASKED, "POST", headers, [BODY])
    assert (status, said["connection"]) == (503, "close")
    assert int(said["retry-after"]) > 0
    assert stand_in.asked == []


def test_room_is_free_again_after_any_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_images, "SMALL_BODIES_BYTES", len(BODY))
    application_ = served(StandIn())
    for body, status in ((BODY, 200), (BODY[:-1], 400), (BODY[:-1] + b" x", 503), (BODY, 200)):
        assert ask(application_, ASKED, "POST", JSON, [body])[0] == status


def test_a_body_without_a_length_is_read_up_to_the_limit_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_images, "BODY_BYTES", 10)
    stand_in = StandIn()
    status, said, _ = ask(served(stand_in), ASKED, "POST", JSON, [b"1234567"] * 100)
    assert status == 413
    assert said["connection"] == "close"
    assert stand_in.asked == []


def test_a_body_that_breaks_off_does_not_reach_the_model() -> None:
    stand_in = StandIn()
    status, _, _ = ask(served(stand_in), ASKED, "POST", JSON, [BODY], breaks_off=True)
    assert status == 400
    assert stand_in.asked == []


class Broken(StandIn):
    """Fails as `how` does."""

    def __init__(self, how: Callable[[], Any]) -> None:
        super().__init__()
        self._how = how

    def answer(self, images: list[object], **_: Any) -> Any:  # noqa: ARG002
        return self._how()


def failing(error: Exception) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "how", [failing(RuntimeError("JANE DOE")), lambda: [{"nan": float("nan")}], lambda: None]
)
def test_a_broken_model_is_a_plain_500(
    how: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    status, headers, body = ask(served(Broken(how)), ASKED, "POST", JSON, [BODY])
    assert status == 500
    assert headers["cache-control"] == "no-store"
    assert set(json.loads(body)) == {"error", "message"}
    assert b"JANE" not in body
    assert "no answer: " in caplog.text
    assert "JANE" not in caplog.text


def test_waiting_for_the_model_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_images, "ANSWER_SECONDS", 0.01)
    end = threading.Event()
    threading.Timer(0.5, end.set).start()
    assert ask(served(Broken(lambda: end.wait(60))), ASKED, "POST", JSON, [BODY])[0] == 504


@pytest.mark.parametrize(("length", "status"), [("5", 408), ("11", 413)])
def test_waiting_for_a_body_is_bounded(
    monkeypatch: pytest.MonkeyPatch, length: str, status: int
) -> None:
    monkeypatch.setattr(request_images, "BODY_SECONDS", 0.01)
    monkeypatch.setattr(request_images, "DRAIN_SECONDS", 0.01)

    async def silent() -> Any:
        await asyncio.sleep(60)

    scope = {"type": "http", "headers": [(b"content-length", length.encode())]}
    with pytest.raises(HTTPException) as caught:
        asyncio.run(request_bodies.read(Request(scope, silent), largest_bytes=10))
    assert caught.value.status_code == status
