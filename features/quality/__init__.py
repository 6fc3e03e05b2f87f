"""Data quality: what a person should look at before trusting a model."""
