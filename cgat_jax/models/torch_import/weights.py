"""From torchvision's parameter names and layouts to ours."""

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from cgat_jax.models.resnet import LAYOUTS
from cgat_jax.models.vgg import DEPTHS
from cgat_jax.types import HashModel, PyTree

_ADDRESS = "https://download.pytorch.org/models/"
SOURCES = {
    "alexnet": f"{_ADDRESS}alexnet-owt-7be5be79.pth",
    "vgg11": f"{_ADDRESS}vgg11-8a719046.pth",
    "vgg13": f"{_ADDRESS}vgg13-19584684.pth",
    "vgg16": f"{_ADDRESS}vgg16-397923af.pth",
    "vgg19": f"{_ADDRESS}vgg19-dcbb9e9d.pth",
    "vgg11_bn": f"{_ADDRESS}vgg11_bn-6002323d.pth",
    "vgg13_bn": f"{_ADDRESS}vgg13_bn-abd245e5.pth",
    "vgg16_bn": f"{_ADDRESS}vgg16_bn-6c64b313.pth",
    "vgg19_bn": f"{_ADDRESS}vgg19_bn-c79401a0.pth",
    "resnet18": f"{_ADDRESS}resnet18-f37072fd.pth",
    "resnet34": f"{_ADDRESS}resnet34-b627a593.pth",
    "resnet50": f"{_ADDRESS}resnet50-0676ba61.pth",
}
"""Torchvision's files of ImageNet weights (IMAGENET1K_V1)."""

# Positions of the convolutions in torchvision's ``features`` and of the dense layers in
# its ``classifier``.
_ALEXNET = (0, 3, 6, 8, 10), (1, 4, 6)
_VGG_DENSE = (0, 3, 6)
# Shape (C, H, W) of the features where they are flattened.
_FLATTENED = {"alexnet": (256, 6, 6)}
_VGG_FLATTENED = (512, 7, 7)
_UNUSED = ".num_batches_tracked"
_BATCH_NORM = {
    "weight": "scale",
    "bias": "bias",
    "running_mean": "mean",
    "running_var": "var",
}
_AFFINE = {"weight": "kernel", "bias": "bias"}


def torch_names(name: str) -> dict[str, str]:
    """Torchvision's name of each array of the network ``name``: theirs to ours.

    Raises:
        ValueError: it is no torchvision network.
    """
    if name not in SOURCES:
        raise ValueError(f"no torchvision network {name!r}; known: {sorted(SOURCES)}")
    layers = _resnet_layers(name) if name in LAYOUTS else _plain_layers(name)
    names = {}
    for theirs, ours in layers.items():
        last = ours.split("/")[-1]
        is_norm = last.startswith("bn") or last.endswith("bn")
        for their_part, our_part in (_BATCH_NORM if is_norm else _AFFINE).items():
            names[f"{theirs}.{their_part}"] = f"{ours}/{our_part}"
        if name in LAYOUTS and "conv" in last:
            del names[f"{theirs}.bias"]
    return names


def recognize(arrays: dict[str, np.ndarray]) -> str:
    """The torchvision network that has a ``state_dict``'s names.

    Raises:
        ValueError: none has; the message names the nearest and the first difference.
    """
    given = {key for key in arrays if not key.endswith(_UNUSED)}
    differing = {name: torch_names(name).keys() ^ given for name in SOURCES}
    name = min(differing, key=lambda name: len(differing[name]))
    if differing[name]:
        key = min(differing[name])
        has, lacks = ("the file", name) if key in given else (name, "the file")
        raise ValueError(
            f"no known network, the nearest is {name}: {has} has {key!r}, {lacks} has "
            f"not; known: {sorted(SOURCES)}"
        )
    return name


