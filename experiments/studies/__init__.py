"""One file a table: see ``experiments.study``."""
