"""A run: a population of prompts evolves, and is checked on examples it never saw."""
