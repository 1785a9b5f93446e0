"""Fitness: pure functions of what was measured. Knows nothing of models."""
