"""Losses and defenses on the quickstart scenes.

    python -m experiments.study --study=experiments/studies/quickstart.py \
        --workdir=runs/study --out=runs/study/results.md

Every cell has the quickstart's stages, epochs and attacks.
"""

from cgat_jax.report.names import DEFENSES, LOSSES
from cgat_jax.reproduction.study import Study

CONFIG = "experiments/configs/quickstart.py"
NONE = {"defense.epochs": 0}
SAAT = {"defense.name": "saat", "defense.quantization": 1e-4}


def _row(loss: str, defense: str, overrides: dict) -> tuple[str, dict]:
    title = f"{LOSSES[loss]}, {DEFENSES[defense]}"
    return title, {"loss.name": loss} | overrides


def losses() -> Study:
    """All losses x {undefended, ATRDH matched, CgAT}, one seed."""
    rows = [
        _row(loss, defense, overrides)
        for loss in LOSSES
        for defense, overrides in {
            "none": NONE,
            "cgat": {"defense.name": "cgat"},
            "atrdh": {"defense.name": "atrdh"},
        }.items()
    ]
    return Study(
        title="Every hashing loss",
        text="ATRDH is the matched form: CgAT's epochs, optimizer and augmentation.",
        config=CONFIG,
        rows=dict(rows),
    )


def defenses() -> Study:
    """DPSH and CSQ x {undefended, ATRDH, AT-self, SAAT, CgAT}, three seeds."""
    rows = [
        _row(loss, defense, overrides)
        for loss in ("dpsh", "csq")
        for defense, overrides in {
            "none": NONE,
            "cgat": {"defense.name": "cgat"},
            "saat": SAAT,
            "at_self": {"defense.name": "at_self"},
            "atrdh": {"defense.name": "atrdh"},
        }.items()
    ]
    return Study(
        title="Every defense",
        text="All of them have CgAT's epochs, optimizer and augmentation. AT-self has "
        "the image's own code in place of the center code.",
        config=CONFIG,
        seeds=(0, 1, 2),
        rows=dict(rows),
    )


def get_studies() -> tuple[Study, ...]:
    """The tables, in the order in which they are run and written."""
    return losses(), defenses()
