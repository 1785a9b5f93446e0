"""Tasks: where examples come from, and how a policy and an example become text."""
