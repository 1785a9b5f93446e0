"""Remarks about a prompt in words of a user: read by the model itself, kept for later runs."""
