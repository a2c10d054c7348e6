"""Running it: phones in software, synthetic calls, health, alerts, metrics."""
