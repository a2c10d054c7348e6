"""``trunkline engine-sim``: the server side of an AI engine, scripted, for tests without internet or a key."""

import asyncio
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.model import Missing, Secret
from trunkline.runtime import loop
from trunkline.runtime.clock import RealClock
from trunkline.runtime.console import err, out, print_json
from trunkline.runtime.logs import set_up
from trunkline.runtime.serve import Signals

if TYPE_CHECKING:
    from trunkline.engines.realtime.simulator import Conversation, Voice

DEFAULT_VOICE = "slt"


class Dialect(StrEnum):
    """Engines that can be played."""

    OPENAI = "openai"


def command(
    dialect: Annotated[Dialect, typer.Argument(help="Engine to play: openai (the Realtime protocol).")],
    script: Annotated[
        Path | None,
        typer.Option(help="What it says and does (YAML); without: a short default.", show_default=False),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 lets the system choose.", min=0, max=65535)
    ] = 8765,
    voice: Annotated[
        str, typer.Option(help="Voice it speaks with; babble: no speech library is needed.")
    ] = DEFAULT_VOICE,
    api_key: Annotated[
        str,
        typer.Option(help="Refuse clients with another key.", envvar="ENGINE_SIM_KEY", show_default=False),
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Report what happens as JSON, one object a line.")
    ] = False,
) -> None:
    """Play an AI engine, for development and tests without internet and key.

    Speaks the server side of the engine's protocol: sessions, turns by voice activity, scripted answers with
    audio, tool calls, interruption. It understands nothing: what it says is in the script. Stops on Ctrl-C.

    **Examples**

    `trunkline engine-sim openai --port 8765`

    `trunkline engine-sim openai --script answers.yaml --voice babble --json`

    In the configuration of `trunkline serve`: `engines: {sim: {kind: realtime, url: "ws://127.0.0.1:8765/v1/realtime", model: sim}}`
    """
    assert dialect is Dialect.OPENAI, "the only one there is"
    clock = RealClock()
    set_up(clock=clock, level="warning", lines_per_second=100)
    loop.run(_openai(clock, script, host, port, _voice(voice), Secret(api_key) if api_key else None, as_json))


async def _openai(
    clock: RealClock,
    script: Path | None,
    host: str,
    port: int,
    voice: "Voice | None",
    api_key: Secret[str] | None,
    as_json: bool,
) -> None:
    from trunkline.engines.realtime.simulator import DEFAULT_SCRIPT, Simulator, load_script

    def session_ended(conversation: "Conversation") -> None:
        facts = {
            "turns": conversation.turns_played,
            "caller_audio_ms": round(conversation.audio_ms),
            "problems": conversation.problems,
        }
        if as_json:
            print_json({"event": "session", **facts}, line=True)
        else:
            out().print(f"session: {facts['turns']} turns, {facts['caller_audio_ms']} ms of caller audio")
            for problem in conversation.problems:
                err().print(f"  [yellow]{problem}[/]", markup=True)

    spoken = DEFAULT_SCRIPT if script is None else load_script(script)
    simulator = Simulator(
        spoken, clock=clock, host=host, port=port, voice=voice, api_key=api_key, on_session=session_ended
    )
    signals = Signals()
    with signals.installed():
        async with simulator:
            if as_json:
                print_json({"event": "listening", "url": simulator.url}, line=True)
            else:
                out().print(
                    f"[bold green]Playing {Dialect.OPENAI.value}[/] at {simulator.url}. Stop with Ctrl-C."
                )
            await signals.drain.wait()
    await asyncio.get_running_loop().shutdown_default_executor()


def _voice(name: str) -> "Voice | None":
    if name == "babble":
        return None
    try:
        from trunkline.engines.local.voice import VOICES, Flite
        from trunkline.engines.local.voice.normalise import normalise, sentences

        library = Flite()
    except Missing as absent:
        err().print(f"no voice, babbling instead: {absent}", style="yellow", markup=False)
        return None
    if name not in VOICES:
        raise typer.BadParameter(f"use one of {', '.join(VOICES)}, or babble", param_hint="--voice")

    @lru_cache(maxsize=64)
    def say(text: str) -> tuple[bytes, int]:
        pieces: list[bytes] = []
        rates: set[int] = set()

        def on_audio(pcm: bytes, rate: int) -> bool:
            pieces.append(pcm)
            rates.add(rate)
            return True

        for sentence in sentences(normalise(text)):
            library.synthesise(sentence, name, on_audio)
        return b"".join(pieces), rates.pop() if rates else 16000

    return say
