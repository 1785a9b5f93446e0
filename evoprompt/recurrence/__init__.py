"""The error rate of a loop that learns from its own answers: pure mathematics.

Not all of it is used by a job. `trajectory`, `partial_imitation`, `fixed_point` and
`convergence_rate` of `imitation`, `acceptance_rate`, `rounds_needed`, `specificity_of_mix` and
`abstaining_ratio` of `error_rate`, and all of `buffer_chain` are for studies of one's own; tests
hold the other functions against them.
"""
