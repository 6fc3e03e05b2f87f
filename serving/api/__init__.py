"""The HTTP API: scores, leads, verdicts, the model's card; keys, limits, logs and metrics."""
