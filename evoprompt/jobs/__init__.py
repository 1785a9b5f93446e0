"""Jobs: what a user can have done, a folder each, with all that belongs to it."""
