"""The pytest plugin that Trunkline ships: fixtures, and a leak check after every test.

With ``trunkline_leak_check = true`` in pytest's configuration nothing that a test created may be left once its own
fixtures are gone: no asyncio task, no descriptor (socket, pipe, file), no thread. What fixtures of a wider scope
create while a test sets them up is theirs. A test that must leave something behind says why:
``@pytest.mark.allow_leaks("reason")``. Without the setting other people's suites are left alone.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
import pytest_asyncio

from trunkline.testing.clock import VirtualClock
from trunkline.testing.leaks import Holdings, other_tasks
from trunkline.testing.loop import settle
from trunkline.testing.media import FakeMediaFactory

_BASELINE = pytest.StashKey[Holdings]()
_ADOPTED = pytest.StashKey["_Adopted"]()


class _Adopted:
    """What fixtures of a wider scope hold."""

    def __init__(self) -> None:
        self.descriptors: set[tuple[int, str]] = set()
        self.threads: set[threading.Thread] = set()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the setting."""
    parser.addini(
        "trunkline_leak_check", "fail tests that leave tasks, descriptors or threads", "bool", default=False
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "allow_leaks(reason): the test leaves tasks, descriptors or threads behind, and says why"
    )
    config.stash[_ADOPTED] = _Adopted()


def _excused(item: pytest.Item) -> bool:
    return (
        not item.config.getini("trunkline_leak_check") or item.get_closest_marker("allow_leaks") is not None
    )


def _require_reason(item: pytest.Item) -> None:
    marker = item.get_closest_marker("allow_leaks")
    if marker is None:
        return
    if not (marker.args and isinstance(marker.args[0], str) and marker.args[0].strip()):
        pytest.fail("allow_leaks needs a reason: @pytest.mark.allow_leaks('why')", pytrace=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Look at what the process holds before anything of the test exists."""
    item.stash[_BASELINE] = Holdings.now()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Credit what a fixture of a wider scope opens to the fixture."""
    if fixturedef.scope == "function":
        return (yield)
    before = Holdings.now()
    try:
        return (yield)
    finally:
        after, adopted = Holdings.now(), request.config.stash[_ADOPTED]
        adopted.descriptors |= after.descriptors - before.descriptors
        adopted.threads |= set(after.threads) - set(before.threads)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Fail the test that left something behind."""
    result = yield
    baseline = item.stash.get(_BASELINE, None)
    if baseline is None or _excused(item):
        return result
    adopted = item.config.stash[_ADOPTED]
    threads = baseline.new_threads(adopted.threads)
    descriptors = baseline.new_descriptors(adopted.descriptors)
    if threads or descriptors:
        pytest.fail(_complaint(threads=threads, descriptors=descriptors), pytrace=False)
    return result


def _complaint(**left: list[str]) -> str:
    lines = [f"  {what}: {', '.join(names)}" for what, names in left.items() if names]
    return "the test left something behind:\n" + "\n".join(lines)


@pytest.fixture(autouse=True)
def _no_leaked_tasks(request: pytest.FixtureRequest) -> None:
    """Check asyncio tasks of asynchronous tests, inside their loop, after all their other fixtures."""
    _require_reason(request.node)
    function = getattr(request, "function", None)
    if function is not None and _is_async(function) and not _excused(request.node):
        request.getfixturevalue("_task_check")


def _is_async(function: object) -> bool:
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return inspect.iscoroutinefunction(inner)


@pytest_asyncio.fixture
async def _task_check() -> AsyncIterator[None]:
    known = asyncio.all_tasks()
    yield
    if not other_tasks(known):
        return
    await settle()
    left = other_tasks(known)
    if left:
        pytest.fail(_complaint(tasks=left), pytrace=False)


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that jumps to the next deadline whenever every task waits."""
    return VirtualClock()


@pytest.fixture
def fake_media(virtual_clock: VirtualClock) -> Iterator[FakeMediaFactory]:
    """A media factory on the virtual clock; the test must close every port it opened."""
    factory = FakeMediaFactory(virtual_clock)
    yield factory
    if factory.open_ports:
        pytest.fail(_complaint(media_ports=[p.name for p in factory.open_ports.values()]), pytrace=False)
