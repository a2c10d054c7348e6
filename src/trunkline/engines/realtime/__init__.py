"""Speech-to-speech engines that speak the OpenAI Realtime protocol (GA) over a WebSocket."""

from trunkline.engines.contract import EngineFactory, EngineSession, EngineSink
from trunkline.engines.realtime.dialect import RealtimeDialect
from trunkline.engines.realtime.settings import DEFAULT_MODEL, DEFAULT_URL, RealtimeSettings, socket_spec
from trunkline.engines.socket import DEFAULT_READY_TIMEOUT_MS, SocketEngineSession
from trunkline.model import Clock, Secret
from trunkline.telephony.media.port import EnginePort


def realtime_engine(
    *,
    url: str = DEFAULT_URL,
    model: str = DEFAULT_MODEL,
    api_key: Secret[str] | None = None,
    settings: RealtimeSettings | None = None,
    ready_timeout_ms: int = DEFAULT_READY_TIMEOUT_MS,
    ca_file: str | None = None,
) -> EngineFactory:
    """A factory of sessions with one engine. ``api_key`` None suits local servers that ask for none."""
    chosen = settings or RealtimeSettings()
    spec = socket_spec(
        url=url,
        model=model,
        api_key=api_key,
        settings=chosen,
        ca_file=ca_file,
        connect_timeout_ms=ready_timeout_ms,
    )

    def open_session(*, port: EnginePort, sink: EngineSink, clock: Clock) -> EngineSession:
        return SocketEngineSession(
            port=port,
            sink=sink,
            clock=clock,
            dialect=RealtimeDialect(chosen),
            spec=spec,
            ready_timeout_ms=ready_timeout_ms,
        )

    return open_session


__all__ = ["DEFAULT_MODEL", "DEFAULT_URL", "RealtimeSettings", "realtime_engine"]
