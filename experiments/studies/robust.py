"""CgAT against a longer, smoother training of it, clean and under the worst case.

    python -m experiments.study --study=experiments/studies/robust.py \
        --workdir=runs/robust --out=docs/results_robust.md

The inner attack is CgAT's in every row: 7 steps of 2/255 within 8/255. Rows of
CIFAR-10 read the field's split files (``lists``), here of the official split: 50,000
training photos are the database, 1,000 test photos the queries; see docs/robust.md.
"""

from cgat_jax.reproduction.study import Study
from experiments.configs.quickstart_best import RECIPE

BEST = {f"defense.{key}": value for key, value in RECIPE.items()}
NONE, CGAT = {"defense.epochs": 0}, {"defense.name": "cgat"}
LOSSES = {"dpsh": "DPSH", "csq": "CSQ", "hashnet": "HashNet"}
MEASURED = {"evaluate.attacks": "noise,cgat,worst_case"}
WEIGHTS = (0.5, 1.0, 2.0, 4.0, 8.0)


def scenes() -> Study:
    """Three losses, three seeds."""
    rows = {}
    for loss, name in LOSSES.items():
        for title, row in {"undefended": NONE, "CgAT": CGAT, "best": BEST}.items():
            rows[f"{name}, {title}"] = {"loss.name": loss} | row
    return Study(
        title="The recipe on the quickstart scenes",
        text="`small`, 32 bits; the quickstart's stages, 500 queries.",
        config="experiments/configs/quickstart.py",
        seeds=(0, 1, 2),
        overrides=MEASURED,
        rows=rows,
    )


def front() -> Study:
    """Clean against worst case over the weight of the adversarial term."""
    rows, fronts = {}, {}
    for name, row in {"CgAT": CGAT, "best": BEST}.items():
        own = row.get("defense.weight", 1.0)  # a row of the first table as well
        titles = {
            f"{weight:g}": f"DPSH, {name}" + f", weight {weight:g}" * (weight != own)
            for weight in WEIGHTS
        }
        fronts[name] = titles
        for weight, title in zip(WEIGHTS, titles.values(), strict=True):
            changed = {"defense.weight": weight} if weight != own else {}
            rows[title] = {"loss.name": "dpsh"} | row | changed
    return Study(
        title="The front on the quickstart scenes",
        text="DPSH; the weight of the adversarial term.",
        config="experiments/configs/quickstart.py",
        overrides=MEASURED,
        rows=rows,
        fronts=fronts,
    )


def ablation() -> Study:
    """The recipe without each of its parts, which then are the paper's."""
    paper = {"epochs": 4, "schedule": "half", "learning_rate": 0.01, "weight": 1.0}
    rows = {
        f"best, but {key} {value}": {"loss.name": "dpsh"}
        | BEST
        | {f"defense.{key}": value}
        for key, value in paper.items()
    }
    return Study(
        title="The recipe without each of its parts",
        text="DPSH on the quickstart scenes; one part at a time is the quickstart's.",
        config="experiments/configs/quickstart.py",
        overrides=MEASURED,
        rows=rows,
    )


def get_studies() -> tuple[Study, ...]:
    """The tables, in the order in which they are run and written."""
    return scenes(), front(), ablation()
