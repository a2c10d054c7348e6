"""The metrics as a table for the documentation."""

from trunkline.operations.metrics.catalogue import CATALOGUE


def table() -> str:
    """Markdown: every metric with kind, labels and meaning."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in CATALOGUE.values():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |")
    return "\n".join(lines) + "\n"
