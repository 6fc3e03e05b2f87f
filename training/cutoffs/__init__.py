"""Choosing the cutoff: policies, what they promise, and the volume to expect."""
