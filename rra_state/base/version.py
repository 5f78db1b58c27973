"""The version of this package, in markers, reports and metrics."""

__version__ = "0.2.0"
