"""What training writes and serving reads: the scorer, its reasons, the bundle on disk."""
