"""The search behind other packages' interfaces for prompt optimizers. MLflow's is `mlflow.py`."""
