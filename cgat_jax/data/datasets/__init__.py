"""Readers of the original files of each supported data set."""
