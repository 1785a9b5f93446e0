"""Reports: made from a run folder only, never from a live engine, so any figure can be made again
without a model.
"""
