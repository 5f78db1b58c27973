"""What a worker does with a chunk of runs: import, migrate, refresh, verify."""
