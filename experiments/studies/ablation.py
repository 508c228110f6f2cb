"""Each option of CgAT alone, and the best together, on scenes and on CIFAR-10 photos.

    python -m experiments.prepare --dataset=lists --source=CIFAR10 \
        --out=data/cifar10_lists --image_size=32
    python -m experiments.study --study=experiments/studies/ablation.py \
        --workdir=runs/study --out=runs/study/results.md

CIFAR10 holds the field's split files: 1,000 queries, 59,000 database images, 5,000 of
them for training. With the workdir of ``quickstart.py`` its cells are used again.
"""

from cgat_jax.reproduction.study import Study

PLAIN = {"defense.name": "cgat"}
LOGITS, WEIGHT = {"defense.surrogate": "logits"}, {"defense.weight": 2.0}
OPTIONS = {
    "weight 2": WEIGHT,
    "inner attack on logits": LOGITS,
    "averaged weights (EMA 0.98)": {"defense.ema": 0.98},
    "weight perturbation (AWP 0.005)": {"defense.awp": 0.005},
    "cosine schedule": {"defense.schedule": "cosine"},
    "binary bank": {"defense.bank": "binary"},
    "consistency 1": {"defense.consistency": 1.0},
    "second decay": {"defense.schedule": "half_and_three_quarters"},
    "weight 2 and logits": WEIGHT | LOGITS,
}
# Photos of CIFAR-10 have one label, so that label weights do nothing there.
SCENES_ONLY = {
    "Jaccard centers": {"defense.centers": "jaccard"},
    "cosine centers": {"defense.centers": "cosine"},
    "weight 4 and logits": LOGITS | {"defense.weight": 4.0},
}
# The quickstart's network has no dropout.
NO_DROPOUT = {"crafting without dropout": {"defense.crafting": "eval"}}
CIFAR10 = {
    "data.root": "data/cifar10",
    "data.image_size": 32,
    "data.crop_size": 32,
    "model.name": "small",
    "backbone.epochs": 12,
    "backbone.batch_size": 64,
    "backbone.learning_rate": 0.1,
    "pretrain.epochs": 12,
    "pretrain.batch_size": 64,
    "pretrain.learning_rate": 0.02,
    "defense.epochs": 5,
    "defense.batch_size": 64,
    "evaluate.attacks": "cgat",
    "evaluate.batch_size": 100,
}


def scenes() -> Study:
    """DPSH and CgAT on the quickstart scenes, two seeds."""
    rows = {
        "DPSH, undefended": {"defense.epochs": 0},
        "DPSH, CgAT": PLAIN,
        **{name: PLAIN | option for name, option in (OPTIONS | SCENES_ONLY).items()},
    }
    return Study(
        title="Options of CgAT on the quickstart scenes",
        text="DPSH, `small`, 32 bits, no dropout; the quickstart's stages and attacks.",
        config="experiments/configs/quickstart.py",
        seeds=(0, 1),
        rows={title: {"loss.name": "dpsh"} | row for title, row in rows.items()},
    )


def photos() -> Study:
    """DPSH and CgAT on CIFAR-10, a short training of ``small``, two seeds."""
    rows = {
        "CIFAR-10, undefended": {"defense.epochs": 0},
        "CIFAR-10, CgAT": PLAIN,
        **{
            f"CIFAR-10, {name}": PLAIN | option
            for name, option in (NO_DROPOUT | OPTIONS).items()
        },
    }
    return Study(
        title="Options of CgAT on CIFAR-10 photos",
        text="DPSH, `small` at 32 pixels, 32 bits, dropout 0.5; 12 epochs of "
        "classification, 12 of DPSH and 5 of CgAT on 5,000 photos; 1,000 queries, "
        "59,000 database photos.",
        config="experiments/configs/lists.py",
        seeds=(0, 1),
        overrides=CIFAR10,
        rows={title: {"data.name": "lists"} | row for title, row in rows.items()},
    )


def get_studies() -> tuple[Study, ...]:
    """The tables, in the order in which they are run and written."""
    return scenes(), photos()
