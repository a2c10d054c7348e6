"""Typed, hashed, versioned documents: load, validate, diff, activate.

Owns the shape of the configuration file and the way every YAML document is read and complained about.
Refuses to start anything, to hold a secret's value, and to know what another room's document contains.
"""

from trunkline.config.documents import (
    Agent,
    AgentLimits,
    Budget,
    Codec,
    Connector,
    DtmfMode,
    Engine,
    HttpServer,
    LocalEngine,
    Logging,
    LogLevel,
    MediaServer,
    Phrases,
    Queue,
    RealtimeEngine,
    Root,
    Route,
    Server,
    ServerLimits,
    SipServer,
    Strangers,
    Tool,
    Transport,
    Trunk,
    is_loopback,
)
from trunkline.config.fields import Environ, PortRange, SecretRef
from trunkline.config.load import Check, Config, json_schema, load_config
from trunkline.config.patterns import DnisPattern, PatternKind
from trunkline.config.source import CombinedConfigError, Document, combine

__all__ = [
    "Agent",
    "AgentLimits",
    "Budget",
    "Check",
    "Codec",
    "CombinedConfigError",
    "Config",
    "Connector",
    "DnisPattern",
    "Document",
    "DtmfMode",
    "Engine",
    "Environ",
    "HttpServer",
    "LocalEngine",
    "LogLevel",
    "Logging",
    "MediaServer",
    "PatternKind",
    "Phrases",
    "PortRange",
    "Queue",
    "RealtimeEngine",
    "Root",
    "Route",
    "SecretRef",
    "Server",
    "ServerLimits",
    "SipServer",
    "Strangers",
    "Tool",
    "Transport",
    "Trunk",
    "combine",
    "is_loopback",
    "json_schema",
    "load_config",
]
