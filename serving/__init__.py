"""Scores for open leads, in batches."""
