"""The registry: pushed and pulled values in Prometheus' format, and only what the catalogue has."""

from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from trunkline.model import Outcome, Reason, Result, ms, seconds
from trunkline.operations.metrics import CATALOGUE, MetricKind, Metrics, Reading


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def test_everything_a_call_pushes_is_seen() -> None:
    metrics = Metrics()
    metrics.call_arrived()
    metrics.call_answered(ms(40))
    metrics.call_ended(Outcome(Result.SUCCESS, Reason.TRANSFERRED), seconds(61))
    metrics.first_audio(ms(300))
    metrics.response(ms(700))
    metrics.barge_in(ms(12))
    metrics.masked()
    metrics.tool("order_status", "ok", seconds(2.5))
    metrics.engine_failed("local")
    metrics.transfer("succeeded", ms(15))
    metrics.transfer("failed", None)
    metrics.inbox_dropped("Tap", 3)
    seen = samples(metrics)
    ended = frozenset({("result", "success"), ("reason", "transferred")})
    assert seen["trunkline_calls_ended_total", ended] == 1
    assert seen["trunkline_call_setup_seconds_sum", frozenset()] == pytest.approx(0.04)
    assert seen["trunkline_barge_in_flush_seconds_bucket", frozenset({("le", "0.02")})] == 1
    assert seen["trunkline_barge_in_flush_seconds_bucket", frozenset({("le", "0.01")})] == 0
    tool = frozenset({("tool", "order_status"), ("status", "ok")})
    assert seen["trunkline_tool_seconds_sum", tool] == pytest.approx(2.5)
    assert seen["trunkline_media_release_seconds_count", frozenset()] == 1
    assert seen["trunkline_inbox_dropped_total", frozenset({("kind", "Tap")})] == 3


def test_pulled_values_are_asked_at_every_scrape() -> None:
    metrics, active = Metrics(), [1.0]
    metrics.add_source(lambda: [Reading("trunkline_calls_active", active[0])])
    metrics.add_source(
        lambda: [Reading("trunkline_sip_total", 7, ("invite",)), Reading("trunkline_sip_total", 2, ("bye",))]
    )
    assert samples(metrics)["trunkline_calls_active", frozenset()] == 1
    active[0] = 5
    seen = samples(metrics)
    assert seen["trunkline_calls_active", frozenset()] == 5
    assert seen["trunkline_sip_total", frozenset({("counter", "bye")})] == 2


def test_a_source_that_fails_takes_no_other_with_it() -> None:
    def broken() -> Iterable[Reading]:
        raise RuntimeError("boom")

    metrics = Metrics()
    metrics.add_source(broken)
    metrics.add_source(lambda: [Reading("trunkline_calls_active", 3)])
    assert samples(metrics)["trunkline_calls_active", frozenset()] == 3


def test_two_registries_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.call_arrived()
    assert samples(other)["trunkline_calls_arrived_total", frozenset()] == 0


def test_names_carry_their_unit() -> None:
    for metric in CATALOGUE.values():
        assert metric.name.startswith("trunkline_")
        assert (metric.kind is MetricKind.COUNTER) == metric.name.endswith("_total"), metric.name
        assert metric.kind is not MetricKind.HISTOGRAM or metric.name.endswith("_seconds"), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets))
