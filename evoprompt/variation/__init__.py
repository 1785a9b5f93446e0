"""Variation: operators that make a new policy of one or two. Pure: everything random comes from the
generator they are given.
"""
