"""What this package raises about files, folders and settings: one line each.

A message says what is wrong, where (the path), and what to do. Programs print it and
exit with code 2; any other exception is a mistake of ours and keeps its traceback.
"""


class InputError(ValueError):
    """A file, a folder or a setting that cannot be used."""


class DamagedFileError(InputError):
    """A file that this package wrote is not as it was written."""


class ForeignFilesError(InputError):
    """A place to write to holds files that this package did not make."""


class InUseError(InputError):
    """Another process works in a folder; the message says which."""
