"""The funnel from MQL to win, the campaigns that fill it, and who the converters are."""
