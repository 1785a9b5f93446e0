"""Backends: who scores requests and continues prompts, in this process, on Ray or elsewhere."""
