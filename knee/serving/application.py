"""The ASGI application of a trained model: predictions as JSON, and a page for images.

It answers to its own host names alone (access.py). Images are decoded in memory, and neither
written nor logged; a refusal is {"error": STATUS, "message": "..."} and never quotes its request.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Any, Final

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knee.drawing import html
from knee.prediction import model_notes, request_images, synthetic_model
from knee.prediction.graph_answers import Answered, AnsweredFilm, GraphAnswers
from knee.prediction.request_images import RefusedError
from knee.serving import request_bodies
from knee.serving.access import Access
from knee.serving.limited_work import LimitedWork
from knee.serving.metrics import MEDIA_TYPE, Metrics
from knee.storage.arrays import Pixels

Endpoint = Callable[[Request], Awaitable[Response]]
EXAMPLES: Final = ("normal", "osteopenia", "osteoporosis")  # images of the sample's test subset
PROBED: Final = ("/ping", "/health")
PAGE: Final = {  # its parts, which hold no answer
    "/style.css": ("style.css", "text/css"),
    "/script.js": ("script.js", "text/javascript"),
    **{f"/examples/{name}.jpg": (f"examples/{name}.jpg", "image/jpeg") for name in EXAMPLES},
}
FILM_PIXELS: Final = 1024  # longer side of a film on the page, at most
OPEN: Final = frozenset((*PROBED, "/", *PAGE))  # addresses that need no token
HEADERS: Final = {  # of every response
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

logger = logging.getLogger(__name__)


def application(answers: GraphAnswers, access: Access | None = None) -> ASGIApp:
    """Return the application that serves `answers`; docs/serving.md describes its addresses.

    Args:
        answers: the model.
        access: who may ask; None is whoever does so by this machine's own names.
    """
    rules = access or Access()
    room = request_bodies.Room()
    answering = LimitedWork(os.cpu_count() or 1, request_images.ANSWERS)
    explaining = LimitedWork(request_images.EXPLAINING, request_images.EXPLANATIONS)

    async def answered(
        request: Request, images: Sequence[object], *, explain: bool
    ) -> Sequence[Answered | AnsweredFilm]:
        """Answer in a thread; requests for heat maps, which are slow, keep no other waiting."""
        found = await (explaining if explain else answering).done(
            request,
            lambda abandoned: answers.answer(images, explain=explain, abandoned=abandoned),
            request_images.ANSWER_SECONDS,
        )
        metrics.count_images(found)
        return found

    async def invocations(request: Request) -> Response:
        with room.reserved() as take:
            body = await request_bodies.read(
                request, "application/json", request_images.BODY_BYTES, take
            )
            if len(body) <= request_bodies.BRIEF_BYTES:
                question = request_bodies.parse(body)
            else:
                question = await asyncio.to_thread(request_bodies.parse, body)
            del body
            found = await answered(request, question.images, explain=question.explain)
        return JSONResponse({"predictions": [each.as_json() for each in found]})

    async def image(request: Request) -> Response:
        with room.reserved() as take:
            content = await request_bodies.read(
                request, "application/octet-stream", request_images.FILE_BYTES, take
            )
            try:
                (found,) = await answered(request, [bytes(content)], explain=answers.explains)
            except RefusedError as reason:
                raise RefusedError(str(reason).removeprefix("image 1: ")) from None
        return JSONResponse(await asyncio.to_thread(_with_images, found))

    async def figures(request: Request) -> Response:
        await request_bodies.read(request)  # there must be none
        return Response(metrics.text(), media_type=MEDIA_TYPE)

    healthy = _fixed('{"status": "ok"}', "application/json")
    needs_token = rules.token_sha256 is not None
    routes = [
        *(Route(path, healthy) for path in PROBED),
        Route("/version", _fixed(json.dumps(answers.model), "application/json")),
        Route("/metrics", figures),
        Route("/invocations", invocations, methods=["POST"]),
        Route("/", _fixed(_page(answers, needs_token=needs_token), "text/html")),
        *(Route(path, _fixed(_file(file), kind)) for path, (file, kind) in PAGE.items()),
        Route("/image", image, methods=["POST"]),
    ]
    metrics = Metrics(answers.model, [route.path for route in routes])
    handlers = dict.fromkeys((HTTPException, RefusedError, Exception), _refusal)
    inner = Starlette(routes=routes, exception_handlers=handlers)
    inner.router.redirect_slashes = False
    return _guarded(inner, rules, metrics)


def _guarded(inner: ASGIApp, rules: Access, metrics: Metrics) -> ASGIApp:
    """Answer whoever may ask; set the headers of all answers, and count them."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        status, begun = 500, time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            refused = _refused(rules, scope)
            await (refused or inner)(scope, receive, send_with_headers)
        except Exception as error:  # answered with 500 already; what it says stays unsaid
            logger.error("no answer: %s", type(error).__name__)
        finally:
            metrics.count_request(scope["path"], status, time.perf_counter() - begun)

    return answer


def _refused(rules: Access, scope: Scope) -> Response | None:
    """Return the refusal of a request that may not be answered; None for any other."""
    try:
        rules.check(Headers(scope=scope), is_open=scope["path"] in OPEN)
    except HTTPException as refusal:
        return _error(refusal.status_code, refusal.detail, refusal.headers)
    return None


def _refusal(request: Request, error: Exception) -> Response:
    if isinstance(error, RefusedError):
        return _error(400, str(error))
    if isinstance(error, HTTPException):
        return _error(error.status_code, _message(request, error), error.headers)
    return _error(500, "the server failed; its log says why")


def _message(request: Request, error: HTTPException) -> str:
    """Return what is wrong and what to do; Starlette says the former alone."""
    if error.status_code == 404:
        return "no such address: try /invocations or /ping, with no slash at the end"
    if error.status_code == 405:  # the address is one of ours
        methods = sorted((error.headers or {})["Allow"].split(", "))
        return f"use {' or '.join(methods)} for {request.url.path}"
    return error.detail


def _error(status: int, message: str, headers: Any = None) -> Response:
    return JSONResponse({"error": status, "message": message}, status, headers)


def _fixed(content: str | bytes, media_type: str) -> Endpoint:
    async def answer(request: Request) -> Response:
        await request_bodies.read(request)  # there must be none
        return Response(content, media_type=media_type)

    return answer


def _page(answers: GraphAnswers, *, needs_token: bool) -> str:
    level = answers.training.get("conformal", {}).get("level")
    return html.render(
        "serving/page/index.html",
        **answers.model,
        synthetic=synthetic_model.warning(answers.training),
        examples=EXAMPLES,
        explains=answers.explains,
        located="locate" in answers.training,
        needs_token=needs_token,
        notes=model_notes.notes(answers.training),
        level=f"{100 * level:g}" if level else "",
        largest_bytes=request_images.FILE_BYTES,
    )


def _with_images(found: Answered | AnsweredFilm) -> dict[str, Any]:
    """An answer with what the model saw, and a film at the size at which the page shows it."""
    if isinstance(found, Answered):
        return {**found.as_json(), "image": _png(found.pixels)}
    film = Image.fromarray(found.film)
    film.thumbnail((FILM_PIXELS, FILM_PIXELS), reducing_gap=2.0)
    knees = [_with_images(knee) for knee in found.answers]
    return {**found.as_json(), "knees": knees, "image": _png(np.asarray(film))}


def _file(name: str) -> bytes:
    return (resources.files("knee.serving") / "page" / name).read_bytes()


def _png(pixels: Pixels) -> str:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode("ascii")
