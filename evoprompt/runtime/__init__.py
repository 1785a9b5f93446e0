"""Runtime: where the work is done, and what survives when it ends."""
