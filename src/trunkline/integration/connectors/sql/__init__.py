"""Named, parameterised, read-only statements on a SQL database. See README.md in this folder."""

from trunkline.integration.connectors.sql.connector import SqlConnector, create

__all__ = ["SqlConnector", "create"]
