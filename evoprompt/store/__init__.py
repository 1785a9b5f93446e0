"""The folder on disk, and what work has cost."""
