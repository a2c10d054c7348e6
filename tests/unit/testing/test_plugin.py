"""The leak check, judged by what a pytest run with it says of leaking tests."""

import pytest

pytest_plugins = ["pytester"]

LEAKS = """
import asyncio, os, socket, threading
import pytest

keep = []

async def test_task():
    keep.append(asyncio.create_task(asyncio.Event().wait()))

def test_socket():
    keep.append(socket.socket())

def test_pipe():
    keep.append(os.pipe())

stop = threading.Event()

def test_thread():
    threading.Thread(target=stop.wait, name="lost").start()

@pytest.mark.allow_leaks("kept for the next test on purpose")
def test_excused():
    keep.append(socket.socket())

@pytest.mark.allow_leaks("")
def test_excused_without_reason():
    pass

@pytest.fixture(scope="module")
def shared():
    with socket.socket() as owned:
        yield owned

def test_first_user_of_a_shared_fixture(shared):
    pass

@pytest.fixture
async def server():
    task = asyncio.create_task(asyncio.Event().wait())
    yield task
    task.cancel()

async def test_with_a_task_that_a_fixture_owns(server):
    assert not server.done()

async def test_clean():
    with socket.socket():
        await asyncio.gather(asyncio.to_thread(int))

def test_last():
    stop.set()
    for each in keep:
        if isinstance(each, socket.socket):
            each.close()
        elif isinstance(each, tuple):
            os.close(each[0]), os.close(each[1])
"""


def run(pytester: pytest.Pytester, request: pytest.FixtureRequest, *, checked: bool) -> pytest.RunResult:
    pytester.makepyfile(test_leaks=LEAKS)
    registered = request.config.pluginmanager.has_plugin("trunkline")
    plugin = () if registered else ("-p", "trunkline.testing.plugin")
    quiet = ("-p", "no:randomly", "-p", "no:cacheprovider", "-W", "ignore", "-rE")
    mode = ("-o", "asyncio_mode=auto", "-o", f"trunkline_leak_check={checked}")
    return pytester.runpytest_subprocess(*plugin, *quiet, *mode)


def test_leaks_are_errors(pytester: pytest.Pytester, request: pytest.FixtureRequest) -> None:
    result = run(pytester, request, checked=True)
    lines = "\n".join(result.outlines)
    for leaker in ("test_task", "test_socket", "test_pipe", "test_thread", "test_excused_without_reason"):
        assert f"ERROR test_leaks.py::{leaker} " in lines
    assert lines.count("ERROR test_leaks.py::") == 5, lines
    assert "tasks: " in lines
    assert "Event.wait" in lines
    assert "descriptors: " in lines
    assert "threads: lost" in lines
    result.assert_outcomes(passed=9, errors=5)


def test_other_suites_are_left_alone(pytester: pytest.Pytester, request: pytest.FixtureRequest) -> None:
    result = run(pytester, request, checked=False)
    result.assert_outcomes(passed=9, errors=1)
    assert "allow_leaks needs a reason" in "\n".join(result.outlines)
