"""``trunkline serve`` for the bench, with raw PCM in binary messages instead of JSON where that is asked for.

Everything is the house of ``runtime.compose``; only the engine's socket is opened in another wire profile. The control
messages of the Realtime dialect go over the same socket as text.
"""

import argparse
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from trunkline.config import Config, load_config
from trunkline.runtime import loop
from trunkline.runtime.checks import room_checks
from trunkline.runtime.clock import RealClock
from trunkline.runtime.compose import House, MediaHouse, native_media
from trunkline.runtime.console import print_json
from trunkline.runtime.logs import set_up
from trunkline.runtime.serve import Phase, Signals, serve
from trunkline.telephony.media.port import MediaFactory, MediaPort, SocketSpec, WireProfile

RATE = 16_000


class BinaryPort:
    """A media port whose engine socket speaks binary PCM; all else is the real port's."""

    def __init__(self, port: MediaPort) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def open_socket(self, spec: SocketSpec) -> None:
        """Open it at the echo engine's PCM path."""
        host = spec.url.split("/realtime")[0]
        self._port.open_socket(
            dataclasses.replace(
                spec,
                url=f"{host}/pcm?rate={RATE}",
                profile=WireProfile.BINARY,
                up_rate=RATE,
                down_rate=RATE,
                up_encoding="pcm16",
                down_encoding="pcm16",
            )
        )


class BinaryFactory:
    """Opens such ports."""

    def __init__(self, factory: MediaFactory) -> None:
        self._factory = factory

    async def open(self, name: str) -> MediaPort:
        """A new session with free ports."""
        return cast(MediaPort, BinaryPort(await self._factory.open(name)))


@asynccontextmanager
async def binary_media(config: Config) -> AsyncIterator[MediaHouse]:
    """The native media core behind binary ports."""
    async with native_media(config) as media:
        yield dataclasses.replace(media, factory=BinaryFactory(media.factory))


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--profile", choices=["json", "binary"], default="json")
    options = parser.parse_args()
    clock = RealClock()
    config = load_config(options.config, checks=room_checks())
    logging = config.root.server.logging
    set_up(clock=clock, level=logging.level.value, lines_per_second=logging.lines_per_second)

    def announce(phase: Phase, _: House) -> None:
        print_json({"event": phase.value}, line=True)

    async def serving() -> None:
        signals = Signals()
        with signals.installed():
            media = binary_media if options.profile == "binary" else native_media
            await serve(config, clock=clock, open_media=media, announce=announce, signals=signals)

    loop.run(serving())


if __name__ == "__main__":
    main()
