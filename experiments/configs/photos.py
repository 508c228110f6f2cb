"""CgAT on your own photos: a folder a class, a table of labels, or the split files.

    python -m experiments.prepare --source=DIR --dry-run
    python -m experiments.main --config=experiments/configs/photos.py \
        --config.data.source=DIR --workdir=runs/mine

The layout is recognized by looking; experiments.prepare --help has them all. Network,
sizes, epochs and batches are chosen by the number and the size of the photos and by the
devices, printed with the reason and the time it will take, and written into
WORKDIR/config.json, which the same command goes on with. What is given is kept:
--config.model.name=resnet18, --config.data.crop_size=64, --config.defense.epochs=20.

A tenth of the photos are queries and the others the database, all of which trains:
--config.data.query_fraction=0.2 or --config.data.num_queries=100 for others.
"""

from cgat_jax.config import Config, Data, Defense, Evaluate, Model, Training


def get_config() -> Config:
    """The settings that are not chosen, and marks of those that are."""
    return Config(
        data=Data(name="photos", num_queries=0, num_train=0, image_size=0, crop_size=0),
        model=Model(name=""),
        backbone=Training(
            epochs=-1, batch_size=0, learning_rate=0.1, schedule="cosine"
        ),
        pretrain=Training(
            epochs=-1, batch_size=0, learning_rate=0.005, schedule="cosine"
        ),
        defense=Defense(epochs=-1, batch_size=0, learning_rate=0.01),
        evaluate=Evaluate(attacks="noise,cgat", batch_size=0),
        checkpoint_seconds=60.0,
    )
