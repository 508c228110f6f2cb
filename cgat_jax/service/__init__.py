"""An index as a service: search, add and remove by HTTP, and a page to look at attacks.

It needs the extra ``[serve]``; ``experiments.serve`` starts it, and
docs/image_search.md says what it promises.
"""

import importlib.util

from cgat_jax.errors import InputError, install

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def check_installed() -> None:
    """Finds that the libraries of the service are there.

    Raises:
        InputError: names those that are not.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"not installed: {', '.join(missing)}: {install('serve')}")
