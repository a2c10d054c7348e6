"""Python's side of the Rust media engine. The only room that imports ``trunkline._native``."""
