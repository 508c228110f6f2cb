"""What networks are made of, in the forms that are fast on each device."""
