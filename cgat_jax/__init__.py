"""Deep hashing for image retrieval, in JAX: training, attacks, defenses, evaluation.

Things to do with it, each without a workdir or a configuration::

    import cgat_jax as cj

    net = cj.load_network("runs/coco", defense="cgat")   # a run, a folder or a file
    codes = net.encode(images)                           # uint8 or float [n, h, w, 3]
    net.export("net.onnx")                               # or .stablehlo; load_exported
    cj.save_packed("codes.faiss", codes, ids=ids)        # or .npz

    adversarial = cj.attack("cgat", net.apply, images, references, key=key)
    result = cj.benchmark(net.apply, data, epsilon=8 / 255)
    encode = cj.from_torch(module)                       # a PyTorch network, to attack
    cj.convert_weights("net.pth", "net.safetensors")     # a PyTorch file, to load
    scores = cj.evaluate_retrieval(
        query_codes, query_labels, database_codes, database_labels
    )
    index = cj.Index.build(net, photos, ids)             # search: index.search(photos)

``center_codes`` (Eq. 4 and 5 of the paper) and the packages ``losses`` and ``attacks``
are of pure functions, to use alone. The programs under ``experiments`` train networks.

Names are imported when they are first used: ``import cgat_jax`` starts no device, and
imports none of JAX, Flax, Orbax, PyTorch and TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The module of each public name, and what it is called there; a module has no name.
_PUBLIC = {
    "ArrayData": ("cgat_jax.data.arrays", "ArrayData"),
    "AttackSettings": ("cgat_jax.attacks.inputs", "AttackSettings"),
    "BenchmarkSettings": ("cgat_jax.benchmarking.settings", "BenchmarkSettings"),
    "Index": ("cgat_jax.search", "Index"),
    "Network": ("cgat_jax.evaluation.network", "Network"),
    "attack": ("cgat_jax.attacks.run", "attack"),
    "attacks": ("cgat_jax.attacks", ""),
    "benchmark": ("cgat_jax.benchmarking.benchmark", "benchmark"),
    "center_codes": ("cgat_jax.centers", "center_codes"),
    "convert_weights": ("cgat_jax.evaluation.torch_networks", "convert_weights"),
    "evaluate_retrieval": ("cgat_jax.retrieval", "evaluate_retrieval"),
    "from_torch": ("cgat_jax.models.torch_bridge", "from_torch"),
    "load_exported": ("cgat_jax.evaluation.export", "load_exported"),
    "load_network": ("cgat_jax.evaluation.trained_networks", "load_network"),
    "losses": ("cgat_jax.losses", ""),
    "save_packed": ("cgat_jax.search.packed_codes", "save_packed"),
}

__all__ = [
    "ArrayData",
    "AttackSettings",
    "BenchmarkSettings",
    "Index",
    "Network",
    "attack",
    "attacks",
    "benchmark",
    "center_codes",
    "convert_weights",
    "evaluate_retrieval",
    "from_torch",
    "load_exported",
    "load_network",
    "losses",
    "save_packed",
]

if TYPE_CHECKING:
    from cgat_jax import attacks, losses
    from cgat_jax.attacks.inputs import AttackSettings
    from cgat_jax.attacks.run import attack
    from cgat_jax.benchmarking.benchmark import benchmark
    from cgat_jax.benchmarking.settings import BenchmarkSettings
    from cgat_jax.centers import center_codes
    from cgat_jax.data.arrays import ArrayData
    from cgat_jax.evaluation.export import load_exported
    from cgat_jax.evaluation.network import Network
    from cgat_jax.evaluation.torch_networks import convert_weights
    from cgat_jax.evaluation.trained_networks import load_network
    from cgat_jax.models.torch_bridge import from_torch
    from cgat_jax.retrieval import evaluate_retrieval
    from cgat_jax.search import Index
    from cgat_jax.search.packed_codes import save_packed


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, inside = _PUBLIC[name]
    found = importlib.import_module(module)
    if inside:
        found = getattr(found, inside)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """What is imported, and what can be."""
    return sorted({*globals(), *_PUBLIC})
