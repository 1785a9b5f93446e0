"""A champion in the forms that other programs take."""
