"""A page for one film at a time: drop it, see what the model says, and where it looked.

The film is one request's body: it is decoded in memory, and neither written nor logged.
"""

from __future__ import annotations

import base64
import io
from importlib import resources
from typing import Any, Final

from knee.prediction import request_limits
from knee.prediction.answers import Answered, Answers, notes
from knee.prediction.films import RefusedError
from knee.serving.guard import REFUSED, Guard, Route
from knee.storage.arrays import Pixels

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-frame-options": "DENY",
}
ROUTES: Final = {
    "/": Route(),
    "/style.css": Route(),
    "/script.js": Route(),
    "/film": Route("POST", "application/octet-stream", request_limits.FILM_BYTES),
}


def application(answers: Answers) -> Guard:
    """The page's ASGI application, behind its guard."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route as Path

    html, style, script = _page(answers), _file("style.css"), _file("script.js")

    async def index(_request: Request) -> Response:
        return HTMLResponse(html)

    async def styles(_request: Request) -> Response:
        return Response(style, media_type="text/css")

    async def scripts(_request: Request) -> Response:
        return Response(script, media_type="text/javascript")

    async def film(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        content = await request.body()
        try:
            (answered,) = await run_in_threadpool(answers.answer, [content], explain=True)
        except RefusedError as reason:
            said = str(reason).removeprefix("image 1: ")
            return JSONResponse({"message": said, REFUSED: True}, status_code=400)
        return JSONResponse(_shown(answered))

    pages = [
        Path("/", index),
        Path("/style.css", styles),
        Path("/script.js", scripts),
        Path("/film", film, methods=["POST"]),
    ]
    return Guard(Starlette(routes=pages), ROUTES, HEADERS)


def _shown(answered: Answered) -> dict[str, Any]:
    return {**answered.as_json(), "film": base64.b64encode(_png(answered.film)).decode("ascii")}


def _png(film: Pixels) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(film).save(content, format="PNG")
    return content.getvalue()


def _page(answers: Answers) -> str:
    import jinja2

    page = jinja2.Environment(autoescape=True).from_string(_file("index.html"))
    level = answers.facts.get("conformal", {}).get("level")
    return page.render(
        **answers.model,
        notes=notes(answers.facts),
        level=f"{100 * level:g}" if level else "",
        largest_bytes=request_limits.FILM_BYTES,
    )


def _file(name: str) -> str:
    return (resources.files("knee.serving") / "page" / name).read_text(encoding="utf-8")
