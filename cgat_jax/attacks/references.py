"""What attacks are given of each image: a code, labels, or what was trained for it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reference:
    """What an attack is given, a row an image, and how it takes it.

    Attributes:
        name: of the kind.
        is_code: whether a row is a code, or begins with one.
        targeted: whether it is made of the target label set that all attacks share.
        approached: whether the attack moves towards it; else away from it.
    """

    name: str
    is_code: bool = True
    targeted: bool = False
    approached: bool = False


def _of_target(name: str) -> Reference:
    return Reference(name, targeted=True, approached=True)


NOTHING = Reference("none", is_code=False)
LABELS = Reference("labels", is_code=False)
"""The true labels, multi-hot."""
OWN = Reference("own")
"""The clean code."""
CENTER = Reference("center")
"""Center code of the true labels (CgAT, Eq. 4 and 5)."""
MAINSTAY = Reference("mainstay")
"""Mainstay code of the true labels (SAAT)."""
HARDEST_ANCHOR = Reference("hardest_anchor", approached=True)
"""Of the anchor codes of foreign label sets, the one that retrieves worst."""
IMAGE = _of_target("image")
"""Code of one image with the target label set (P2P)."""
ANCHOR = _of_target("anchor")
"""Bitwise majority of nine such images' codes (DHTA)."""
TARGET_MAINSTAY = _of_target("target_mainstay")
"""Mainstay code of the target label set."""
PROTOTYPE = _of_target("prototype")
"""A prototype network's code of the target label set (THA)."""
GENERATED = _of_target("generated")
"""Prototype code and features of the target label set, for a generator (ProS-GAN)."""
