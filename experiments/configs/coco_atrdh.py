"""ATRDH as published, on MS-COCO 2014: 100 epochs of Adam, center crops.

    python -m experiments.main --config=experiments/configs/coco_atrdh.py \
        --config.data.root=data/coco --config.pretrained=runs/coco \
        --config.model.weights=weights/vgg11.safetensors \
        --workdir=runs/coco_atrdh

Not yet measured; the paper's MAP@5000 is 48.04 clean and 22.57 under CgAT's own attack,
chance is 35.3.
"""

import dataclasses

from cgat_jax.config import Config, Defense
from experiments.configs import coco


def get_config() -> Config:
    """The published settings of ATRDH on the configuration of ``coco``."""
    atrdh = Defense(
        name="atrdh",
        epochs=100,
        optimizer="adam",
        learning_rate=1e-4,
        momentum=0.5,
        weight_decay=0.0,
        schedule="half_and_three_quarters",
        augment=False,
    )
    return dataclasses.replace(coco.get_config(), defense=atrdh)
