"""The self-evaluation loop: a model that learns from its own answers."""
