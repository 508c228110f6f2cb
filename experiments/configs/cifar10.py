"""CgAT on top of DPSH: CIFAR-10, the network ``small`` at 32 pixels, 32 bits.

    python -m experiments.prepare --dataset=cifar10 --source=CIFAR10 --out=data/cifar10
    python -m experiments.main --config=experiments/configs/cifar10.py \
        --config.data.root=data/cifar10 --workdir=runs/cifar10

CIFAR10 holds the archive of the binary or the python version, or what was in it. Not a
data set of the paper; its sizes are the field's: 100 queries a class of the test
images, 500 training images a class, and a database of the other 59,000. The official
split is --config.data.num_queries=10000 --config.data.num_train=50000
--config.data.num_database=50000.

Measured on 2026-11-24, seeds 0 and 1, two CPU cores, on photos that had been kept as
JPEG: MAP@5000 31.10 clean and 1.37 under CgAT's own attack undefended, 21.94 and 6.20
with CgAT (commits aff8875, a5851fd); chance is 10.0. It took 4 minutes
of one core, without the worst case and sanity checks of today's runs.
"""

from cgat_jax.config import Config, Data, Defense, Evaluate, Model, Training


def get_config() -> Config:
    """A setting for two CPU cores."""
    return Config(
        data=Data(
            name="cifar10",
            image_size=32,
            crop_size=32,
            num_queries=1_000,
            num_train=5_000,
        ),
        model=Model(name="small"),
        backbone=Training(
            epochs=12, batch_size=64, learning_rate=0.1, schedule="cosine"
        ),
        pretrain=Training(epochs=12, batch_size=64, learning_rate=0.02),
        defense=Defense(epochs=5, batch_size=64, learning_rate=0.01),
        evaluate=Evaluate(attacks="noise,cgat", batch_size=100),
        checkpoint_seconds=60.0,
    )
