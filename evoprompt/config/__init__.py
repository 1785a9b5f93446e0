"""The strict schema of configurations, and how they are read."""
