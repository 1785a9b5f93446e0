"""Selection: who has children and who survives, and how likely that was."""