def from_torch_state(
    name: str, arrays: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]
) -> tuple[PyTree, PyTree]:
    """Parameters and statistics of a network from a torchvision ``state_dict``.

    Kernels go from OIHW to HWIO, dense weights from (out, in) to (in, out), and the
    first dense layer's input from the order C, H, W to H, W, C. The last dense layer
    becomes ``head``, whatever its number of outputs.

    Args:
        name: a key of ``SOURCES``.
        arrays: all entries of the ``state_dict``, such as "features.0.weight"; numbers
            of batches seen are left out.
        shapes: ``network_shapes`` of the network; the arrays must fit them.

    Returns:
        Float32 NumPy arrays in the trees that the network's ``init`` gives.

    Raises:
        ValueError: ``name`` is no torchvision network of ours; or an entry is missing
            or left over, has another shape, or holds what no weight can be.
    """
    names = torch_names(name)
    given = {key for key in arrays if not key.endswith(_UNUSED)}
    for key in sorted(names.keys() ^ given):
        state = "missing" if key in names else "unexpected"
        raise ValueError(f"{name}: entry {key!r} is {state}")
    values = {}
    for key, ours in names.items():
        expected = torch_shape(ours, shapes[ours])
        got = arrays[key].shape
        if len(got) != len(expected) or (got != expected and "head/" not in ours):
            raise ValueError(f"{name}: {key!r} is {expected} in the network, got {got}")
        values[ours] = _converted(name, ours, key, arrays[key])
    stats = {key: values.pop(key) for key in list(values) if _is_statistic(key)}
    return unflatten_dict(values, sep="/"), unflatten_dict(stats, sep="/")


def network_shapes(model: HashModel) -> dict[str, tuple[int, ...]]:
    """Shapes of a network's arrays by their names, statistics included."""
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    trees = jax.eval_shape(model.init, jax.random.key(0), images)
    flat = {}
    for tree in trees:
        flat |= flatten_dict(tree, sep="/")
    return {key: leaf.shape for key, leaf in flat.items()}


def torch_shape(ours: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in PyTorch of an array of ours."""
    if not ours.endswith("/kernel"):
        return shape
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


def _converted(name: str, ours: str, key: str, array: np.ndarray) -> np.ndarray:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name}: {key!r} is of type {array.dtype}, no floating point")
    with np.errstate(over="ignore"):
        array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {key!r} holds numbers that are not finite")
    if ours.endswith("/var") and (array < 0).any():
        raise ValueError(f"{name}: {key!r} holds negative variances")
    if array.ndim == 4:
        return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
    if ours == "fc1/kernel":
        shape = _FLATTENED.get(name, _VGG_FLATTENED)
        array = array.reshape(-1, *shape).transpose(0, 2, 3, 1)
        array = array.reshape(len(array), -1)
    return np.ascontiguousarray(array.T)


def _is_statistic(key: str) -> bool:
    return key.endswith(("/mean", "/var"))


def _plain_layers(name: str) -> dict[str, str]:
    """Layers of AlexNet and of VGG, by position in torchvision's lists."""
    layers, convs, dense = {}, *_ALEXNET
    if name != "alexnet":
        convs, dense, position = [], _VGG_DENSE, 0
        slots = 3 if name.endswith("_bn") else 2  # convolution (, norm), ReLU
        for depth in DEPTHS[name.removesuffix("_bn")]:
            convs += range(position, position + slots * depth, slots)
            position += slots * depth + 1
    for number, position in enumerate(convs, start=1):
        layers[f"features.{position}"] = f"conv{number}"
        if name.endswith("_bn"):
            layers[f"features.{position + 1}"] = f"bn{number}"
    heads = zip(dense, ("fc1", "fc2", "head"), strict=True)
    return layers | {f"classifier.{position}": layer for position, layer in heads}


def _resnet_layers(name: str) -> dict[str, str]:
    depths, bottleneck = LAYOUTS[name]
    layers = {"conv1": "conv1", "bn1": "bn1"}
    for group, depth in enumerate(depths, start=1):
        for position in range(depth):
            theirs, ours = f"layer{group}.{position}", f"layer{group}_{position}"
            for number in range(1, 4 if bottleneck else 3):
                layers[f"{theirs}.conv{number}"] = f"{ours}/conv{number}"
                layers[f"{theirs}.bn{number}"] = f"{ours}/bn{number}"
            if position == 0 and (group > 1 or bottleneck):
                layers[f"{theirs}.downsample.0"] = f"{ours}/downsample_conv"
                layers[f"{theirs}.downsample.1"] = f"{ours}/downsample_bn"
    return layers | {"fc": "head"}
