"""UconDB, the permanent store: its REST client, and what it needs."""
