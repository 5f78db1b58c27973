"""A UconDB server for development and tests: the protocol and the schema of 3.9.7 over a real PostgreSQL."""
