"""Statistics that know counts and samples only."""
