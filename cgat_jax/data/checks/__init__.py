"""What can be wrong with data, found before anything is trained on them."""
