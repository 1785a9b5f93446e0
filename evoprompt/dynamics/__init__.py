"""Pure mathematics of evolution: no torch, no files, no policies."""
