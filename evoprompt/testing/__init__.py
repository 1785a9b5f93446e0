"""Contract suites for those who add something: what an operator, a fitness, a selection scheme, a
backend or a task source has to hold, as functions that raise `AssertionError` where it does not.

A plug-in's author calls them from tests of his own, with any test runner.
"""
