"""Work for clients: who left gets none, what is slow keeps nothing else waiting."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from knee.prediction import request_images
from knee.serving.application import application
from knee.serving.limited_work import LimitedWork
from tests.serving.asgi import ask
from tests.serving.stand_in import StandIn
from tests.serving.test_application import BODY, JSON

if TYPE_CHECKING:
    from knee.prediction.answers import Answers

EXPLAINED = json.dumps({**json.loads(BODY), "params": {"explain": True}}).encode()


def client(*, leaves: asyncio.Event) -> Request:
    async def receive() -> Any:
        await leaves.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "headers": []}, receive)


def test_work_of_a_client_that_left_is_told_so_and_what_waits_is_never_begun() -> None:
    begun: list[threading.Event] = []

    def work(abandoned: threading.Event) -> None:
        begun.append(abandoned)
        assert abandoned.wait(60)

    async def leave() -> None:
        limited = LimitedWork(1, 16)
        all_leave = [asyncio.Event() for _ in range(16)]
        all_work = [
            asyncio.ensure_future(limited.done(client(leaves=leaves), work, 60))
            for leaves in all_leave
        ]
        await asyncio.sleep(0.05)
        for leaves, each in reversed([*zip(all_leave, all_work, strict=True)]):
            leaves.set()
            with pytest.raises(HTTPException) as caught:
                await each
            assert caught.value.status_code == 499
        stays = client(leaves=asyncio.Event())
        assert await limited.done(stays, lambda _: "answer", 60) == "answer"

    asyncio.run(leave())
    assert len(begun) == 1


def test_a_place_is_free_again_only_when_its_work_has_ended() -> None:
    end = threading.Event()

    async def ask_twice() -> None:
        limited, stays = LimitedWork(1, 1), client(leaves=asyncio.Event())
        with pytest.raises(HTTPException) as late:
            await limited.done(stays, lambda _: end.wait(60), 0.01)
        assert late.value.status_code == 504
        with pytest.raises(HTTPException) as busy:
            await limited.done(stays, lambda _: None, 60)
        assert busy.value.status_code == 503
        assert int((busy.value.headers or {})["retry-after"]) > 0
        end.set()
        while True:
            try:
                assert await limited.done(stays, lambda _: 5, 60) == 5
            except HTTPException:
                await asyncio.sleep(0.01)
            else:
                break

    asyncio.run(ask_twice())


def test_an_error_of_the_work_is_its_clients() -> None:
    def fail(_: threading.Event) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(LimitedWork(1, 1).done(client(leaves=asyncio.Event()), fail, 60))


class Slow(StandIn):
    """Draws no heat map before `end`."""

    def __init__(self) -> None:
        super().__init__()
        self.end = threading.Event()

    def answer(self, images: list[object], *, explain: bool, abandoned: threading.Event) -> Any:
        if explain:
            assert self.end.wait(60)
        return super().answer(images, explain=explain, abandoned=abandoned)


def test_a_plain_image_does_not_wait_for_heat_maps_and_of_these_few_wait() -> None:
    slow = Slow()
    served = application(cast("Answers", slow))
    found: list[tuple[int, dict[str, str], bytes]] = []

    def explain() -> None:
        found.append(ask(served, "/invocations", "POST", JSON, [EXPLAINED]))

    threads = [threading.Thread(target=explain) for _ in range(request_images.EXPLANATIONS + 3)]
    for thread in threads:
        thread.start()
    for thread in threads[:3]:
        while len(found) < 3 and thread.is_alive():
            thread.join(0.01)
    assert [(answer[0], answer[1]["retry-after"]) for answer in found] == [(503, "2")] * 3
    assert ask(served, "/invocations", "POST", JSON, [BODY])[0] == 200
    slow.end.set()
    for thread in threads:
        thread.join()
    assert sorted(answer[0] for answer in found) == [200] * request_images.EXPLANATIONS + [503] * 3
