"""Command-line programs."""

import sys

if sys.argv and sys.argv[0] == "-m":  # one is being started, and imports its modules
    from experiments import early

    early.listen()
