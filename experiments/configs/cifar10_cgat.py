"""CgAT on top of DPSH: CIFAR-10's official split, ``medium`` at 32 pixels, 32 bits.

    python -m experiments.prepare --dataset=cifar10 --source=CIFAR10 --out=data/cifar10
    python -m experiments.main --config=experiments/configs/cifar10_cgat.py \
        --config.data.root=data/cifar10 --workdir=runs/cifar10_cgat

The 50,000 training photos train and are the database, 1,000 of the test photos (100 a
class) are the queries. Not a data set of the paper: a setting in which its defense is
to work, for two CPU cores. docs/robust.md has what was measured of it, on JPEG copies
of the photos, whose digest is not that of the archives.
"""

from cgat_jax.config import Config, Data, Defense, Evaluate, Model, Training


def get_config() -> Config:
    """Twelve epochs of classification, ten of DPSH and six of CgAT."""
    return Config(
        data=Data(
            name="cifar10",
            image_size=32,
            crop_size=32,
            num_queries=1_000,
            num_train=50_000,
            num_database=50_000,
        ),
        model=Model(name="medium", dropout=0.0),
        backbone=Training(
            epochs=12, batch_size=128, learning_rate=0.1, schedule="cosine"
        ),
        pretrain=Training(
            epochs=10, batch_size=128, learning_rate=0.03, schedule="cosine"
        ),
        defense=Defense(epochs=6, batch_size=128, learning_rate=0.01),
        evaluate=Evaluate(attacks="noise,cgat,worst_case", batch_size=100),
        checkpoint_seconds=60.0,
    )
