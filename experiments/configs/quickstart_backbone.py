"""Makes the packed weights of ``small``: classification of quickstart scenes.

    python -m experiments.main --config=experiments/configs/quickstart_backbone.py \
        --workdir=runs/quickstart_backbone

Then ``runs/quickstart_backbone/backbone.safetensors`` is the packed file. The scenes
are of another seed than those of ``quickstart.py``.
"""

import dataclasses

from cgat_jax.config import Config, Training
from experiments.configs import quickstart


def get_config() -> Config:
    """Backbone from random weights, then a short run that shows that it works."""
    config = quickstart.get_config()
    return dataclasses.replace(
        config,
        data=dataclasses.replace(
            config.data, split_seed=1_000, num_train=20_000, num_database=20_000
        ),
        model=dataclasses.replace(config.model, weights=""),
        backbone=Training(
            epochs=20, batch_size=64, learning_rate=0.1, schedule="cosine"
        ),
    )
