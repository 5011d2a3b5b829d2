"""/metrics: what was asked, refused and answered, and by which model; nothing of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prometheus_client.parser import text_string_to_metric_families

from knee.serving.application import application
from tests import films as drawn
from tests.serving.asgi import ask
from tests.serving.stand_in import HOSTILE, StandIn

if TYPE_CHECKING:
    from knee.prediction.graph_answers import GraphAnswers

BYTES = {"content-type": "application/octet-stream"}


def test_requests_refusals_and_images_are_counted() -> None:
    served = application(cast("GraphAnswers", StandIn()))
    bright = drawn.encoded(
        drawn.film(1).resize((64, 64)).point(lambda value: 200 + value // 5), "PNG"
    )
    for content in (drawn.png(1), drawn.png(2), bright, b"JANE DOE"):
        ask(served, "/image", "POST", BYTES, [content])
    ask(served, "/JANE-DOE")
    ask(served, "/ping", headers={"host": "elsewhere.example"})
    status, headers, content = ask(served, "/metrics")
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    text = content.decode()
    assert "JANE" not in text
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["knee_requests_total", "/image", "200"] == 3
    assert values["knee_requests_total", "/image", "400"] == 1
    assert values["knee_requests_total", "404", "other"] == 1
    assert values["knee_requests_total", "/ping", "421"] == 1
    assert values["knee_request_seconds_count", "/image"] == 4
    assert values["knee_request_seconds_sum", "/image"] > 0
    assert values["knee_images_total", HOSTILE, "no"] == 2
    assert values["knee_images_total", HOSTILE, "yes"] == 1
    assert values["process_resident_memory_bytes",] > 1e6
    assert values["knee_model_info", "3", HOSTILE, "tiny"] == 1
