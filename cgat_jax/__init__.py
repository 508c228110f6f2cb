"""Center-guided adversarial training for deep hashing, in JAX."""

__version__ = "0.1.0"
