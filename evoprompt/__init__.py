"""evoprompt evolves prompts for open-weight language models and explains every generation.

Importing the package loads none of torch, transformers, ray, mlflow or deap: the parts that need
them import them when they run.
"""

__version__ = "0.1.0"
