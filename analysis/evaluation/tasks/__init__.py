"""Metrics of tasks: detection, segmentation, regression, embeddings, anomalies."""
