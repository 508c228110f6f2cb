"""Files: written whole or not at all, sealed, owned, and read without trust."""
