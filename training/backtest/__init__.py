"""Backtest: the past as if the model had been retrained every month, or less often."""
