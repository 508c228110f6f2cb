"""The original files of a data set, in folders or archives."""
