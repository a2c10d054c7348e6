"""Every metric by name, kind, labels and meaning: the one table that the registry and the documentation share.

Names end in their unit. Labels have few, known values: never a number, a name or an id of a caller.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class MetricKind(StrEnum):
    """Prometheus types in use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``buckets`` are upper bounds in seconds, for histograms."""

    name: str
    kind: MetricKind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


SETUP: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
LATENCY: Final = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
FLUSH: Final = (0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5)
BACKEND: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 8.0, 15.0)
DURATION: Final = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

_C, _G, _H = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

PUSHED: Final = (
    Metric("trunkline_calls_arrived_total", _C, "Inbound calls, refused ones included."),
    Metric("trunkline_calls_answered_total", _C, "Calls answered."),
    Metric("trunkline_calls_ended_total", _C, "Calls over, by result and reason.", ("result", "reason")),
    Metric("trunkline_call_setup_seconds", _H, "From the INVITE to the 200 OK.", (), SETUP),
    Metric("trunkline_call_duration_seconds", _H, "From arrival to the end.", (), DURATION),
    Metric(
        "trunkline_first_audio_seconds", _H, "From the answer to the first audio of the engine.", (), LATENCY
    ),
    Metric(
        "trunkline_response_seconds",
        _H,
        "From the end of the caller's speech to the first audio of the engine's answer.",
        (),
        LATENCY,
    ),
    Metric("trunkline_barge_in_flush_seconds", _H, "From the cue of a barge-in to silence.", (), FLUSH),
    Metric("trunkline_masks_total", _C, "Phrases that bridged a slow tool."),
    Metric("trunkline_tool_seconds", _H, "Tool calls, by tool and status.", ("tool", "status"), BACKEND),
    Metric("trunkline_engine_failures_total", _C, "Engine sessions that failed, by engine.", ("engine",)),
    Metric("trunkline_transfers_total", _C, "Transfers, by result.", ("result",)),
    Metric(
        "trunkline_media_release_seconds",
        _H,
        "From an accepted transfer to ports and engine free.",
        (),
        FLUSH,
    ),
    Metric("trunkline_rtp_total", _C, "RTP of calls that have ended, by counter.", ("counter",)),
    Metric(
        "trunkline_inbox_dropped_total", _C, "Signals dropped by a call's full inbox, by kind.", ("kind",)
    ),
)

PULLED: Final = (
    Metric("trunkline_calls_active", _G, "Calls under way."),
    Metric("trunkline_calls_limit", _G, "Most calls at once."),
    Metric("trunkline_calls_refused_total", _C, "Calls refused because the limit was reached or of a drain."),
    Metric("trunkline_draining", _G, "1 while no new calls are taken."),
    Metric("trunkline_media_sessions", _G, "Open media sessions."),
    Metric("trunkline_media_free_ports", _G, "Pairs of media ports that could be had now."),
    Metric("trunkline_media_tick_lag_seconds", _G, "Longest lag of a 20 ms tick since the last scrape."),
    Metric("trunkline_media_total", _C, "Totals of the media core, by counter.", ("counter",)),
    Metric("trunkline_sip_total", _C, "SIP events, by counter.", ("counter",)),
    Metric("trunkline_ledger_queued", _G, "Ledger entries not yet on disk."),
    Metric("trunkline_ledger_healthy", _G, "1 while the ledger takes records."),
    Metric("trunkline_ledger_written_total", _C, "Ledger entries on disk."),
    Metric("trunkline_ledger_failures_total", _C, "Writes of the ledger that failed."),
    Metric("trunkline_ledger_dropped_total", _C, "Ledger entries dropped at its bound, by kind.", ("kind",)),
    Metric("trunkline_log_dropped_total", _C, "Log lines dropped at their rate limit."),
)

CATALOGUE: Final = {metric.name: metric for metric in (*PUSHED, *PULLED)}
