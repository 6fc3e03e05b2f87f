"""The gate: a challenger against the champion, and the verdict."""
