"""The ways a call reaches us or leaves us, one folder each, all with the contract of ``contract.py``."""
