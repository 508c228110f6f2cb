"""Trained networks as programs that run without this package: StableHLO and ONNX.

Both take uint8 images [b, crop_size, crop_size, 3], one or more, and give the
packed codes, uint8 [b, ceil(bits / 8)], and the logits, float32 [b, bits]. Scaling and
normalization are inside. Resizing and cropping are not, since Pillow's filter has no
equal in either format: ``cgat_jax.data.crops.center_crops`` does both.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from cgat_jax import __version__, sharding
from cgat_jax.errors import InputError, NonFiniteError, lookup
from cgat_jax.files.io import write_bytes
from cgat_jax.files.trailers import check_trailed_out, read_payload, trailer_of
from cgat_jax.models.onnx_graph import import_onnx, onnx_model
from cgat_jax.types import PyTree

KIND = "an exported network"
PLATFORMS = ("cpu", "cuda")
OUTPUTS = ("codes", "logits")
_SAID = ("backbone", "bits", "image_size", "crop_size", "enlarge", "dtype")
_SAID += ("defense", "loss", "dataset", "classes", "network_sha256")


class ExportedNetwork(NamedTuple):
    """An exported network, read back.

    Attributes:
        encode: of uint8 images [b, crop_size, crop_size, 3] the packed codes, uint8
            [b, ceil(bits / 8)], and the logits, float32 [b, bits], as NumPy arrays; b
            may be 0. It raises an ``InputError`` for other images, and a
            ``NonFiniteError`` where logits are not finite.
        card: what the network is: ``bits``, ``image_size``, ``crop_size``, ``enlarge``,
            ``classes``, ``network_sha256`` and others.
    """

    encode: Callable[[Any], tuple[np.ndarray, np.ndarray]]
    card: dict[str, Any]


def write_export(
    path: Path,
    apply: Callable[[jax.Array], jax.Array],
    weights: PyTree,
    card: dict[str, Any],
) -> None:
    """Writes a network as its file's suffix says; whole or not at all.

    Args:
        path: ends in ``.stablehlo`` or ``.onnx``.
        apply: float32 images in [0, 1] to logits.
        weights: the arrays that ``apply`` computes with.
        card: of the network.

    Raises:
        InputError: another suffix, a package is not there, the weights are not finite,
            or the format cannot hold the network.
        ForeignFilesError: something that is no exported network is there.
    """
    check_export_out(path)
    _check_finite(weights)
    size = card["crop_size"]
    pixels = jax.ShapeDtypeStruct((1, size, size, 3), jnp.uint8)
    said = {key: card[key] for key in _SAID if key in card}
    said["versions"] = {"cgat_jax": __version__, "jax": jax.__version__}
    content = said | {"format": path.suffix[1:]}
    made = _FORMATS[path.suffix](_packing(apply, card["bits"]), pixels, content)
    write_bytes(path, made)


def check_export_out(path: Path) -> None:
    """Finds that a network may be exported to a file, before it is read or made.

    Raises:
        InputError: another suffix, or a package is not there.
        ForeignFilesError: something that is no exported network is there.
    """
    lookup("suffix of an exported network", path.suffix, _FORMATS)
    check_trailed_out(path, KIND)
    if path.suffix == ".onnx":
        import_onnx()
    else:
        _import("flatbuffers", "a StableHLO file")


def _check_finite(weights: PyTree) -> None:
    """NaN is not above 0, so that a program would give codes of zeros and say nothing.

    Raises:
        InputError: names the first array that is not finite.
    """
    for place, array in jax.tree_util.tree_leaves_with_path(weights):
        if not bool(jnp.isfinite(array).all()):
            name = jax.tree_util.keystr(place, simple=True, separator="/")
            raise InputError(f"weights: {name} is not finite; train the network again")


def load_exported(path: str | Path) -> ExportedNetwork:
    """A network that ``Network.export`` wrote, checked and ready to encode.

    >>> import tempfile, jax, jax.numpy as jnp, numpy as np
    >>> from cgat_jax import Network, load_exported
    >>> from cgat_jax.models.network_file import make_network, new_card
    >>> card = new_card(backbone="small", bits=12, image_size=36, crop_size=32)
    >>> init = jax.jit(make_network(card).init)
    >>> weights = init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Network(*weights, card).export(f"{folder}/net.stablehlo")
    ...     encode, card = load_exported(file)
    >>> codes, logits = encode(np.zeros((3, 32, 32, 3), np.uint8))
    >>> codes.shape, logits.shape, card["bits"]
    ((3, 2), (3, 12), 12)

    StableHLO runs in JAX, ONNX in onnxruntime on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is no exported network, or not as it was written.
        InputError: a package is not there.
    """
    path = Path(path)
    payload, card = read_payload(path, KIND)
    reader = _stablehlo_program if card["format"] == "stablehlo" else _onnx_program
    return ExportedNetwork(_guarded(reader(payload), path, card), card)


def _guarded(program, path: Path, card: dict[str, Any]):
    """The program of a file, on what it is made for, giving what codes can be read of.

    A runtime says of other images only what it cannot compute, if anything.
    """
    shape, bits = (card["crop_size"], card["crop_size"], 3), card["bits"]

    def encode(pixels):
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != shape:
            raise InputError(
                f"{path}: expected uint8 images [b, {', '.join(map(str, shape))}], got "
                f"{pixels.dtype} {list(pixels.shape)}; center_crops makes them"
            )
        if not len(pixels):
            codes = np.zeros((0, -(-bits // 8)), np.uint8)
            return codes, np.zeros((0, bits), np.float32)
        codes, logits = map(np.asarray, program(pixels))
        if not np.isfinite(logits).all():
            raise NonFiniteError(f"{path}: logits are not finite")
        return codes, logits

    return encode


def _packing(apply: Callable[[jax.Array], jax.Array], bits: int) -> Callable[..., Any]:
    """Pixels to packed codes, in the order of ``numpy.packbits``, and logits.

    The bits are packed by a product with powers of two, which is exact in the least
    precise arithmetic and an operation of every runtime.
    """
    weights = np.packbits(np.eye(bits, dtype=np.uint8), axis=1).astype(np.float32)

    def encode(pixels):
        logits = apply(sharding.to_images(pixels))
        ones = (logits > 0).astype(jnp.float32)
        return jnp.matmul(ones, weights).astype(jnp.uint8), logits

    return encode


def _stablehlo(encode, pixels, content) -> bytes:
    batch = export.symbolic_shape("b")
    free = jax.ShapeDtypeStruct((*batch, *pixels.shape[1:]), pixels.dtype)
    with _no_source_lines():
        program = export.export(jax.jit(encode), platforms=PLATFORMS)(free)
        payload = bytes(program.serialize())
    return payload + trailer_of(payload, KIND, content)


@contextlib.contextmanager
def _no_source_lines() -> Iterator[None]:
    """Keeps the paths of source files, and so of this machine, out of programs."""
    name = "jax_traceback_in_locations_limit"
    limit = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, limit)


def _onnx(encode, pixels, content) -> bytes:
    if content["dtype"] != "float32":
        raise InputError(
            f"an ONNX file of a network that computes in {content['dtype']} would run "
            "nowhere on a CPU; export it as .stablehlo"
        )
    proto, payload = import_onnx().ModelProto(), onnx_model(encode, pixels, OUTPUTS)
    # Serialized messages that follow each other are one message.
    entry = proto.metadata_props.add(key="cgat_jax")
    entry.value = trailer_of(payload, KIND, content).decode()
    return payload + proto.SerializeToString()


_FORMATS = {".stablehlo": _stablehlo, ".onnx": _onnx}


def _stablehlo_program(payload: bytes):
    _import("flatbuffers", "a StableHLO file")
    return jax.jit(export.deserialize(payload).call)


def _onnx_program(payload: bytes):
    runtime = _import("onnxruntime", "running an ONNX file")
    session = runtime.InferenceSession(payload, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run([*OUTPUTS], {"images": pixels})


def _import(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{what} needs the package {name}: pip install {name}, or this package "
            "with its extra [export]"
        ) from error
