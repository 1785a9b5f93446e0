"""A curriculum: examples from where another population shows that more can be learned."""
