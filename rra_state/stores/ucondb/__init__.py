"""UconDB, the permanent store: the REST client, digest authentication, and listings by SQL."""
