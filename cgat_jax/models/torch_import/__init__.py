"""PyTorch's files read without PyTorch: tensors alone, nothing is run."""
