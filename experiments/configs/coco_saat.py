"""SAAT as published, on MS-COCO 2014: 20 epochs of plain SGD, center crops.

    python -m experiments.main --config=experiments/configs/coco_saat.py \
        --config.data.root=data/coco --config.pretrained=runs/coco \
        --config.model.weights=weights/vgg11.safetensors \
        --workdir=runs/coco_saat

Not yet measured here.
"""

import dataclasses

from cgat_jax.config import Config, Defense
from experiments.configs import coco


def get_config() -> Config:
    """The published settings of SAAT on the configuration of ``coco``."""
    saat = Defense(
        name="saat",
        epochs=20,
        learning_rate=0.05,
        momentum=0.0,
        weight_decay=1e-5,
        schedule="half_and_three_quarters",
        augment=False,
        quantization=1e-4,
    )
    return dataclasses.replace(coco.get_config(), defense=saat)
