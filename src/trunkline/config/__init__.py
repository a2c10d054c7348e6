"""Typed, hashed, versioned documents: load, validate, diff, activate."""
