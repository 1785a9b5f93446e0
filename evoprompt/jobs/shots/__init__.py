"""Accuracy and likelihood by the number of demonstrations."""
