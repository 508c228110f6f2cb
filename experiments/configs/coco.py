"""CgAT on top of DPSH: MS-COCO 2014 (80 labels), VGG11, 32 bits.

    python -m experiments.prepare --dataset=coco --source=COCO2014 --out=data/coco
    python -m experiments.main --config=experiments/configs/coco.py \
        --config.data.root=data/coco --workdir=runs/coco

The paper starts from ImageNet weights: give them with --config.model.weights=FILE, see
experiments/convert_weights.py. With --config.backbone.epochs=30 instead the network
first learns the labels of its training images (stage ``backbone``), which is not the
paper's setting. Not yet measured; the paper's MAP@5000 is 54.13 clean and 34.15 under
CgAT's own attack, chance is 35.3.
"""

from cgat_jax.config import Config


def get_config() -> Config:
    """The paper's settings."""
    return Config()
