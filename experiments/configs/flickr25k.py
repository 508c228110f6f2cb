"""CgAT on top of DPSH: FLICKR-25K (38 labels), AlexNet, 32 bits.

    python -m experiments.prepare --dataset=flickr25k --source=MIRFLICKR \
        --out=data/flickr25k
    python -m experiments.main --config=experiments/configs/flickr25k.py \
        --config.data.root=data/flickr25k --workdir=runs/flickr25k

MIRFLICKR holds the archives of MIRFLICKR-25k and of its annotations v080, or what was
in them. The split has the sizes of the paper; its released lists have others (1,700
queries, and 4,496 different training images in 5,000 lines) and are used with

    --config.data.splits=LISTS --config.data.split=released

The paper starts from ImageNet weights: give them with --config.model.weights=FILE
(see ``experiments.convert_weights``). Not yet measured; the paper's
MAP@5000 is 77.12 clean and 37.89 under CgAT's own attack, chance is 53.3.
"""

from cgat_jax.config import Config, Data, Evaluate, Model


def get_config() -> Config:
    """The paper's settings."""
    return Config(
        data=Data(name="flickr25k", num_queries=1_000, num_train=5_000),
        model=Model(name="alexnet"),
        evaluate=Evaluate(prosgan_reconstruction=100.0),
    )
