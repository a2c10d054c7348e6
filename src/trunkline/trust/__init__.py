"""What makes Trunkline answerable: the append-only ledger (privacy and identity get their own rooms here)."""
