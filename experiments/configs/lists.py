"""CgAT on your own images: a folder with the field's split files.

    python -m experiments.main --config=experiments/configs/lists.py \
        --config.data.source=DIR --workdir=runs/mine

DIR holds {train,test,database}_img.txt, an image path a line, and _label.txt, a row of
0 and 1 a line. The images are prepared once into WORKDIR/data. For images of 32 pixels:

    --config.data.image_size=32 --config.data.crop_size=32 --config.model.name=small
"""

from cgat_jax.config import Config, Data, Training


def get_config() -> Config:
    """The paper's settings on listed images."""
    return Config(
        data=Data(name="lists"), backbone=Training(epochs=30, schedule="cosine")
    )
