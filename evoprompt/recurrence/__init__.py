"""The error rate of a loop that learns from its own answers: pure mathematics."""
