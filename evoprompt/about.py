"""What this package is, for provenance."""

__version__ = "0.1.0"
