"""The marker tree, and what follows from it: state files, failure logs, the plan of a cycle, recovery."""
