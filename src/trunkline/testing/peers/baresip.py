"""baresip, a real softphone without a sound card: speaks a WAV file and records what it hears."""

from pathlib import Path

from trunkline.model import Clock
from trunkline.testing.peers.program import Program, ProgramFailed, free_ports

CONFIG = """sip_listen 127.0.0.1:{sip_port}
rtp_ports {rtp_first}-{rtp_last}
audio_path /nonexistent
audio_source aufile,{say}
audio_srate 8000
audio_channels 1
snd_path {recordings}
call_local_timeout 60
call_max_calls 2
module_path {modules}
module stdio.so
module g711.so
module aufile.so
module sndfile.so
module_tmp account.so
module_app menu.so
"""


class Baresip(Program):
    """One baresip that dials ``target`` once. ``say`` is a mono WAV file of 8000 Hz."""

    def __init__(
        self, target: str, *, say: Path, folder: Path, seconds: int, clock: Clock, transport: str = "udp"
    ) -> None:
        self.folder = folder
        # TLS takes the port after SIP's, whether it is wanted or not.
        self.sip_port = free_ports(2)
        self._say = say
        super().__init__(
            [
                "baresip",
                "-4",
                "-f",
                folder,
                "-t",
                str(seconds),
                "-e",
                f"/dial {target};transport={transport}",
            ],
            log=folder / "baresip.log",
            clock=clock,
        )

    async def start(self) -> None:
        """Write the configuration and start; the call begins at once."""
        rtp = free_ports(20)
        modules = next(
            (
                path
                for path in (Path("/usr/lib/baresip/modules"), Path("/usr/local/lib/baresip/modules"))
                if path.exists()
            ),
            None,
        )
        if modules is None:
            raise ProgramFailed("baresip's modules were not found")
        self.folder.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(
            sip_port=self.sip_port,
            rtp_first=rtp,
            rtp_last=rtp + 19,
            say=self._say,
            recordings=self.folder,
            modules=modules,
        )
        (self.folder / "config").write_text(text)
        (self.folder / "accounts").write_text(
            f'"Bär" <sip:baresip@127.0.0.1:{self.sip_port}>;regint=0;audio_codecs=PCMU,PCMA\n',
            encoding="utf-8",
        )
        (self.folder / "contacts").write_text("")
        await super().start()

    def heard(self) -> Path:
        """The recording of what the far end said."""
        found = sorted(self.folder.glob("dump-*-dec.wav"))
        if not found:
            raise self.failed("recorded nothing")
        return found[-1]
