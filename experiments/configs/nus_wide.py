"""CgAT on top of DPSH: NUS-WIDE (21 labels), VGG11, 32 bits.

    python -m experiments.prepare --dataset=nus_wide --source=NUSWIDE \
        --out=data/nus_wide
    python -m experiments.main --config=experiments/configs/nus_wide.py \
        --config.data.root=data/nus_wide --workdir=runs/nus_wide

NUSWIDE holds the images, the image lists, ``Concepts81.txt`` and the label files of
``AllLabels`` or ``TrainTestLabels``. The released lists are used with

    --config.data.splits=LISTS --config.data.split=released

The paper starts from ImageNet weights: give them with --config.model.weights=FILE
(see ``experiments.convert_weights``). Not yet measured; the paper's
MAP@5000 is 72.05 clean and 54.36 under CgAT's own attack, chance is 36.4.
"""

from cgat_jax.config import Config, Data


def get_config() -> Config:
    """The paper's settings."""
    return Config(data=Data(name="nus_wide", num_queries=2_100, num_train=10_500))
