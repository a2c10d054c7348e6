"""SIPp: one scenario file against one SIP address, with its own message trace in the log folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from trunkline.model import Clock
from trunkline.testing.peers.program import Program, free_port, free_ports


class Sipp(Program):
    """SIPp running ``scenario`` for ``calls`` calls against ``remote`` (``host:port``).

    ``values`` replace ``@name@`` in the scenario. The exit code is 0 only when every call matched.
    """

    def __init__(
        self,
        scenario: Path,
        remote: str,
        *,
        folder: Path,
        clock: Clock,
        service: str = "1000",
        calls: int = 1,
        rate: float = 10,
        timeout_s: int = 30,
        transport: str = "u1",
        values: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.sip_port = free_port()
        self.messages = folder / f"{scenario.stem}.messages"
        self._errors = folder / f"{scenario.stem}.errors"
        self._timeout_s = timeout_s
        settings = {
            "-sf": self._filled(scenario, values or {}),
            "-s": service,
            "-m": calls,
            "-r": rate,
            "-l": min(calls, 50),
            "-t": transport,
            "-i": "127.0.0.1",
            "-p": self.sip_port,
            "-mp": free_ports(4),
            "-cp": free_port(),
            "-timeout": f"{timeout_s}s",
            "-recv_timeout": 1000 * timeout_s,
            "-error_file": self._errors,
            "-message_file": self.messages,
        }
        arguments = [str(part) for option in settings.items() for part in option]
        super().__init__(
            ["sipp", remote, *arguments, "-timeout_error", "-nostdin", "-trace_err", "-trace_msg", *options],
            log=folder / f"{scenario.stem}.log",
            clock=clock,
            folder=folder,
            environment={"TERM": "dumb"},
        )

    def _filled(self, scenario: Path, values: Mapping[str, str]) -> Path:
        text = scenario.read_bytes()
        for name, value in values.items():
            text = text.replace(f"@{name}@".encode(), value.encode())
        self.folder.mkdir(parents=True, exist_ok=True)
        filled = self.folder.absolute() / scenario.name
        filled.write_bytes(text)
        return filled

    async def passed(self) -> None:
        """Wait for the end; fails with SIPp's own words when a call did not match the scenario."""
        code = await self.finished(within_s=self._timeout_s + 10)
        if code != 0:
            errors = self._errors.read_text(errors="replace") if self._errors.exists() else ""
            raise self.failed(f"failed with code {code}:\n{errors[-4000:]}\n{self.trace()[-6000:]}")

    def trace(self) -> str:
        """Every message sent and received."""
        return self.messages.read_text(encoding="latin-1") if self.messages.exists() else ""
