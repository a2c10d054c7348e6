"""A real Asterisk from a Debian tree of its own, configured for one test and stopped with it."""

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trunkline.model import Clock
from trunkline.testing.peers.program import Program, free_port, free_ports

RTP_PORTS: Final = 40

MODULES: Final = """
res_timing_timerfd res_sorcery_config res_sorcery_memory res_sorcery_astdb res_pjproject
res_pjsip res_pjsip_session res_pjsip_sdp_rtp res_pjsip_caller_id res_pjsip_pubsub res_pjsip_refer res_pjsip_rfc3326
res_pjsip_dtmf_info res_pjsip_endpoint_identifier_ip res_pjsip_endpoint_identifier_user
res_rtp_asterisk chan_pjsip bridge_simple bridge_native_rtp bridge_softmix bridge_builtin_features
codec_ulaw codec_alaw codec_a_mu codec_resample format_wav format_pcm format_sln
app_dial app_playback app_record app_mixmonitor app_verbose app_stack app_echo
func_channel func_callerid pbx_config res_clioriginate
"""
"""What a SIP trunk with speech needs and nothing else: it starts in about a second."""

EMPTY: Final = """
acl ccss cdr cel codecs dsp features http indications manager musiconhold pjproject sorcery stasis udptl
"""
"""Files that Asterisk looks for and that may be empty."""


class Asterisk(Program):
    """Asterisk with ``pjsip.conf`` and ``extensions.conf`` given by the test.

    In the texts, ``{sip_port}`` is the SIP port (UDP and TCP on 127.0.0.1), ``{here}`` the folder (inside the
    tree) that holds sounds and recordings. Needs root, because it enters the tree with chroot.
    """

    def __init__(
        self, tree: Path, *, pjsip: str, extensions: str, log: Path, clock: Clock, sip_port: int | None = None
    ) -> None:
        self._tree = tree
        self._inside = Path("/run") / f"trunkline-{secrets.token_hex(6)}"
        self.sip_port = sip_port or free_port()
        self._commands = 0
        self._texts = {"pjsip": pjsip, "extensions": extensions}
        super().__init__(
            ["chroot", tree, "asterisk", "-f", "-C", self._inside / "asterisk.conf"], log=log, clock=clock
        )

    @property
    def folder(self) -> Path:
        """The test's folder inside the tree, seen from outside."""
        return self._tree / self._inside.relative_to("/")

    def sound(self, name: str) -> Path:
        """Where a mono WAV file of 8000 Hz must be put for ``Playback({here}/NAME)``."""
        return self.folder / f"{name}.wav"

    def recording(self, name: str) -> Path:
        """Where ``MixMonitor({here}/NAME.wav)`` writes to."""
        return self.folder / f"{name}.wav"

    def lay_out(self) -> None:
        """Make the folder, so that sounds can be put there before the start."""
        for part in ("run", "log", "spool", "lib"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)

    async def start(self) -> None:
        """Write the configuration, start, and wait until Asterisk is ready."""
        self.lay_out()
        for name, text in self._configuration().items():
            (self.folder / f"{name}.conf").write_text(text)
        await super().start()
        await self.printed(r"^Asterisk Ready", within_s=30)

    async def stop(self, *, grace_s: float = 5) -> None:
        """Stop and remove the test's folder."""
        await super().stop(grace_s=grace_s)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def command(self, text: str) -> str:
        """Run a console command, for example ``core show channels``."""
        self._commands += 1
        console = Program(
            ["chroot", self._tree, "asterisk", "-C", self._inside / "asterisk.conf", "-rx", text],
            log=self.log.with_name(f"console-{self._commands}.log"),
            clock=self.clock,
        )
        async with console:
            code = await console.finished(within_s=20)
        said = console.output()
        if code or said.startswith("No such command"):
            raise self.failed(f"refused {text!r}: {said}")
        return said

    def _configuration(self) -> Mapping[str, str]:
        rtp = free_ports(RTP_PORTS)
        (module_folder,) = self._tree.glob("usr/lib/*/asterisk/modules")
        here = self._inside
        known = {
            "asterisk": f"""[directories]
astetcdir => {here}
astmoddir => /{module_folder.relative_to(self._tree)}
astvarlibdir => /var/lib/asterisk
astdbdir => {here}/lib
astkeydir => {here}/lib
astdatadir => /usr/share/asterisk
astagidir => /usr/share/asterisk/agi-bin
astspooldir => {here}/spool
astrundir => {here}/run
astlogdir => {here}/log
[options]
verbose = 4
nocolor = yes
""",
            "logger": "[general]\n[logfiles]\nconsole => notice,warning,error,verbose\n",
            "modules": "[modules]\nautoload=no\n" + "".join(f"load={name}.so\n" for name in MODULES.split()),
            "rtp": f"[general]\nrtpstart={rtp}\nrtpend={rtp + RTP_PORTS - 1}\n",
        }
        for name, text in self._texts.items():
            known[name] = text.replace("{sip_port}", str(self.sip_port)).replace("{here}", str(here))
        return {**dict.fromkeys(EMPTY.split(), ""), **known}
