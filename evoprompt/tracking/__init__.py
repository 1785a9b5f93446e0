"""Tracking: what of a run is told to MLflow. The only folder that imports mlflow."""
