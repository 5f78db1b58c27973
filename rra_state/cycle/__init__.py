"""One cycle: its windows, the Snakemake process of each, and what that process shares with its hooks."""
