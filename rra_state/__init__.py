"""State, recovery and command line of the Run Record Archiver."""

__version__ = "0.1.0"
