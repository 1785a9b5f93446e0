"""Evolution: ask and tell over a frozen state. Knows policies and fitness, not models."""
