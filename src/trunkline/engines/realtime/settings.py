"""Settings of an OpenAI Realtime engine and the socket they ask for.

Values and names follow the Realtime API's session object (client event ``session.update``).
"""

from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field

from trunkline.model import Secret
from trunkline.telephony.media.port import JsonAudio, SocketSpec, WireProfile

DEFAULT_URL: Final = "wss://api.openai.com/v1/realtime"
DEFAULT_MODEL: Final = "gpt-realtime"


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerVad(_Settings):
    """Turns end after a stretch of silence."""

    type: Literal["server_vad"] = Field("server_vad", description="`server_vad`: by loudness and silence.")
    threshold: float = Field(0.5, ge=0, le=1, description="How loud speech must be; higher for noisy lines.")
    prefix_padding_ms: int = Field(300, ge=0, le=5000, description="Audio kept from before the speech began.")
    silence_duration_ms: int = Field(500, ge=50, le=10000, description="Silence that ends the caller's turn.")
    create_response: bool = Field(True, description="The engine answers by itself when a turn ends.")
    interrupt_response: bool = Field(
        True, description="The engine cancels its answer when the caller speaks."
    )
    idle_timeout_ms: int | None = Field(
        None, ge=5000, le=30000, description="The engine speaks up after this much silence; null: never."
    )


class SemanticVad(_Settings):
    """Turns end when the words sound finished."""

    type: Literal["semantic_vad"] = Field("semantic_vad", description="`semantic_vad`: by what is said.")
    eagerness: Literal["low", "medium", "high", "auto"] = Field(
        "auto", description="How soon to answer: at most 8, 4 or 2 s for `low`, `medium`, `high`."
    )
    create_response: bool = Field(True, description="The engine answers by itself when a turn ends.")
    interrupt_response: bool = Field(
        True, description="The engine cancels its answer when the caller speaks."
    )


class Transcription(_Settings):
    """Words of the caller, for the record; the engine itself listens to the audio."""

    model: str = Field("gpt-4o-mini-transcribe", min_length=1, description="Transcription model.")
    language: str | None = Field(None, description="ISO 639-1 code; null: from the agent's language.")
    prompt: str | None = Field(None, description="Words and names to expect.")


class RealtimeSettings(_Settings):
    """What `settings:` of an engine of kind `realtime` may hold. All are optional."""

    voice: str = Field("", description="Voice; empty: the agent's voice, or the engine's default.")
    speed: float = Field(1.0, ge=0.25, le=1.5, description="Speed of speech.")
    audio: Literal["pcmu", "pcma", "pcm"] = Field(
        "pcmu", description="Format both ways: G.711 as it comes from the phone, or 24 kHz PCM."
    )
    turn_detection: Annotated[ServerVad | SemanticVad, Field(discriminator="type")] = Field(
        default_factory=ServerVad, description="How the engine tells that the caller's turn ended."
    )
    transcription: Transcription | None = Field(
        default_factory=Transcription, description="Transcription of the caller; null: none."
    )
    noise_reduction: Literal["near_field", "far_field"] | None = Field(
        None, description="Filter for the caller's audio; null: none."
    )
    max_output_tokens: int | Literal["inf"] = Field("inf", description="Limit of one answer.")
    tool_choice: Literal["auto", "none", "required"] = Field("auto", description="When to call tools.")
    offer_end_call: bool = Field(
        True, description="Let the engine end the call with the built-in `end_call`."
    )
    auth: Literal["bearer", "api-key"] = Field(
        "bearer", description="How the key is sent: `Authorization: Bearer`, or Azure's `api-key` header."
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Further headers of the handshake, such as `OpenAI-Project`. No secrets.",
    )
    batch_ms: Literal[20, 40] = Field(40, description="Length of the pieces in which caller audio is sent.")
    session_limit_s: int = Field(3600, ge=60, description="How long the engine lets a session last.")
    session: dict[str, Any] = Field(
        default_factory=dict, description="Further fields of the session object, merged over all others."
    )


def socket_spec(
    *,
    url: str,
    model: str,
    api_key: Secret[str] | None,
    settings: RealtimeSettings,
    ca_file: str | None = None,
    connect_timeout_ms: int = 5_000,
) -> SocketSpec:
    """The socket for one session. The key goes into a header, which ``SocketSpec`` keeps out of its repr."""
    encoding = {"pcmu": "pcmu", "pcma": "pcma", "pcm": "pcm16"}[settings.audio]
    rate = 24_000 if settings.audio == "pcm" else 8_000
    headers = dict(settings.headers)
    if api_key is not None:
        key = api_key.reveal()
        headers |= {"api-key": key} if settings.auth == "api-key" else {"Authorization": f"Bearer {key}"}
    return SocketSpec(
        url=with_model(url, model),
        profile=WireProfile.JSON,
        headers=headers,
        up_rate=rate,
        down_rate=rate,
        up_encoding=encoding,
        down_encoding=encoding,
        json=JsonAudio(also_down_types=("response.audio.delta",)),
        batch_ms=settings.batch_ms,
        connect_timeout_ms=connect_timeout_ms,
        ca_file=ca_file,
    )


def with_model(url: str, model: str) -> str:
    """``url`` with ``model`` in its query, unless the query names a model or a deployment already.

    >>> with_model("wss://api.openai.com/v1/realtime", "gpt-realtime")
    'wss://api.openai.com/v1/realtime?model=gpt-realtime'
    """
    parts = urlsplit(url)
    if not model or {"model", "deployment"} & parse_qs(parts.query).keys():
        return url
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}model={quote(model, safe='')}"))
