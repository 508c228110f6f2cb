"""Typed configuration: what a run is; each setting with its meaning and its range.

One Python file under ``experiments/configs/`` builds a ``Config`` for each result;
``--config.section.key=value`` overrides any setting below. The records are plain
(not frozen) dataclasses, because the command line assigns to them; nothing does after
``cgat_jax.config.settings.validate``.
"""

import dataclasses

from cgat_jax.config.evaluation import Evaluate
from cgat_jax.config.fields import setting


@dataclasses.dataclass(kw_only=True)
class Data:
    """The images, their labels, and who is query, database and training image."""

    name: str = setting(
        "coco",
        "data set: photos (your own), quickstart, lists, coco, flickr25k, nus_wide or "
        "cifar10",
    )
    root: str = setting(
        "", "folder of the prepared data; empty: WORKDIR/data", affects_results=False
    )
    source: str = setting(
        "",
        "folder of the original files or archives; prepared once, then compared",
        affects_results=False,
    )
    split: str = setting(
        "paper",
        "paper (drawn: the sizes and the seed below) or released (lists: not used)",
        choices=("paper", "released"),
    )
    splits: str = setting(
        "",
        "with split=released: folder of its files; read once into the prepared data",
        affects_results=False,  # the split's digest is part of the data's
    )
    image_size: int = setting(
        256,
        "short side of stored images, pixels; larger ones are reduced to it (photos: 0 "
        "is chosen)",
        low=1,
    )
    enlarge: bool = setting(
        True,
        "enlarge smaller images to that side when they are read; else they must be at "
        "least of the crop's size",
    )
    crop_size: int = setting(
        224,
        "side of the square that the network sees, pixels (photos: 0 is chosen)",
        low=1,
    )
    num_queries: int = setting(
        5000, "query images (lists: all; photos: 0 for the share below)"
    )
    num_train: int = setting(
        10000,
        "training images, part of the database (lists: all; photos: 0 for the share)",
    )
    query_fraction: float = setting(
        0.1, "photos: share of them that are queries", high=1
    )
    train_fraction: float = setting(
        1.0, "photos: share of the database that trains", high=1
    )
    num_database: int = setting(0, "database images; 0: all that are not queries")
    split_seed: int = setting(0, "seed of the split (lists: not used)")
    cache_gib: float = setting(
        8.0, "keep decoded images in memory up to this size, GiB", affects_results=False
    )
    threads: int = setting(
        2, "decoding threads; they never change the order", low=1, affects_results=False
    )


@dataclasses.dataclass(kw_only=True)
class Model:
    """The hashing network."""

    name: str = setting(
        "vgg11",
        "alexnet, vgg11, vgg13, vgg16 or vgg19 (with batch normalization: vgg11_bn "
        "...), resnet18, resnet34, resnet50, small or medium (photos: empty is chosen)",
    )
    bits: int = setting(32, "code length K", low=1)
    weights: str = setting(
        "",
        "start: a safetensors file, 'packed' (small), 'random'; empty: must be chosen",
    )
    dropout: float = setting(0.5, "dropout rate of the fully connected layers", high=1)
    dtype: str = setting(
        "float32", "compute type: float32 or bfloat16", choices=("float32", "bfloat16")
    )


@dataclasses.dataclass(kw_only=True)
class Loss:
    """The hashing loss."""

    name: str = setting(
        "dpsh",
        "dpsh, dph, hashnet, dsdh, dch, csq, greedyhash, dsdh_c or csq_c (with SWDC)",
    )
    eta: float = setting(0.001, "dpsh: weight of the quantization term")
    eta_form: str = setting(
        "mean",
        "dpsh: that term's mean, or sum (then eta is 50)",
        choices=("mean", "sum"),
    )
    continuation: bool = setting(False, "hashnet: tanh grows steeper while training")
    quantization: float = setting(
        0.0, "dsdh: weight of the quantization term that the released code lost"
    )
    rule: str = setting(
        "multi",
        "csq: center of all classes (multi) or the first",
        choices=("multi", "single"),
    )
    redraw: bool = setting(
        False, "csq: new random centers for the defense, as the released code does"
    )
    unseen: str = setting(
        "labels",
        "hashnet: in the first epoch, pairs with images not seen yet count by their "
        "labels, or all as dissimilar, as in the released code",
        choices=("labels", "dissimilar"),
    )
    train_classifier: bool = setting(
        True, "greedyhash: false leaves the classifier as drawn, as the released code"
    )


