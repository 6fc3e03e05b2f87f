"""Model against rules: both decided week by week over the same leads."""
