"""The configuration document, section by section: names, bounds and defaults of every setting.

Owns what a setting is called, what it may hold and what it means. Refuses to start anything or to know what
a room's own document (dialogue, mapping, a connector's ``settings``) contains: those rooms check them.
Descriptions are shown in the JSON Schema and in ``docs/reference/configuration.md``.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from trunkline.config.fields import (
    Host,
    Name,
    Network,
    PhoneUri,
    Port,
    PortRange,
    SecretRef,
    SocketUrl,
    Strict,
)
from trunkline.config.patterns import DnisPattern


class Transport(StrEnum):
    """Transports SIP is served on."""

    UDP = "udp"
    TCP = "tcp"


class Codec(StrEnum):
    """Codecs an agent may be reached with, by their SDP names."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    L16 = "L16"


class Strangers(StrEnum):
    """What an INVITE from no trunk's network is answered with."""

    REJECT = "reject"
    SILENCE = "silence"


class DtmfMode(StrEnum):
    """How digits are sent to a trunk; received ones are understood either way."""

    RFC4733 = "rfc4733"
    INFO = "info"
    NONE = "none"


class SipServer(Strict):
    """Where SIP is listened for."""

    host: Host = Field("127.0.0.1", description="Address SIP listens on.")
    port: Port = Field(5060, description="Port SIP listens on, for UDP and TCP; 0 lets the system choose.")
    transports: tuple[Annotated[Transport, Field(strict=False)], ...] = Field(
        (Transport.UDP, Transport.TCP), min_length=1, strict=False, description="Transports to listen on."
    )
    advertised_host: Host | None = Field(
        None,
        description="Address put into Contact and Via when it differs from `host` (NAT, or host 0.0.0.0).",
    )
    strangers: Annotated[Strangers, Field(strict=False)] = Field(
        Strangers.REJECT,
        description="What sources that belong to no trunk get: `reject` (403) or `silence` (no answer).",
    )


class MediaServer(Strict):
    """Where audio is sent and received."""

    host: Host = Field("127.0.0.1", description="Address RTP is bound to and announced in SDP.")
    ports: PortRange = Field(
        default_factory=lambda: PortRange(20000, 29999),
        description="UDP ports for RTP and RTCP; a call takes two.",
    )
    threads: int = Field(1, ge=1, le=64, description="Threads that carry audio; one per CPU core at most.")
    advertised_host: Host | None = Field(
        None, description="Address put into SDP when it differs from `host` (NAT, or host 0.0.0.0)."
    )


