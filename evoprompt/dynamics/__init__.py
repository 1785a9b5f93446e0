"""Pure mathematics of evolution: no torch, no files, no policies.

Not all of it is used by a job. `softmax_flow`, `softmax_orders` and `log_mean_exp` of `intensity`,
`reproduction_drift_test` of `drift` and `Gradients.indirect` of `gradients` are for studies of
one's own; tests hold the other functions against them.
"""
