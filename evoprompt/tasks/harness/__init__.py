"""Tasks of the LM Evaluation Harness: their files, their prompts, their metrics. The package
`lm_eval` is imported when one is asked for.
"""
