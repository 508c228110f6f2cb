"""What tables call the keys of a record, and in which order they come."""

from collections.abc import Mapping, Sequence
from typing import Any

DASH = "\N{EN DASH}"
GIVEN = "given"
"""What a record calls the parts of a network that it was given, not told of."""
UNDEFENDED = {
    "none": "undefended network",
    "standard": "undefended network that was trained on",
}
"""What a sentence calls networks that nothing defends."""
DEFENSES = {
    GIVEN: "given network",
    "none": "undefended",
    "standard": "undefended, trained on",
    "atrdh": "ATRDH",
    "at_self": "AT-self",
    "saat": "SAAT",
    "cgat": "CgAT",
}
ATTACKS = {
    "clean": "clean",
    "noise": "random noise",
    "p2p": "P2P",
    "dhta": "DHTA",
    "prosgan": "ProS-GAN",
    "prosgan_projected": "ProS-GAN, projected",
    "tha": "THA",
    "hag": "HAG",
    "sdha": "SDHA",
    "saat_targeted": "SAAT's, targeted",
    "saat": "SAAT's attack",
    "nag": "NAG",
    "square": "Square",
    "apgd_opposite": "APGD, opposite",
    "apgd_anchor": "APGD, anchor",
    "apgd": "APGD",
    "apgd_ap": "APGD on AP",
    "cgat": "CgAT's attack",
    "worst_case": "worst case",
}
DATASETS = {
    "coco": "MS-COCO",
    "flickr25k": "FLICKR-25K",
    "nus_wide": "NUS-WIDE",
    "nuswide": "NUS-WIDE",
    "cifar10": "CIFAR-10",
    "quickstart": "Quickstart scenes",
    "lists": "lists of images",
    "photos": "own photos",
}
LOSSES = {
    "dpsh": "DPSH",
    "dph": "DPH",
    "hashnet": "HashNet",
    "dsdh": "DSDH",
    "dch": "DCH",
    "csq": "CSQ",
    "greedyhash": "GreedyHash",
    "dsdh_c": "DSDH-C",
    "csq_c": "CSQ-C",
}
BACKBONES = (
    {GIVEN: "given network", "alexnet": "AlexNet"}
    | {"small": "small network", "medium": "medium network"}
    | {f"vgg{n}": f"VGG{n}" for n in (11, 13, 16, 19)}
    | {f"vgg{n}_bn": f"VGG{n}-BN" for n in (11, 13, 16, 19)}
    | {f"resnet{n}": f"ResNet-{n}" for n in (18, 34, 50)}
)


def display(table: dict[str, str], key: str) -> str:
    """The name of a key; a key that the table does not know is its own name."""
    return table.get(key, key)


def network(entry: Mapping[str, Any]) -> str:
    """What tables call a record's network: its defense, and what tells it apart.

    ``variant`` is what ``variants.tell_apart`` wrote, where several runs are compared.
    """
    known, variant = display(DEFENSES, entry["defense"]), entry.get("variant")
    return f"{known} ({variant})" if variant else known


def rank(table: dict[str, str], key: str) -> tuple[int, str]:
    """Sorts known keys in the table's order, and others after them."""
    known = list(table)
    return (known.index(key) if key in table else len(known), key)


def percent(fraction: float) -> str:
    """A MAP as tables print it: percent with two decimals."""
    return f"{100 * fraction:.2f}"


def span(interval: Sequence[float]) -> str:
    """From the one MAP to the other, percent."""
    return DASH.join(map(percent, interval))


def signed(points: float) -> str:
    """A difference in percentage points, its sign spelled out."""
    text = f"{points:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def level(magnitude: float) -> str:
    """A perturbation as a fraction of 255 gray levels, if that is what it is."""
    levels = 255 * magnitude
    if abs(levels - round(levels)) < 0.01:
        return f"{round(levels)}/255"
    return f"{levels:.2f}/255"