@dataclasses.dataclass(kw_only=True)
class Training:
    """Optimization of one stage: SGD or Adam as PyTorch does it."""

    epochs: int = setting(100, "epochs; 0 skips the stage (photos: -1 is chosen)")
    batch_size: int = setting(
        32, "images a step, over all devices (photos: 0 is chosen)", low=1
    )
    learning_rate: float = setting(0.01, "initial learning rate")
    optimizer: str = setting("sgd", "sgd or adam")
    momentum: float = setting(
        0.9, "momentum of SGD, first decay rate of Adam", high=0.99999
    )
    weight_decay: float = setting(5e-4, "weight decay, on all parameters")
    schedule: str = setting(
        "thirds", "thirds, half, half_and_three_quarters, cosine or constant"
    )
    drop_last: bool = setting(
        False, "drop the last partial batch instead of padding it"
    )
    augment: bool = setting(True, "random crop and horizontal flip; else center crop")


@dataclasses.dataclass(kw_only=True)
class Defense(Training):
    """The adversarial training stage."""

    name: str = setting("cgat", "cgat, saat, at_self, atrdh or standard")
    epochs: int = setting(30, "epochs; 0 skips the stage (photos: -1 is chosen)")
    schedule: str = setting(
        "half", "thirds, half, half_and_three_quarters, cosine or constant"
    )
    weight: float = setting(1.0, "lambda: weight of the adversarial term")
    bank: str = setting(
        "soft",
        "codes that centers are made of: soft or binary",
        choices=("soft", "binary"),
    )
    crafting: str = setting(
        "train",
        "network while crafting: train (dropout on, batch statistics) or eval",
        choices=("train", "eval"),
    )
    epsilon: float = setting(
        8 / 255, "budget of the inner attack, L-infinity, of [0, 1]", high=1
    )
    step_size: float = setting(2 / 255, "step of the inner attack, of [0, 1]", high=1)
    steps: int = setting(7, "iterations of the inner attack")
    surrogate: str = setting(
        "tanh",
        "what the inner attack moves: tanh or logits",
        choices=("tanh", "logits"),
    )
    centers: str = setting(
        "equal",
        "weights of positives in cgat's centers: equal, jaccard or cosine",
        choices=("equal", "jaccard", "cosine"),
    )
    quantization: float = setting(
        0.0, "weight of mean((u - sign u)^2) of adversarial codes (saat: 1e-4)"
    )
    consistency: float = setting(
        0.0, "weight of mean((u_adversarial - u_clean)^2), as TRADES"
    )
    awp: float = setting(0.0, "gamma of adversarial weight perturbation (try 0.005)")
    ema: float = setting(
        0.0,
        "decay of the averaged weights that are evaluated, after a warm-up; 0: none "
        "(try 0.999)",
        high=0.99999,
    )
    triangle: bool = setting(
        True, "atrdh, tha: prototypes without the pairs j <= i, as released"
    )


@dataclasses.dataclass(kw_only=True)
class Config:
    """A run: its stages are backbone, pretrain, defend, evaluate and report."""

    data: Data = dataclasses.field(default_factory=Data)
    model: Model = dataclasses.field(default_factory=Model)
    loss: Loss = dataclasses.field(default_factory=Loss)
    backbone: Training = dataclasses.field(
        default_factory=lambda: Training(epochs=0, schedule="cosine")
    )
    pretrain: Training = dataclasses.field(default_factory=Training)
    defense: Defense = dataclasses.field(default_factory=Defense)
    evaluate: Evaluate = dataclasses.field(default_factory=Evaluate)
    seed: int = setting(0, "root of all randomness but the split's", high=2**32 - 1)
    log_steps: int = setting(
        20, "steps between logged, checked metrics", low=1, affects_results=False
    )
    checkpoint_seconds: float = setting(
        300.0, "time between checkpoints", affects_results=False
    )
    compilation_cache: str = setting(
        "", "folder of compiled programs; empty: none", affects_results=False
    )
    pretrained: str = setting(
        "",
        "what is defended: the pretrained network of another run (its workdir), or a "
        "network.safetensors; empty: own",
    )
