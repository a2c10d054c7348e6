"""What the demonstration asks the server, against a server that answers what the test says."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from trunkline.demo.server import ServerView
from trunkline.demo.waterfall import Entry
from trunkline.model import MS, LocalError
from trunkline.runtime.clock import RealClock

Answers = dict[str, tuple[int, Any]]
LOG = Path("server.log")


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answers], Any]]:
    runners: list[web.AppRunner] = []

    async def start(answers: Answers) -> str:
        async def answer(request: web.Request) -> web.Response:
            status, body = answers[request.path]
            return web.json_response(body, status=status)

        app = web.Application()
        app.router.add_get("/{tail:.*}", answer)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_the_newest_call_with_its_timeline(serve: Any) -> None:
    call = {
        "id": "call-1",
        "outcome": {"result": "success"},
        "recordings": ["recordings/call-1.wav"],
        "timeline": [{"seq": 1, "at_ms": 12.5, "kind": "answered", "data": {"setup_ms": 3}}],
    }
    url = await serve({"/api/calls": (200, {"calls": [{"id": "call-1"}]}), "/api/calls/call-1": (200, call)})
    async with ServerView(url, log=LOG) as api:
        view = await api.newest_call()
    assert view is not None
    assert view.over
    assert view.timeline == (Entry(round(12.5 * MS), "answered", {"setup_ms": 3}),)
    assert view.recordings == ("recordings/call-1.wav",)


async def test_no_call_yet(serve: Any) -> None:
    async with ServerView(await serve({"/api/calls": (200, {"calls": []})}), log=LOG) as api:
        assert await api.newest_call() is None


async def test_health_and_what_is_wrong(serve: Any) -> None:
    answers: Answers = {"/healthz": (200, {"status": "ok", "calls": 2})}
    async with ServerView(await serve(answers), log=LOG) as api:
        await api.well(RealClock(), within_s=1)
        assert await api.healthy() == (True, 2)
        answers["/healthz"] = (503, {"status": "failing", "calls": 0, "parts": {"sip": {"ok": False}}})
        assert await api.healthy() == (False, 0)
        with pytest.raises(LocalError, match=r"the server is not well: .*sip"):
            await api.well(RealClock(), within_s=0.1)


async def test_a_server_that_is_gone_is_one_sentence_with_its_log(serve: Any) -> None:
    async with ServerView("http://127.0.0.1:9", log=LOG) as api:
        with pytest.raises(
            LocalError, match=r"the server does not answer at http://127.0.0.1:9: .*server\.log"
        ):
            await api.healthy()
