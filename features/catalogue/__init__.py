"""Features as data: which there are, what they are made from, and how they are told."""
