"""Measurement: policies and examples become scores, verdicts and written answers. Knows nothing of
fitness.
"""
