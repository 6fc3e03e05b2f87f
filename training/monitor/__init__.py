"""Watching a model at work: how population, data and outcomes have moved."""
