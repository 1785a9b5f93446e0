"""Comparing runs: curves, final values, and which part of the evolution differs."""
