"""Whether a champion hangs on what its prompt means or on how it is worded."""
