"""Retraining: a new model, or the champion recalibrated on what has closed since."""
