"""DPSH and CgAT on the packed quickstart scenes, for two CPU cores.

python -m experiments.main --config=experiments/configs/quickstart.py \
        --workdir=runs/quickstart
"""

from cgat_jax.config import Config, Data, Defense, Evaluate, Loss, Model, Training


def get_config() -> Config:
    """The configuration of the quickstart."""
    return Config(
        data=Data(
            name="quickstart",
            image_size=54,
            crop_size=48,
            num_queries=500,
            num_train=4_000,
            num_database=8_000,
        ),
        model=Model(name="small", bits=32, weights="packed", dropout=0.0),
        loss=Loss(name="dpsh", eta=0.001),
        pretrain=Training(epochs=12, batch_size=64, learning_rate=0.02),
        defense=Defense(epochs=4, batch_size=64, learning_rate=0.01),
        evaluate=Evaluate(
            attacks="noise,cgat",
            batch_size=100,
            prosgan_epochs=6,
            prosgan_width=0.25,
            prosgan_rate=5e-4,
        ),
        log_steps=20,
        checkpoint_seconds=30.0,
    )
