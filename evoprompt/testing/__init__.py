"""Contracts of what can be added to the package, as functions that a test of another package calls
too. They raise AssertionError, and import no test framework.
"""