class HttpServer(Strict):
    """Where the HTTP API is served."""

    host: Host = Field("127.0.0.1", description="Address the HTTP API listens on.")
    port: Port = Field(8080, description="Port of the HTTP API; 0 lets the system choose.")
    allow_remote: bool = Field(
        False,
        description="Allow a `host` that is not loopback. The API has no authentication: only behind a proxy that has.",
    )

    @model_validator(mode="after")
    def _guarded(self) -> "HttpServer":
        if not self.allow_remote and not is_loopback(self.host):
            raise ValueError(
                f"{self.host} can be reached from other machines and the API has no authentication: "
                "use 127.0.0.1, or set allow_remote: true behind a proxy that authenticates"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host`` (a literal address)."""
    return host.startswith("127.") or host == "::1"


class ServerLimits(Strict):
    """Bounds of the whole process. A call beyond them is refused with 503 before anything rings."""

    calls: int = Field(200, ge=1, le=20000, description="Concurrent calls; one more is refused with 503.")
    retry_after_s: int = Field(5, ge=1, le=3600, description="Retry-After, in seconds, of such a refusal.")
    drain_s: float = Field(
        60.0,
        ge=0,
        le=86400,
        description="After SIGTERM, how long live calls may go on before they are hung up.",
    )


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Logging(Strict):
    """What is logged. One line per event, to standard error."""

    level: Annotated[LogLevel, Field(strict=False)] = Field(
        LogLevel.INFO, description="Least severity logged."
    )
    lines_per_second: int = Field(
        200,
        ge=1,
        le=100000,
        description="Lines a second; what exceeds it is counted and dropped, with one line to say so.",
    )


class Server(Strict):
    """The process itself."""

    sip: SipServer = Field(default_factory=SipServer, description="SIP signalling.")
    media: MediaServer = Field(default_factory=MediaServer, description="RTP media.")
    http: HttpServer = Field(default_factory=HttpServer, description="HTTP API, health and metrics.")
    data_dir: str = Field(
        ".trunkline",
        min_length=1,
        description="Directory for the ledger and recordings, relative to the configuration file.",
    )
    limits: ServerLimits = Field(default_factory=ServerLimits, description="Bounds of the process.")
    logging: Logging = Field(default_factory=Logging, description="Logging.")


class Trunk(Strict):
    """A network that calls come from. An INVITE whose source is in no trunk is refused with 403."""

    name: Name = Field(description="What routes call it.")
    sources: tuple[Network, ...] = Field(
        min_length=1, strict=False, description="Addresses and networks its signalling comes from."
    )
    codecs: tuple[Annotated[Codec, Field(strict=False)], ...] = Field(
        (Codec.PCMU, Codec.PCMA), min_length=1, strict=False, description="Codecs accepted, best first."
    )
    dtmf: Annotated[DtmfMode, Field(strict=False)] = Field(
        DtmfMode.RFC4733, description="How digits are sent to it: `rfc4733`, `info` or `none`."
    )
    trusted: bool = Field(
        False,
        description="Believe P-Asserted-Identity of this trunk (a network you operate or have a contract with).",
    )
    nat: bool = Field(
        False,
        description="Exchange media with the address its signalling comes from, whatever its SDP says "
        "(softphones, and anything behind a NAT).",
    )


class Queue(Strict):
    """People a call can be handed to."""

    target: PhoneUri = Field(description="URI the caller is transferred to.")
    description: str = Field(
        "", max_length=500, description="Who answers there, for the agent and for people."
    )


ENGINE_KIND: Final = (
    "Kind of engine: `local` (recognition, dialogue and voice in this process) or `realtime` (the OpenAI Realtime "
    "dialect over a WebSocket)."
)


class LocalEngine(Strict):
    """The engine that runs inside this process: recogniser, dialogue document, voice."""

    kind: Literal["local"] = Field(description=ENGINE_KIND)
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Further settings of this kind of engine; checked by the engine itself.",
    )
    ready_timeout_s: float = Field(
        5.0, gt=0, le=60, description="How long connecting and configuring may take."
    )


class RealtimeEngine(Strict):
    """A speech-to-speech engine that speaks the OpenAI Realtime dialect over a WebSocket."""

    kind: Literal["realtime"] = Field(description=ENGINE_KIND)
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Further settings of this kind of engine; checked by the engine itself.",
    )
    url: SocketUrl = Field(description="WebSocket URL of the engine.")
    model: str = Field(min_length=1, max_length=200, description="Model to ask for.")
    api_key: SecretRef | None = Field(None, description="Reference to the key sent as bearer token.")
    ready_timeout_s: float = Field(
        5.0, gt=0, le=60, description="How long connecting and configuring may take."
    )
    ca_file: str | None = Field(
        None, description="PEM file with additional trust anchors, relative to the configuration file."
    )


Engine = Annotated[LocalEngine | RealtimeEngine, Field(discriminator="kind")]


class Connector(Strict):
    """A system that tools read and write."""

    kind: Name = Field(description="Kind of system: the name of the connector, such as `sql`.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of that connector; checked by the connector itself."
    )


class Budget(Strict):
    """How long a tool may take, and when the caller is told that it takes a moment."""

    mask_ms: int = Field(700, ge=0, le=60000, description="After this long the mask phrase is spoken.")
    hard_ms: int = Field(8000, ge=50, le=120000, description="After this long the tool has failed.")

    @model_validator(mode="after")
    def _ordered(self) -> "Budget":
        if self.mask_ms >= self.hard_ms:
            raise ValueError("mask_ms must be less than hard_ms, or the mask would never be heard")
        return self


class Tool(Strict):
    """Something an agent can look up or do."""

    connector: Name = Field(description="Connector that carries it out.")
    operation: str = Field(min_length=1, max_length=200, description="Operation of that connector.")
    description: str = Field(
        min_length=1, max_length=2000, description="What it does, in words for the engine."
    )
    parameters: dict[str, Any] = Field(
        default_factory=lambda: {"type": "object"},
        description="JSON Schema of its arguments; arguments are checked.",
    )
    budget: Budget = Field(default_factory=Budget, description="Time it may take.")
    mask: str = Field(
        "One moment, please.", max_length=300, description="Phrase that bridges a slow answer; empty: none."
    )
    spoken: str = Field(
        "",
        max_length=1000,
        description="Sentence with `{fields}` of the result, for engines that speak prepared text.",
    )
    not_found: str = Field(
        "",
        max_length=1000,
        description="Sentence with `{fields}` of the arguments, said when there is no such record.",
    )
    unavailable: str = Field(
        "I can't look that up at the moment.", max_length=500, description="What is said when it fails."
    )

    @model_validator(mode="after")
    def _object(self) -> "Tool":
        if self.parameters.get("type") != "object":
            raise ValueError("parameters: the JSON Schema of a tool's arguments must have type: object")
        return self


class AgentLimits(Strict):
    """Bounds of one call."""

    max_duration_s: float = Field(1800.0, gt=0, le=86400, description="A call that lasts longer is ended.")
    silence_s: float = Field(
        12.0,
        gt=0,
        le=600,
        description="Quiet of both sides after which the caller is asked whether they are there.",
    )
    silence_prompts: int = Field(
        2, ge=0, le=10, description="How often that is asked before the call is ended."
    )
    rtp_timeout_s: float = Field(20.0, ge=5, le=600, description="No RTP for this long ends the call.")
    farewell_s: float = Field(
        8.0,
        ge=0,
        le=60,
        description="How long last words may play before a transfer or hang-up happens anyway.",
    )
    answer_within_s: float = Field(
        1.5,
        ge=0,
        le=10,
        description="How long the answer waits for the engine; then the call is answered anyway.",
    )
    transfer_s: float = Field(
        60.0, ge=5, le=600, description="How long a transfer may take before the caller is taken back."
    )
    tools_at_once: int = Field(
        4, ge=1, le=32, description="Tool calls of one call that run at the same time."
    )


class Phrases(Strict):
    """What is said by the local voice when the engine cannot."""

    apology: str = Field(
        "I'm sorry, I can't help you right now. Let me connect you with a colleague.",
        max_length=500,
        description="Said before handing over because the engine failed.",
    )
    goodbye: str = Field(
        "I'm sorry, we have a technical problem. Please call again later.",
        max_length=500,
        description="Said before hanging up because the engine failed and no queue is left.",
    )
    still_there: str = Field("Are you still there?", max_length=300, description="Said after a long silence.")
    resumed: str = Field(
        "I'm sorry, I lost you for a moment. Could you say that again, please?",
        max_length=500,
        description="Said by an engine that takes over in the middle of a call.",
    )
    transfer_failed: str = Field(
        "I'm sorry, nobody is available right now. Is there anything else I can do for you?",
        max_length=500,
        description="Said when a transfer failed and the caller is back.",
    )


class Agent(Strict):
    """Who answers: an engine, its words, its tools and the people behind it."""

    engine: Name = Field(description="Engine that talks.")
    fallback: tuple[Name, ...] = Field(
        (),
        max_length=4,
        strict=False,
        description="Engines that take over, in order, when the one before does not come or fails.",
    )
    voice: str = Field("", max_length=100, description="Voice; empty: the engine's default.")
    language: str = Field(
        "en-US", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="Language tag (BCP 47)."
    )
    greeting: str = Field("", max_length=1000, description="First words; empty: the engine decides.")
    instructions: str = Field("", max_length=100000, description="What the engine is told about its task.")
    dialogue: str | None = Field(
        None, description="Dialogue document of the local engine, relative to the configuration file."
    )
    tools: tuple[Name, ...] = Field((), strict=False, description="Tools it may use.")
    queues: tuple[Name, ...] = Field(
        (),
        strict=False,
        description="Queues it may hand over to; the first is the default and takes failed calls.",
    )
    record: bool = Field(True, description="Record calls: caller left, agent right.")
    barge_in: bool = Field(True, description="Fall silent when the caller speaks over the agent.")
    limits: AgentLimits = Field(default_factory=AgentLimits, description="Bounds of one call.")
    phrases: Phrases = Field(default_factory=Phrases, description="Words for when the engine cannot speak.")


class Route(Strict):
    """Which calls an agent gets. The first route that matches is taken."""

    name: Name = Field(description="What the record calls it.")
    trunk: Name | None = Field(None, description="Only calls of this trunk; absent: of any.")
    dnis: DnisPattern | None = Field(
        None,
        description="Called number: exact (`1000`), prefix (`10*`), or a regular expression (`/10[0-9]{2}/`); absent: any.",
    )
    agent: Name = Field(description="Agent that answers.")


class Root(Strict):
    """A whole configuration file."""

    version: Literal[1] = Field(description="Version of this format: 1.")
    server: Server = Field(default_factory=Server, description="The process itself.")
    trunks: tuple[Trunk, ...] = Field((), strict=False, description="Networks that calls come from.")
    queues: dict[Name, Queue] = Field(
        default_factory=dict, description="People a call can be handed to, by name."
    )
    engines: dict[Name, Engine] = Field(default_factory=dict, description="AI engines, by name.")
    connectors: dict[Name, Connector] = Field(default_factory=dict, description="Business systems, by name.")
    tools: dict[Name, Tool] = Field(default_factory=dict, description="Tools, by name.")
    agents: dict[Name, Agent] = Field(default_factory=dict, description="Agents, by name.")
    routes: tuple[Route, ...] = Field(
        (), strict=False, description="Which calls go to which agent, first match first."
    )
