"""ATRDH with CgAT's epochs, optimizer and augmentation, on MS-COCO 2014.

    python -m experiments.main --config=experiments/configs/coco_atrdh_matched.py \
        --config.data.root=data/coco --config.pretrained=runs/coco \
        --config.model.weights=weights/vgg11.safetensors \
        --workdir=runs/coco_atrdh_matched

What differs from ``coco`` is the defense alone. Not yet measured.
"""

import dataclasses

from cgat_jax.config import Config, Defense
from experiments.configs import coco


def get_config() -> Config:
    """CgAT's configuration with the step of ATRDH."""
    return dataclasses.replace(coco.get_config(), defense=Defense(name="atrdh"))
