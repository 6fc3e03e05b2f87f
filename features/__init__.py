"""Raw tables -> checked tables -> point-in-time snapshots. Knows nothing of labels or models."""
