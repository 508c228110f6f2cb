"""The networks that come with the package, each with the claim of what it withstands.

A network of the zoo is a folder here: ``claim.json``, see ``cgat_jax.claims``, and the
network's file beside it. ``cgat_jax.load_network`` takes the folder's name.
"""

from pathlib import Path

CLAIM_FILE = "claim.json"
FOLDER = Path(__file__).parent


def zoo_names() -> list[str]:
    """The names of the networks that come with the package.

    >>> from cgat_jax.zoo import zoo_names
    >>> "quickstart-none" in zoo_names()
    True
    """
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CLAIM_FILE}"))


def zoo_folder(name: str) -> Path | None:
    """The folder of a network of the zoo; None where it has none of that name."""
    return FOLDER / name if name in zoo_names() else None
