"""Hand out chunks of runs to workers, commit their results in order, and report progress."""
