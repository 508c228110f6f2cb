"""CgAT against a recipe for it of a higher rate and weight, clean and attacked.

    python -m experiments.study --study=experiments/studies/robust.py \
        --workdir=runs/robust --out=runs/robust/results.md

All on the quickstart's scenes; of CIFAR-10 are experiments/configs/cifar10_cgat.py and
cifar10_best.py. docs/robust.md says how the recipe was found.
"""

from collections.abc import Mapping
from typing import Any

from cgat_jax.reproduction.study import Study
from experiments.configs import quickstart
from experiments.configs.quickstart_best import RECIPE

PAPER = quickstart.get_config().defense
BEST = {f"defense.{key}": value for key, value in RECIPE.items()}
NONE, CGAT = {"defense.epochs": 0}, {"defense.name": "cgat"}
DEFENSES = {"CgAT": CGAT, "best": BEST}
DPSH = {"loss.name": "dpsh"}
UNDOUBTED = {"evaluate.sanity_queries": 0}
WEIGHTS = (0.5, 1.0, 2.0, 4.0, 8.0)


def study(title: str, text: str, rows: Mapping[str, Any], **more: Any) -> Study:
    """A table of the quickstart's, with all that the ensemble finds."""
    config = "experiments/configs/quickstart.py"
    measured = {"evaluate.attacks": "noise,cgat,worst_case"}
    return Study(
        title=title, text=text, config=config, rows=rows, overrides=measured, **more
    )


def scenes() -> Study:
    """The loss of the quickstart, three seeds."""
    rows = {"undefended": NONE} | DEFENSES
    return study(
        "The recipe on the quickstart scenes",
        "`small`, 32 bits, 500 queries; MAP@5000, budget 8/255. *best* is "
        "`experiments/configs/quickstart_best.py`; [the log](robust.md) has more.",
        {f"DPSH, {title}": DPSH | row for title, row in rows.items()},
        seeds=(0, 1, 2),
    )


def losses() -> Study:
    """Two other losses, for which the recipe's weight may be too large."""
    lighter = {"best, weight 1": BEST | {"defense.weight": 1.0}}
    rows = {"undefended": NONE} | DEFENSES | lighter
    return study(
        "With other hashing losses",
        "The stages and the recipe are those found for DPSH; its weight is 2.",
        {
            f"{name}, {title}": {"loss.name": loss} | row
            for loss, name in {"csq": "CSQ", "hashnet": "HashNet"}.items()
            for title, row in rows.items()
        },
    )


def front() -> Study:
    """Clean against worst case over the weight of the adversarial term."""
    rows, fronts = {}, {}
    for name, row in DEFENSES.items():
        own = row.get("defense.weight", PAPER.weight)  # in the first table as well
        fronts[name] = {f"{own:g}": f"DPSH, {name}"}
        rows[f"DPSH, {name}"] = DPSH | row
        for weight in sorted({*WEIGHTS} - {own}):
            title = f"DPSH, {name}, weight {weight:g}"
            rows[title] = DPSH | row | UNDOUBTED | {"defense.weight": weight}
            fronts[name][f"{weight:g}"] = title
        fronts[name] = dict(sorted(fronts[name].items(), key=lambda x: float(x[0])))
    return study(
        "The front on the quickstart scenes",
        "DPSH; the weight of the adversarial term.",
        rows,
        fronts=fronts,
    )


def ablation() -> Study:
    """The recipe without each of its parts, which then are the quickstart's."""
    parts = {
        "DPSH, best, weight 1": ["weight"],  # in the table of the front as well
        "DPSH, best, 4 epochs": ["epochs"],
        "DPSH, best, one decay at half": ["schedule"],
        "DPSH, best, rate 0.01": ["learning_rate"],
        "DPSH, best, 7 steps of 2/255": ["steps", "step_size"],
    }
    as_long = {"defense.epochs": 9}  # of nine passes each, where the recipe has 16 of 5
    rows = {
        title: DPSH
        | BEST
        | UNDOUBTED
        | {f"defense.{key}": getattr(PAPER, key) for key in keys}
        for title, keys in parts.items()
    }
    return study(
        "The recipe without each of its parts",
        "DPSH on the quickstart scenes; one part at a time is the quickstart's. "
        "CgAT has as many passes in 9 epochs.",
        {"DPSH, CgAT, 9 epochs": DPSH | CGAT | UNDOUBTED | as_long}
        | {"DPSH, best": DPSH | BEST}
        | rows,
    )


def get_studies() -> tuple[Study, ...]:
    """The tables, in the order in which they are run and written."""
    return scenes(), losses(), front(), ablation()
