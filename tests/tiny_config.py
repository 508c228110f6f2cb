"""A whole run in seconds: a hundred scenes, eight bits, one or two epochs a stage."""

from cgat_jax.config import Config, Data, Defense, Evaluate, Loss, Model, Training


def get_config() -> Config:
    return Config(
        data=Data(
            name="quickstart",
            image_size=40,
            crop_size=32,
            num_queries=20,
            num_train=88,
            num_database=120,
        ),
        model=Model(name="small", bits=8, weights="", dropout=0.1),
        loss=Loss(name="dpsh"),
        backbone=Training(epochs=1, batch_size=16, schedule="cosine"),
        pretrain=Training(epochs=2, batch_size=16),
        defense=Defense(epochs=2, batch_size=16, steps=2),
        evaluate=Evaluate(steps=3, batch_size=16, gallery=2, sanity_queries=0),
        log_steps=2,
        checkpoint_seconds=0.0,
    )
