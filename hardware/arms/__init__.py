"""Arms on the bench, each through its vendor's own Python client, imported only when connecting."""
