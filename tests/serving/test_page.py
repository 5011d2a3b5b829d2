"""The page for images: what it serves, what it refuses, and, in a browser, how it is used."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from PIL import Image

from knee.prediction import request_images, synthetic_model
from knee.run import parameters
from knee.serving.application import application
from knee.synthetic import cohort
from knee.synthetic.faults import CLASSES
from tests import browser
from tests import films as drawn
from tests.serving.asgi import ask
from tests.serving.stand_in import HOSTILE, StandIn

if TYPE_CHECKING:
    from knee.prediction.answers import Answers

ROOT = Path(__file__).parents[2]
BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def page() -> Any:
    return application(cast("Answers", StandIn()))


def test_the_page_is_self_contained_and_strict(page: Any) -> None:
    status, headers, body = ask(page, "/")
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page_text = body.decode()
    assert HOSTILE not in page_text
    assert re.findall(r'(?:src|href)="(?!/|#|data:,)[^"]+"', page_text) == []
    assert "style=" not in page_text
    assert "research only" in page_text
    first = page_text.index(synthetic_model.WARNING)
    assert first < page_text.index("research only")
    kinds = {"/style.css": "text/css", "/script.js": "text/javascript"}
    for path, kind in kinds.items():
        status, headers, body = ask(page, path)
        assert (status, headers["content-type"].split(";")[0]) == (200, kind)
        assert b"http" not in body


def test_a_model_of_radiographs_has_no_such_line() -> None:
    stand_in = StandIn()
    stand_in.training["synthetic"] = False
    _, _, body = ask(application(cast("Answers", stand_in)), "/")
    assert b"SYNTHETIC" not in body
    assert b'class="grey"' not in body


def test_only_the_page_of_located_knees_has_a_film_with_squares(page: Any) -> None:
    stand_in = StandIn()
    stand_in.training["locate"] = {"box_widths": 1.84}
    _, _, body = ask(application(cast("Answers", stand_in)), "/")
    assert b'id="squares"' in body
    assert b"look\n        at the square" in body
    assert b"square" not in ask(page, "/")[2]


def test_the_examples_are_images_of_the_sample(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the sample's model would refuse them; of its patients only these are drawn here."""
    stems = {"normal": "P0178_R_1", "osteopenia": "P0111_R_1", "osteoporosis": "P0159_L_1"}
    patients = {int(stem[1:5]) - 1 for stem in stems.values()}

    def few(values: Any) -> Iterator[tuple[int, Any]]:
        for number, value in enumerate(values):
            if isinstance(value, str) or number in patients:
                yield number, value

    monkeypatch.setattr(cohort, "enumerate", few, raising=False)
    sample = parameters.load(ROOT / "params.yaml").sample
    for label in CLASSES:
        (tmp_path / label).mkdir()
    cohort._write_originals(tmp_path, None, sample.patients, sample.size_pixels, sample.seed)
    for name, stem in stems.items():
        status, headers, body = ask(page, f"/examples/{name}.jpg")
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        drawn_now = tmp_path / name.capitalize() / f"{stem}.jpg"
        with Image.open(io.BytesIO(body)) as shown, Image.open(drawn_now) as expected:
            assert shown.tobytes() == expected.tobytes()


def test_an_image_is_answered_with_what_the_model_saw(page: Any) -> None:
    status, _, body = ask(page, "/image", "POST", BYTES, [drawn.png(1)])
    assert status == 200
    answer = json.loads(body)
    seen = Image.open(io.BytesIO(base64.b64decode(answer["image"])))
    assert seen.size == (64, 64)
    assert answer["prediction_set"] == [HOSTILE, "Osteopenia"]
    assert answer["grad_cam"]


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (400, BYTES, b""),
        (400, BYTES, b"JANE DOE"),
        (400, BYTES, drawn.png(1)[:300]),
        (413, {**BYTES, "content-length": str(request_images.FILE_BYTES + 1)}, b"x"),
        (415, {"content-type": "text/plain"}, b"x"),
        (415, {"content-type": "multipart/form-data"}, b"x"),
        (421, {**BYTES, "host": "elsewhere.example"}, b"x"),
        (403, {**BYTES, "origin": "http://elsewhere.example"}, b"x"),
    ],
)
def test_what_is_no_image_is_refused(
    page: Any, status: int, headers: dict[str, str], body: bytes
) -> None:
    found, _, content = ask(page, "/image", "POST", headers, [body])
    assert found == status
    assert b"JANE" not in content
    assert json.loads(content)["message"]


@pytest.fixture(scope="module")
def address(page: Any) -> Iterator[str]:
    """The page on a port of this machine."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(page, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join()


SHOWN = "!document.getElementById('result').hidden"
FAILED = "!document.getElementById('failure').hidden"
FOCUS = "document.activeElement.id"


@pytest.mark.slow
@pytest.mark.skipif(browser.program() is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_answers_warnings_and_reasons(
    address: str, tmp_path: Path, width: int
) -> None:
    plain, bright, broken = (tmp_path / name for name in ("JANE.png", "b.png", "c.png"))
    plain.write_bytes(drawn.png(1))
    drawn.film(1).resize((64, 64)).point(lambda value: 200 + value // 5).save(bright)
    broken.write_bytes(drawn.png(1)[:300])
    with browser.Browser(width, 800, phone=width < 500) as shown:
        shown.open(address)
        shown.press("Tab")
        assert shown.value("document.activeElement.className") == "skip"
        shown.press("Tab")
        assert shown.value(FOCUS) == "image"
        shown.choose_file("#image", plain)
        shown.wait(SHOWN)
        assert shown.value("document.getElementById('answer').textContent") == HOSTILE
        assert shown.value(FOCUS) == "answer"
        assert shown.value("document.getElementById('warning').hidden")
        assert shown.value("document.querySelectorAll('#bars li').length") == 3
        assert shown.value("document.querySelector('#bars b').textContent") == "75.0 %"
        shown.wait("[...document.querySelectorAll('.images img')].every(i => i.naturalWidth == 64)")
        assert shown.value("document.documentElement.scrollWidth") <= width
        assert shown.faults == []
        shown.choose_file("#image", bright)
        shown.wait("!document.getElementById('warning').hidden")
        shown.choose_file("#image", broken)
        shown.wait(FAILED)
        assert not shown.value(SHOWN)
        assert "truncated" in shown.value("document.getElementById('failure').textContent")
        shown.choose_file("#image", plain, broken, bright)
        shown.wait("document.querySelectorAll('#rows tr').length == 6")
        shown.wait("document.activeElement.id == 'answers-title'")
        table = "found.map((one) => Object.values(columns(one)).map(cell).join(','))"
        assert '"0.75","0.2499","0.0001"' in shown.value(f"{table}[0]")
        assert '"image file is truncated"' in shown.value(f"{table}[2]")
        assert shown.value("""cell('=1+"2"')""") == '"\'=1+""2"""'
        assert shown.value("document.documentElement.scrollWidth") <= width
        shown.value("document.querySelector('.example').click()")
        shown.wait("document.querySelectorAll('#rows tr').length == 7")
        asked = [url for url in shown.requested if not url.startswith("data:")]
        assert asked
        assert all(url.startswith(address) for url in asked)
