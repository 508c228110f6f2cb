r"""Converts PyTorch's weights of our networks, without PyTorch.

    python -m experiments.convert_weights --torch=alexnet-owt-7be5be79.pth \
        --out=alexnet.safetensors

Takes AlexNet, VGG11/13/16/19 without and with batch normalization, and ResNet-18/34/50:
torchvision's ImageNet weights, and trained hashing networks with any names of layers,
which are recognized by the order and the shapes of their tensors. The file may hold a
state dictionary, a checkpoint with one ("state_dict", "model", "net", ...) or a whole
module. What does not fit is named and nothing is written; what is no part of the
network, such as the classifier of a second loss, is left out with --leave_out=NAME.

The head is kept as the last layer, one output a bit, unless it is torchvision's of 1000
classes; --head=drop leaves it out, --head=keep keeps it in any case. A run starts from
the result with --config.model.weights=OUT, with a head of its own. With its head, the
result is a network that cgat_jax.load_network and --config.pretrained=OUT take; its
card says that images have a short side of 256 and a crop of 224 pixels, or those of
--image_size and --crop_size, which have to be those of the run that takes it.

The networks here take images in [0, 1] and normalize them inside, by ImageNet's mean
(0.485, 0.456, 0.406) and standard deviation (0.229, 0.224, 0.225). The weights must be
of a network that saw images normalized in this way, wherever that was done. A file does
not tell, and nothing here guesses: weights for pixels of 0 to 255, for other means or
for BGR are converted without a word and give wrong codes. Layers without weights are
taken to be torchvision's. So compare the logits of an image before using the result.

An OUT that this program has written before is replaced; any other file stays. Nothing
in the file is executed: what it names besides tensors is never looked up, and a file
that needs more than its tensors is refused.

Exit codes: 0 done, 2 refused (a line on what and where). Others: docs/runs.md.
"""

import inspect

from absl import flags, logging

from cgat_jax.evaluation.torch_networks import HEADS, convert_weights
from cgat_jax.models.torch_import.weights import SOURCES
from experiments import cli

_REQUIRED = {
    "torch": "file of PyTorch's weights (.pth)",
    "out": "file to write (.safetensors)",
}
_SIZES = {
    "image_size": "short side to which a hashing network's images are resized, pixels",
    "crop_size": "side of the centered square that a hashing network sees, pixels",
}


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    for name, text in _REQUIRED.items():
        flags.DEFINE_string(name, None, text, flag_values=values)
    flags.DEFINE_enum(
        "model",
        None,
        sorted(SOURCES),
        "network that the file must be of; found from the file if left out",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "head",
        "auto",
        HEADS,
        "keep or drop the last layer; auto: keep it unless it has 1000 classes",
        flag_values=values,
    )
    flags.DEFINE_list(
        "leave_out",
        [],
        "layers or tensors of the file that are no part of the network, by name",
        flag_values=values,
    )
    for name, text in _SIZES.items():
        flags.DEFINE_integer(
            name,
            inspect.signature(convert_weights).parameters[name].default,
            text,
            lower_bound=1,
            flag_values=values,
        )


def main(values: flags.FlagValues) -> int:
    """Converts, and prints what the file holds."""
    logging.set_verbosity(logging.WARNING)
    for name, text in _REQUIRED.items():
        if not values[name].value:
            return cli.refuse(
                "convert_weights", f"--{name} is missing: expected the {text}"
            )
    try:
        made = convert_weights(
            values.torch,
            values.out,
            backbone=values.model,
            head=values.head,
            leave_out=values.leave_out,
            image_size=values.image_size,
            crop_size=values.crop_size,
        )
    except (ValueError, OSError) as error:
        return cli.refuse("convert_weights", error)
    said = "without the head"
    if made.head is not None:
        said = f"with the head {made.head!r} of {made.bits} outputs"
    print(
        f"{made.backbone}: {made.num_weights:,} weights in {made.num_arrays} arrays "
        f"and {made.num_statistics} statistics, {said}: {made.path}"
    )
    return 0


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("convert_weights", lambda: main(flags.FLAGS))
