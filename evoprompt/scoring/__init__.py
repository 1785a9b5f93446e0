"""Scoring: token sequences in, exact log-likelihoods out. Knows nothing of policies, tasks or
fitness.
"""
