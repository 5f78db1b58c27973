"""The two stores a run record goes to. Neither knows the other."""
