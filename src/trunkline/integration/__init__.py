"""The business side: mappings, policy around calls to systems, connectors, and the tools an agent may use."""
