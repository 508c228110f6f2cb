"""Exported networks: the codes of the network itself, in other runtimes."""

import errno
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

from cgat_jax.data.crops import center_crops
from cgat_jax.data.datasets.quickstart import render_scene
from cgat_jax.errors import (
    DamagedFileError,
    ForeignFilesError,
    InputError,
    NonFiniteError,
)
from cgat_jax.evaluation.export import load_exported
from cgat_jax.evaluation.network import Network
from cgat_jax.files import io
from cgat_jax.models.layers.convolution import max_pool
from cgat_jax.models.network_file import network_shapes, new_card, read_card
from cgat_jax.models.onnx_graph import onnx_model
from cgat_jax.models.weights import load_weights, packed_weights

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CLASSES = [
    "T-shirt",
    'a "bag"',
    '{"cgat_jax_file": "x"}',
    "Schuh \N{GREEK SMALL LETTER MU}",
]
SUFFIXES = [".stablehlo", ".onnx"]


def network_of(name="small", *, bits=12, size=32, **known):
    """A network whose activations neither vanish nor explode, with random weights."""
    card = new_card(backbone=name, bits=bits, image_size=size, crop_size=size, **known)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        kind = path[-1].key
        if kind in ("scale", "var"):
            values = rng.uniform(0.5, 1.5, leaf.shape)
        else:
            fan_in = np.prod(leaf.shape[:-1]) if kind == "kernel" else 400
            values = rng.normal(0, (2 / fan_in) ** 0.5, leaf.shape)
        return jnp.array(values, leaf.dtype)

    drawn = jax.tree_util.tree_map_with_path(draw, network_shapes(card))
    return Network(*drawn, card)


@pytest.fixture(autouse=True, scope="module")
def programs_that_are_not_kept():
    """A compiled export holds its weights: a few would fill the cache of all tests."""
    name = "jax_persistent_cache_min_compile_time_secs"
    seconds = getattr(jax.config, name)
    jax.config.update(name, 1e9)
    yield
    jax.config.update(name, seconds)


@pytest.fixture(scope="module")
def net():
    """The package's trained convolutions under a random head, centered on the photos.

    Thus each bit is 1 for about half of them.
    """
    made = network_of(classes=CLASSES, defense="cgat")
    weights = load_weights(packed_weights("small"), made.params, made.stats)
    head = {**weights[0]["head"], "bias": jnp.zeros(12)}
    first = Network({**weights[0], "head": head}, weights[1], made.card)
    middle = np.median(first.logits(photos_of(range(200))), axis=0)
    params = {**first.params, "head": {**head, "bias": -jnp.array(middle)}}
    return Network(params, first.stats, first.card)


def photos_of(numbers):
    return np.stack([render_scene(0, "query", i, 40)[0] for i in numbers])


@pytest.fixture(scope="module")
def crops():
    return center_crops(photos_of(range(1_000)), image_size=32, crop_size=32)


