"""One file a result."""
