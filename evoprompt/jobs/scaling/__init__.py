"""`evoprompt scaling`: how performance depends on a model's loss, and what a better one costs."""
