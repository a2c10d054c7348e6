"""AI engines, one folder each; every one turns a vendor's socket or library into the same events."""
