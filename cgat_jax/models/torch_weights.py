"""From torchvision's parameter names and layouts to ours."""

import numpy as np

from cgat_jax.models.vgg import DEPTHS
from cgat_jax.types import PyTree

# Positions of the convolutions in torchvision's ``features``, of the dense layers in
# its ``classifier``, and the features' shape (C, H, W) where they are flattened.
_ALEXNET = (0, 3, 6, 8, 10), (1, 4, 6), (256, 6, 6)
_VGG_DENSE, _VGG_SHAPE = (0, 3, 6), (512, 7, 7)
_PARTS = ("weight", "bias")


def from_torch_state(name: str, arrays: dict[str, np.ndarray]) -> PyTree:
    """Parameters of the network ``name`` from a torchvision ``state_dict``.

    Kernels go from OIHW to HWIO, dense weights from (out, in) to (in, out), and the
    first dense layer's input from the order C, H, W to H, W, C. The last dense layer
    becomes ``head``.

    Args:
        name: alexnet, vgg11, vgg13, vgg16 or vgg19.
        arrays: all entries of the ``state_dict``, such as "features.0.weight".

    Returns:
        Float32 NumPy arrays in the tree that the network's ``init`` gives.

    Raises:
        ValueError: ``name`` is no torchvision network of ours; or an entry is missing
            or left over, or has another rank; or the first dense layer does not
            fit the features. Other sizes are checked where weights are loaded.
    """
    convs, dense, shape = _positions(name)
    layers = {f"conv{n}": f"features.{i}" for n, i in enumerate(convs, start=1)}
    names = ("fc1", "fc2", "head")
    layers |= {layer: f"classifier.{i}" for layer, i in zip(names, dense, strict=True)}
    expected = {f"{key}.{part}" for key in layers.values() for part in _PARTS}
    if differing := sorted(expected ^ arrays.keys()):
        state = "missing" if differing[0] in expected else "unexpected"
        raise ValueError(f"{name}: entry {differing[0]!r} is {state}")
    return {
        layer: {
            "kernel": _kernel(key, arrays[f"{key}.weight"], layer, shape),
            "bias": np.asarray(arrays[f"{key}.bias"], np.float32),
        }
        for layer, key in layers.items()
    }


def _positions(name):
    if name == "alexnet":
        return _ALEXNET
    if name not in DEPTHS:
        known = sorted(["alexnet", *DEPTHS])
        raise ValueError(f"no torchvision network {name!r}; known: {known}")
    convs, position = [], 0
    for depth in DEPTHS[name]:
        convs += range(position, position + 2 * depth, 2)
        position += 2 * depth + 1
    return convs, _VGG_DENSE, _VGG_SHAPE


def _kernel(key, weight, layer, shape):
    rank = 4 if layer.startswith("conv") else 2
    if weight.ndim != rank:
        raise ValueError(f"{key}.weight: expected rank {rank}, got {weight.ndim}")
    weight = np.asarray(weight, np.float32)
    if rank == 4:
        return np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    if layer == "fc1":
        if weight.shape[1] != np.prod(shape):
            raise ValueError(
                f"{key}.weight: expected {np.prod(shape)} inputs, got {weight.shape[1]}"
            )
        weight = weight.reshape(-1, *shape).transpose(0, 2, 3, 1)
        weight = weight.reshape(len(weight), -1)
    return np.ascontiguousarray(weight.T)
