"""Numbers about the process for Prometheus: which exist, and where their values come from.

Owns names, labels and buckets. Refuses to decide anything from them: health and alerts are other rooms.
"""

from trunkline.operations.metrics.catalogue import CATALOGUE, Metric, MetricKind
from trunkline.operations.metrics.registry import CONTENT_TYPE, Metrics, Reading, Source

__all__ = ["CATALOGUE", "CONTENT_TYPE", "Metric", "MetricKind", "Metrics", "Reading", "Source"]
