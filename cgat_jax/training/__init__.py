"""Training: the stages of a run, their loop, checkpoints, and what stops it."""
