"""``trunkline serve`` as a process: what it prints, how it stops, what it says when it cannot start."""

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 60

DOCUMENT = """\
version: 1
server:
  sip: {port: SIP}
  media: {ports: 31000-31099}
  http: {port: HTTP}
trunks: [{name: pbx, sources: ["127.0.0.0/8"]}]
engines: {sim: {kind: realtime, url: "ws://127.0.0.1:1/x", model: m}}
queues: {desk: {target: "sip:desk@127.0.0.1"}}
agents: {a: {engine: sim, queues: [desk]}}
routes: [{name: r, agent: a}]
"""


class Server:
    """A process under test."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def event(self) -> dict[str, Any]:
        """The next thing it reports."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            line = await self.process.stdout.readline()
        if not line:
            pytest.fail(f"it ended: {(await self.errors())!r}")
        return json.loads(line)  # type: ignore[no-any-return]

    async def errors(self) -> str:
        assert self.process.stderr is not None
        async with asyncio.timeout(LIMIT_S):
            return (await self.process.stderr.read()).decode()

    async def code(self) -> int:
        async with asyncio.timeout(LIMIT_S):
            return await self.process.wait()


class Servers:
    """Starts processes; ends those that are left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Server] = []

    async def serve(self, *, sip: int = 0, http: int = 0) -> Server:
        """``trunkline serve`` with these ports, all in one directory."""
        file = self._folder / "trunkline.yaml"
        file.write_text(DOCUMENT.replace("SIP", str(sip)).replace("HTTP", str(http)))
        return await self.run("serve", "--config", str(file), "--json")

    async def run(self, *arguments: str) -> Server:
        """``trunkline`` with these arguments."""
        program = "from trunkline.runtime.cli import main; main()"
        command = (sys.executable, "-c", program, *arguments)
        server = Server(await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE))
        self._running.append(server)
        return server

    async def stop(self) -> None:
        for server in self._running:
            if server.process.returncode is None:
                server.process.kill()
            await server.process.communicate()


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    servers = Servers(tmp_path)
    yield servers
    await servers.stop()


async def _get(url: str, path: str) -> bytes:
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_listens_and_stops_when_told(servers: Servers, number: signal.Signals) -> None:
    server = await servers.serve()
    listening = await server.event()
    assert listening["event"] == "listening"
    assert [address.split(":")[0] for address in listening["sip"]] == ["udp", "tcp"]
    assert b"200 OK" in await _get(listening["http"], "/healthz")
    server.process.send_signal(number)
    assert [(await server.event())["event"] for _ in range(3)] == ["draining", "ending", "stopped"]
    assert await server.code() == 0
    assert "Traceback" not in await server.errors()


async def test_it_answers_options(servers: Servers) -> None:
    server = await servers.serve()
    listening = await server.event()
    port = int(listening["sip"][0].rpartition(":")[2])
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.setblocking(False)
        phone.bind(("127.0.0.1", 0))
        own = phone.getsockname()[1]
        request = (
            f"OPTIONS sip:ping@127.0.0.1:{port} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKoptions1;rport\r\n"
            f"From: <sip:ping@127.0.0.1>;tag=1\r\nTo: <sip:ping@127.0.0.1>\r\n"
            f"Call-ID: options-1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        await loop.sock_sendto(phone, request.encode(), ("127.0.0.1", port))
        async with asyncio.timeout(LIMIT_S):
            answer = await loop.sock_recv(phone, 4096)
    assert answer.startswith(b"SIP/2.0 200 ")


@pytest.mark.parametrize("what", ["sip", "http"])
async def test_a_busy_port_is_one_sentence_and_exit_code_1(servers: Servers, what: str) -> None:
    kind = socket.SOCK_DGRAM if what == "sip" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if what == "http":
            taken.listen()
        server = await servers.serve(**{what: taken.getsockname()[1]})
        assert await server.code() == 1
    said = await server.errors()
    assert said.startswith("error: ")
    assert f"server.{what}.port" in said
    assert len(said.strip().splitlines()) == 1


async def test_the_second_server_of_a_data_directory_is_refused(servers: Servers) -> None:
    first = await servers.serve()
    await first.event()
    second = await servers.serve()
    assert await second.code() == 1
    assert "in use by another process" in await second.errors()


async def test_the_simulated_engine_as_a_process(servers: Servers) -> None:
    engine = await servers.run("engine-sim", "openai", "--port", "0", "--voice", "babble", "--json")
    listening = await engine.event()
    assert listening["event"] == "listening"
    assert listening["url"].startswith("ws://127.0.0.1:")
    engine.process.send_signal(signal.SIGINT)
    assert await engine.code() == 0
    assert "Traceback" not in await engine.errors()


async def test_a_script_with_a_mistake_is_exit_code_2(servers: Servers, tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("version: 1\nturns:\n  - {sai: hello}\n")
    engine = await servers.run("engine-sim", "openai", "--script", str(script), "--port", "0")
    assert await engine.code() == 2
    assert f"{script}:3: turns.0" in await engine.errors()