@pytest.fixture(scope="module")
def files(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    return {suffix: net.export(folder / f"net{suffix}") for suffix in SUFFIXES}


def assert_same_codes(found, net, pixels, near=1e-4):
    """Bit for bit, but where a logit is too near 0 for two orders of summing."""
    packed, logits = found
    wanted = net.logits(pixels, batch_size=min(200, len(pixels)))
    assert packed.dtype == np.uint8 and logits.dtype == np.float32
    np.testing.assert_array_equal(packed, np.packbits(logits > 0, axis=1))
    np.testing.assert_allclose(logits, wanted, atol=near * max(1, abs(wanted).max()))
    bits = np.unpackbits(packed, axis=1)
    assert not bits[:, net.bits :].any()
    differ = bits[:, : net.bits] != (wanted > 0)
    assert not (differ & (abs(wanted) >= near)).any()
    return bits[:, : net.bits]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("batch_size", [200, 1_000])
def test_codes_of_a_thousand_photos_are_those_of_the_network(
    suffix, batch_size, net, files, crops
):
    encode, _ = load_exported(files[suffix])
    parts = [encode(crops[i : i + batch_size]) for i in range(0, 1_000, batch_size)]
    found = [np.concatenate(part) for part in zip(*parts, strict=True)]
    bits = assert_same_codes(found, net, crops)
    assert (0.2 < bits.mean(axis=0)).all() and (bits.mean(axis=0) < 0.8).all()


def test_jax_alone_runs_the_stablehlo_file(net, files, crops):
    program = jax_export.deserialize(files[".stablehlo"].read_bytes())
    assert program.platforms == ("cpu", "cuda")
    assert b".py" not in files[".stablehlo"].read_bytes()  # nor paths of this machine
    assert_same_codes(map(np.asarray, program.call(crops[:3])), net, crops[:3])


def test_the_onnx_file_is_a_model_by_the_book(files):
    model = onnx.load(files[".onnx"])
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node}
    assert {"Conv", "MaxPool", "Relu"} <= kinds and "Slice" not in kinds
    assert {node.domain for node in model.graph.node} == {""}
    session = onnxruntime.InferenceSession(files[".onnx"])
    values = [*session.get_inputs(), *session.get_outputs()]
    assert [(value.name, value.shape, value.type) for value in values] == [
        ("images", ["b", 32, 32, 3], "tensor(uint8)"),
        ("codes", ["b", 2], "tensor(uint8)"),
        ("logits", ["b", 12], "tensor(float)"),
    ]
    assert "network_sha256" in session.get_modelmeta().custom_metadata_map["cgat_jax"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_images_have_no_codes(suffix, files):
    packed, logits = load_exported(files[suffix]).encode(np.zeros((0, 32, 32, 3), "u1"))
    assert (packed.shape, packed.dtype) == ((0, 2), np.uint8)
    assert (logits.shape, logits.dtype) == ((0, 12), np.float32)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_crop_of_the_network_is_one_line(suffix, files):
    encode, _ = load_exported(files[suffix])
    for images, got in (
        (np.zeros((2, 32, 32, 3), np.float32), "float32 [2, 32, 32, 3]"),
        (np.zeros((2, 33, 32, 3), np.uint8), "uint8 [2, 33, 32, 3]"),
        (np.zeros((32, 32, 3), np.uint8), "uint8 [32, 32, 3]"),
    ):
        expected = re.escape(f"expected uint8 images [b, 32, 32, 3], got {got}; ")
        with pytest.raises(InputError, match=f"^{files[suffix]}: {expected}.*$"):
            encode(images)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_weights_that_are_not_finite_do_not_go_out(suffix, net, tmp_path):
    bias = net.params["head"]["bias"].at[3].set(jnp.nan)
    params = net.params | {"head": net.params["head"] | {"bias": bias}}
    broken = Network(params, net.stats, net.card)
    with pytest.raises(InputError, match="weights: .*head/bias is not finite"):
        broken.export(tmp_path / f"net{suffix}")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_logits_that_are_not_finite_give_no_code(suffix, net, crops, tmp_path):
    head = jax.tree.map(lambda x: jnp.sign(x) * 3e38, net.params["head"])
    broken = Network(net.params | {"head": head}, net.stats, net.card)
    encode, _ = load_exported(broken.export(path := tmp_path / f"net{suffix}"))
    with pytest.raises(NonFiniteError, match=f"^{path}: logits are not finite"):
        encode(crops[:2])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_card_comes_with_the_file(suffix, net, files, tmp_path):
    card = load_exported(files[suffix]).card
    assert card["classes"] == CLASSES and card["format"] == suffix[1:]
    for key in ("bits", "image_size", "crop_size", "enlarge", "defense", "backbone"):
        assert card[key] == net.card[key]
    path = net.save(tmp_path / "net.safetensors")
    assert card["network_sha256"] == read_card(path)["network_sha256"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_an_export_is_replaced(suffix, net, tmp_path):
    path = tmp_path / f"net{suffix}"
    net.export(path)
    before = path.read_bytes()
    assert net.export(path).read_bytes() == before
    for foreign in (b"text", b"\x08\x08" * 999, before[:-1], b'{"cgat_jax_file": 1}'):
        path.write_bytes(foreign)
        with pytest.raises(ForeignFilesError, match="choose another name"):
            net.export(path)
        assert path.read_bytes() == foreign
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_another_kind_of_ours_is_not_replaced(net, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(net.save(tmp_path / "net.safetensors").read_bytes())
    with pytest.raises(ForeignFilesError, match="is not an exported network"):
        net.export(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_what_was_there(suffix, net, tmp_path, monkeypatch):
    path = net.export(tmp_path / f"net{suffix}")
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(io.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        net.export(path)
    assert path.read_bytes() == before and len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("place", [0.001, 0.5, 0.9, -700, -1])
def test_a_damaged_file_is_refused_in_one_line(suffix, place, files, tmp_path):
    raw = bytearray(files[suffix].read_bytes())
    at = int(place * len(raw)) if 0 < place < 1 else place
    raw[at] ^= 0xFF
    (path := tmp_path / f"net{suffix}").write_bytes(raw)
    with pytest.raises(DamagedFileError, match=f"^{path}: .*$"):
        load_exported(path)
    path.write_bytes(files[suffix].read_bytes()[: at if at < 0 else -at])
    with pytest.raises(DamagedFileError, match=f"^{path}: .*$"):
        load_exported(path)


def test_what_is_not_there_is_said(net, tmp_path):
    with pytest.raises(FileNotFoundError, match="net.onnx"):
        load_exported(tmp_path / "net.onnx")
    with pytest.raises(InputError, match=r"unknown suffix .*'\.pt'; known: \['\.onnx"):
        net.export(tmp_path / "net.pt")


@pytest.mark.parametrize(
    ("suffix", "package"), [(".onnx", "onnx"), (".stablehlo", "flatbuffers")]
)
def test_a_missing_package_is_one_line(suffix, package, net, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"pip install {package}, .* \[export\]$"):
        net.export(tmp_path / f"net{suffix}")
    assert not [*tmp_path.iterdir()]


def test_running_onnx_without_its_runtime_is_one_line(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install onnxruntime, .* \[export\]$"):
        load_exported(files[".onnx"])


@pytest.mark.slow
def test_bfloat16_goes_out_as_stablehlo_alone(crops, tmp_path):
    net = network_of(dtype="bfloat16")
    encode, _ = load_exported(net.export(tmp_path / "net.stablehlo"))
    packed, logits = encode(crops[:64])
    np.testing.assert_allclose(logits, net.logits(crops[:64], batch_size=64), atol=0.05)
    np.testing.assert_array_equal(packed, np.packbits(logits > 0, axis=1))
    with pytest.raises(InputError, match="bfloat16 .* export it as .stablehlo"):
        net.export(tmp_path / "net.onnx")


def test_a_full_byte_of_bits_has_no_padding(crops, tmp_path):
    net = network_of(bits=16)
    encode, _ = load_exported(net.export(tmp_path / "net.onnx"))
    assert_same_codes(encode(crops[:5]), net, crops[:5])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "suffixes"),
    [
        ("resnet18", 32, [".onnx"]),
        pytest.param("resnet18", 32, [".stablehlo"], marks=pytest.mark.long),
        pytest.param("resnet50", 64, SUFFIXES, marks=pytest.mark.long),
        pytest.param("alexnet", 224, SUFFIXES, marks=pytest.mark.long),
        pytest.param("vgg11", 224, SUFFIXES, marks=pytest.mark.long),
        pytest.param("vgg11_bn", 224, SUFFIXES, marks=pytest.mark.long),
    ],
)
def test_every_kind_of_network_goes_out(name, size, suffixes, tmp_path):
    net = network_of(name, size=size)
    photos = center_crops(photos_of(range(2)), image_size=size, crop_size=size)
    for suffix in suffixes:
        path = net.export(tmp_path / f"net{suffix}")
        encode, _ = load_exported(path)
        path.unlink()  # half a gigabyte
        assert_same_codes(encode(photos), net, photos)


def test_the_form_of_accelerators_is_a_max_pooling_as_well(rng):
    """A network that was traced on a GPU has ``reduce_window`` in its place."""

    def pooled(x):
        return [max_pool(x, (3, 2), (2, 1), impl=impl) for impl in ("xla", "cpu")]

    given = jax.ShapeDtypeStruct((1, 9, 8, 4), jnp.float32)
    model = onnx_model(pooled, given, ["xla", "cpu"])
    kinds = [node.op_type for node in onnx.load_from_string(model).graph.node]
    assert kinds.count("MaxPool") == 2
    images = rng.normal(size=(2, 9, 8, 4)).astype(np.float32)
    for found in onnxruntime.InferenceSession(model).run(None, {"images": images}):
        np.testing.assert_array_equal(
            found, max_pool(jnp.array(images), (3, 2), (2, 1))
        )


def test_what_has_no_rule_is_one_line():
    given = jax.ShapeDtypeStruct((1, 4), jnp.float32)
    for function, name in ((jnp.sin, "sin"), (lambda x: x.T, "transpose")):
        with pytest.raises(InputError, match=f"^an ONNX file cannot hold this {name}$"):
            onnx_model(lambda x, f=function: [f(x)], given, ["y"])
