"""The process's metrics in its own Prometheus registry: pushed by calls, pulled from rooms at a scrape."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from trunkline.model import SECOND, Nanos, Outcome
from trunkline.operations.metrics.catalogue import CATALOGUE, PUSHED, MetricKind

log = logging.getLogger(__name__)

# A creation time beside every counter doubles the page, and Prometheus' text format does not need it.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


RTP_COUNTERS: Final = (
    "rtp_received",
    "rtp_sent",
    "rtp_lost",
    "rtp_late",
    "rtp_duplicate",
    "rtp_rejected",
    "concealed_ms",
    "engine_dropped_ms",
    "playout_dropped_ms",
    "engine_bad_messages",
)
"""Counters of a media session that are summed up."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value of a pulled metric. ``labels`` in the order of the catalogue."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


Source = Callable[[], Iterable[Reading]]
"""Asked at every scrape; must be quick and must not block."""


class Metrics:
    """All metrics of one process. Implements what ``calls`` pushes (``calls.Meter``)."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._sources: list[Source] = []
        for metric in PUSHED:
            if metric.kind is MetricKind.COUNTER:
                name = metric.name.removesuffix("_total")
                self._counters[metric.name] = Counter(
                    name, metric.meaning, metric.labels, registry=self._registry
                )
            else:
                self._histograms[metric.name] = Histogram(
                    metric.name,
                    metric.meaning,
                    metric.labels,
                    buckets=metric.buckets,
                    registry=self._registry,
                )
        self._registry.register(_Pulled(self._sources))

    def add_source(self, source: Source) -> None:
        """Ask ``source`` at every scrape."""
        self._sources.append(source)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    # --- pushed by calls; spans in nanoseconds ----------------------------------------------------------------

    def call_arrived(self) -> None:
        """An INVITE was handed to a flow."""
        self._counters["trunkline_calls_arrived_total"].inc()

    def call_answered(self, setup: Nanos) -> None:
        """The 200 OK was sent."""
        self._counters["trunkline_calls_answered_total"].inc()
        self._observe("trunkline_call_setup_seconds", setup)

    def call_ended(self, outcome: Outcome, duration: Nanos) -> None:
        """A flow is over."""
        self._counters["trunkline_calls_ended_total"].labels(outcome.result, outcome.reason).inc()
        self._observe("trunkline_call_duration_seconds", duration)

    def first_audio(self, after: Nanos) -> None:
        """The caller hears an engine for the first time."""
        self._observe("trunkline_first_audio_seconds", after)

    def response(self, after: Nanos) -> None:
        """The caller hears the answer to what was said."""
        self._observe("trunkline_response_seconds", after)

    def barge_in(self, flush: Nanos) -> None:
        """Playout fell silent because the caller spoke."""
        self._observe("trunkline_barge_in_flush_seconds", flush)

    def masked(self) -> None:
        """A mask was played."""
        self._counters["trunkline_masks_total"].inc()

    def tool(self, name: str, status: str, took: Nanos) -> None:
        """A tool call ended."""
        self._histograms["trunkline_tool_seconds"].labels(name, status).observe(took / SECOND)

    def engine_failed(self, engine: str) -> None:
        """An engine session failed or did not come."""
        self._counters["trunkline_engine_failures_total"].labels(engine).inc()

    def transfer(self, result: str, release: Nanos | None) -> None:
        """A transfer ended; ``release`` when it had been accepted."""
        self._counters["trunkline_transfers_total"].labels(result).inc()
        if release is not None:
            self._observe("trunkline_media_release_seconds", release)

    def media_closed(self, counters: Mapping[str, float]) -> None:
        """A call's media session ended with these counters."""
        for name in RTP_COUNTERS:
            self._counters["trunkline_rtp_total"].labels(name).inc(counters.get(name, 0))

    def inbox_dropped(self, kind: str, count: int) -> None:
        """A call's inbox was full."""
        self._counters["trunkline_inbox_dropped_total"].labels(kind).inc(count)

    def _observe(self, name: str, span: Nanos) -> None:
        self._histograms[name].observe(span / SECOND)


class _Pulled(Collector):
    """Asks the sources. One that fails is logged and left out: the others' values are still true."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Family]:
        families: dict[str, Family] = {}
        for source in self._sources:
            try:
                readings = list(source())
            except Exception:
                log.exception("a source of metrics failed")
                continue
            for reading in readings:
                _add(families, reading)
        yield from families.values()

    def describe(self) -> Iterable[Family]:
        return ()


def _add(families: dict[str, Family], reading: Reading) -> None:
    metric = CATALOGUE[reading.name]
    family = families.get(reading.name)
    if family is None:
        kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
        family = families[reading.name] = kind(
            reading.name.removesuffix("_total"), metric.meaning, labels=metric.labels
        )
    family.add_metric(reading.labels, reading.value)  # type: ignore[attr-defined]
