"""Data prepared once: images of one size in shards, and what they were made of."""
