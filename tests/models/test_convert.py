"""PyTorch's files: read without PyTorch, and without running what they say."""

import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

from cgat_jax.errors import InputError
from cgat_jax.files import pickles
from cgat_jax.models import make_model
from cgat_jax.models.torch_import.file import read_torch_file
from cgat_jax.models.torch_import.weights import (
    network_shapes,
    torch_names,
    torch_shape,
)
from cgat_jax.models.weights import load_weights, save_weights
from experiments import convert_weights
from tests.models import torch_files
from tests.models.torch_files import Called, Named, Raw, View, write_legacy, write_zip

ROOT = Path(__file__).parents[2]
WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])


def values(**given):
    parsed = flags.FlagValues()
    convert_weights.define_flags(parsed)
    parsed(["convert_weights", *(f"--{name}={value}" for name, value in given.items())])
    return parsed


def views():
    """A storage with tensors that are whole, transposed, shifted, scalar and empty."""
    flat = np.arange(12, dtype=np.float32)
    rounded = (np.array([1.5, -2.0], np.float32).view("<u4") >> 16).astype("<u2")
    return {
        "whole": View("0", flat, (3, 4), (4, 1)),
        "transposed": View("0", flat, (4, 3), (1, 4)),
        "shifted": View("0", flat, (2, 2), (4, 2), offset=5),
        "empty": View("0", flat, (0, 5), (5, 1)),
        "half": View("1", np.array([0.5, 3.0], np.float16), (2,), (1,)),
        "bfloat": View("2", rounded.view("V2"), (2,), (1,)),
        "count": View("3", np.array([7], np.int64), (), ()),
    }


@WRITERS
def test_views_are_as_their_offset_and_strides_say(write, tmp_path):
    write(tmp_path / "w", views())
    arrays = read_torch_file(tmp_path / "w")
    flat = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(arrays["whole"], flat)
    np.testing.assert_array_equal(arrays["transposed"], flat.T)
    np.testing.assert_array_equal(arrays["shifted"], [[5, 7], [9, 11]])
    assert arrays["empty"].shape == (0, 5)
    assert arrays["half"].dtype == np.float16 and arrays["half"].tolist() == [0.5, 3]
    assert arrays["bfloat"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(arrays["bfloat"].astype(np.float32), [1.5, -2.0])
    assert arrays["count"] == 7 and arrays["count"].dtype == np.int64
    assert list(arrays) == list(views())


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), which=st.sampled_from([write_zip, write_legacy]))
def test_any_state_round_trips(seed, which, tmp_path_factory):
    rng = np.random.default_rng(seed)
    arrays = {
        f"layer.{n}": rng.normal(
            size=rng.integers(0, 4, size=rng.integers(0, 4))
        ).astype(rng.choice(["f2", "f4", "f8"]))
        for n in range(rng.integers(0, 5))
    }
    path = tmp_path_factory.mktemp("state") / "w"
    which(path, torch_files.state_of(arrays))
    read = read_torch_file(path)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and read[name].shape == array.shape
        np.testing.assert_array_equal(read[name], array)


class Payload:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def payloads(mark):
    """Pickles that make the file ``mark``, or would have another way in."""
    shell = Raw(pickle.dumps(Payload(f"touch {mark}"), protocol=2)[2:-1])
    code = f"open({str(mark)!r}, 'w')"
    function = Named("torch._utils", "_rebuild_tensor_v2")
    return {
        "posix.system": {"w": shell},
        "builtins.eval": {"w": Called(Named("builtins", "eval"), code)},
        "collections.OrderedDict.fromkeys": {
            "w": Called(Named("collections", "OrderedDict.fromkeys"), ())
        },
        "torch.load": {"w": Called(Named("torch", "load"), "other")},
        "torch.FloatTensor": {"w": Called(Named("torch", "FloatTensor"))},
        "'__code__' of a function": {
            "w": Raw(torch_files._opcodes(function) + b"(N}U\x08__code__K\x01stb")
        },
    }


@pytest.mark.parametrize("name", payloads(""))
@WRITERS
def test_a_malicious_file_is_named_and_never_executed(write, name, tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "bad.pth"
    write(path, payloads(mark)[name])
    with pytest.raises(ValueError, match="bad.pth is refused.*" + name):
        read_torch_file(path)
    assert not mark.exists()


def test_the_payload_would_work(tmp_path):
    """The control of the test above: Python's own reader runs it."""
    mark = tmp_path / "mark"
    pickle.loads(torch_files.dumps(payloads(mark)["posix.system"]["w"]))
    assert mark.exists()


def test_a_bare_pickle_is_refused(tmp_path):
    mark = tmp_path / "mark"
    for protocol in range(5):
        path = tmp_path / "bare.pth"
        path.write_bytes(pickle.dumps(Payload(f"touch {mark}"), protocol=protocol))
        with pytest.raises(ValueError, match="bare.pth is refused.*posix.system"):
            read_torch_file(path)
    assert not mark.exists()


FLAT = np.arange(6, dtype=np.float32)


@pytest.mark.parametrize(
    "state, message",
    [
        ({"w": View("0", FLAT, (2, 4), (4, 1))}, "beyond its storage"),
        ({"w": View("0", FLAT, (2, 3), (3, 1), offset=1)}, "beyond its storage"),
        ({"w": View("0", FLAT, (10**12,), (0,))}, "beyond its storage"),
        ({"w": View("0", FLAT, (2,), (-1,))}, "at least 0"),
        ({"w": View("0", FLAT, (2, 3), (3,))}, "of the wrong kinds"),
        ({f"w{n}": View("0", FLAT, (6,), (1,)) for n in range(5)}, "repeat"),
        ({"epoch": 3}, "entry 'epoch' is no tensor"),
        ({3: View("0", FLAT, (6,), (1,))}, "a key that is no text"),
        (Raw(b"K\x01"), "expected a dictionary of tensors, got int"),
        ({"w": Raw(b"U\x03abcQ")}, "something else than a storage"),
        ({"w": Raw(b"K\x01r\xff\xff\xff\x7f")}, "memo is larger"),
    ],
)
@WRITERS
def test_what_is_no_state_of_tensors_is_refused(write, state, message, tmp_path):
    write(tmp_path / "w.pth", state)
    with pytest.raises(ValueError, match=f"w.pth is refused: .*{message}"):
        read_torch_file(tmp_path / "w.pth")


@pytest.mark.slow
@WRITERS
def test_a_file_cut_anywhere_or_changed_anywhere_ends_in_one_error(write, tmp_path):
    """Cut: always refused. A changed byte: refused, or other numbers, and no more."""
    path = tmp_path / "w"
    write(path, views())
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for length in [*range(0, 40), *rng.integers(40, len(whole) - 1, 60)]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="w is (damaged|refused)"):
            read_torch_file(path)
    for position in rng.integers(0, len(whole), 300):
        changed = bytearray(whole)
        changed[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            read_torch_file(path)
        except InputError as error:
            assert "w is" in str(error) and len(str(error).splitlines()) == 1


def colliding(count):
    """Integers that Python's dictionaries and sets all put in one place."""
    return [(2**61 - 1) * (i + 1) for i in range(count)]


def _pairs(keys):
    return (
        b"]("
        + b"".join(b"](" + torch_files._opcodes(key) + b"K\x01e" for key in keys)
        + b"e"
    )


ORDERED = Named("collections", "OrderedDict")
COSTLY = {
    "a dictionary": (dict.fromkeys(colliding(50), 1), "key that is no text"),
    "pairs, as Python 2 writes them": (
        Raw(torch_files._opcodes(ORDERED) + _pairs(colliding(50)) + b"\x85R"),
        "key that is no text",
    ),
    "pairs that are none": (Called(ORDERED, "abc"), "than pairs"),
    "pairs of three": (
        Raw(torch_files._opcodes(ORDERED) + b"](K\x01\x85e\x85R"),
        "than pairs",
    ),
    "many calls": (
        Raw(b"](" + torch_files._opcodes(Called(ORDERED)) * 301 + b"e"),
        "300 calls",
    ),
    "nested lists": (Raw(b"]" * 1_900 + b"a" * 1_899), "expected a dictionary"),
    "nested dictionaries": (
        Raw(b"}U\x01a" * 1_300 + b"}" + b"s" * 1_300),
        "entry 'a' is no tensor",
    ),
    "nested tuples": (Raw(b"N" + b"\x85" * 2_000), "hold each other"),
    "a size of any length": (
        {"w": View("0", FLAT, (2 ** (8 * 200),), (1,))},
        "integer of 1601 bits",
    ),
}


@pytest.mark.parametrize("name", COSTLY)
@WRITERS
def test_a_file_that_would_take_hours_is_refused_in_a_line(
    write, name, tmp_path, monkeypatch
):
    monkeypatch.setattr(pickles, "MAX_OPCODES", 4_000)
    monkeypatch.setattr(pickles, "MAX_CALLS", 300)
    state, message = COSTLY[name]
    write(tmp_path / "w.pth", state)
    with pytest.raises(InputError, match=f"w.pth is refused: .*{message}") as caught:
        read_torch_file(tmp_path / "w.pth")
    assert len(str(caught.value).splitlines()) == 1


def test_a_list_of_storages_is_one_of_names(tmp_path):
    """Else its numbers could collide in a set."""
    write_legacy(tmp_path / "w", {})
    whole = (tmp_path / "w").read_bytes().removesuffix(pickle.dumps([], protocol=2))
    keys = pickle.dumps(colliding(50), protocol=2)
    (tmp_path / "w").write_bytes(whole + keys)
    with pytest.raises(InputError, match="list of storages is not that"):
        read_torch_file(tmp_path / "w")


def test_python_2_writes_a_state_as_pairs(tmp_path):
    view = torch_files._opcodes(View("0", FLAT, (2, 3), (3, 1)))
    pairs = b"](](U\x01a" + view + b"e](U\x01b" + view + b"ee"
    state = Raw(torch_files._opcodes(ORDERED) + pairs + b"\x85R")
    write_zip(tmp_path / "w", state, storages={"0": FLAT.tobytes()})
    arrays = read_torch_file(tmp_path / "w")
    assert list(arrays) == ["a", "b"]
    np.testing.assert_array_equal(arrays["b"], FLAT.reshape(2, 3))


@WRITERS
def test_storages_of_another_size_are_refused(write, tmp_path):
    state = {"w": View("0", FLAT, (6,), (1,))}
    for raw in (FLAT.tobytes()[:-4], b""):
        write(tmp_path / "w", state, storages={"0": raw})
        with pytest.raises(ValueError, match="expected 24|ends within storage '0'"):
            read_torch_file(tmp_path / "w")
    write(tmp_path / "w", state, storages={"0": None})
    with pytest.raises(ValueError, match="lacks 'archive/data/0'|list of storages"):
        read_torch_file(tmp_path / "w")


def test_a_legacy_count_of_its_own_is_refused(tmp_path):
    write_legacy(tmp_path / "w", {"w": View("0", FLAT, (6,), (1,))})
    whole = (tmp_path / "w").read_bytes()
    count = len(whole) - FLAT.nbytes - 8
    (tmp_path / "w").write_bytes(whole[:count] + b"\5" + whole[count + 1 :])
    with pytest.raises(ValueError, match="storage '0' has 5 values"):
        read_torch_file(tmp_path / "w")


def test_archives_that_torch_does_not_write_are_refused(tmp_path):
    zeros = {"w": View("0", np.zeros(10**6, np.float32), (10**6,), (1,))}
    write_zip(tmp_path / "w", zeros, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed or larger than the file"):
        read_torch_file(tmp_path / "w")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/other.pkl", b"")
    (tmp_path / "w").write_bytes(stream.getvalue())
    with pytest.raises(ValueError, match="no archive of torch.save"):
        read_torch_file(tmp_path / "w")


def test_other_byte_orders_and_other_files_are_refused(tmp_path):
    big = torch_files.SYSTEM | {"little_endian": False}
    write_legacy(tmp_path / "w", views(), system=big)
    with pytest.raises(ValueError, match="big-endian"):
        read_torch_file(tmp_path / "w")
    (tmp_path / "w").write_text("<html>404</html>")
    with pytest.raises(ValueError, match="no file of torch.save"):
        read_torch_file(tmp_path / "w")
    with pytest.raises(FileNotFoundError, match="no such file: .*absent"):
        read_torch_file(tmp_path / "absent")


def resnet18_state(rng):
    shapes = network_shapes(make_model("resnet18", outputs=1000))
    arrays = {
        key: rng.random(torch_shape(ours, shapes[ours]), dtype=np.float32)
        for key, ours in torch_names("resnet18").items()
    }
    return arrays | {"bn1.num_batches_tracked": np.array(3)}


@pytest.mark.slow
@WRITERS
def test_the_program_converts_and_the_network_takes_it(write, tmp_path, rng, capsys):
    arrays = resnet18_state(rng)
    source, out = tmp_path / "r.pth", tmp_path / "new" / "r.safetensors"
    write(source, torch_files.state_of(arrays))
    assert convert_weights.main(values(torch=source, out=out)) == 0
    assert capsys.readouterr().out == (
        "resnet18: 11,176,512 weights in 60 arrays and 40 statistics, without the "
        f"head: {out}\n"
    )
    model = make_model("resnet18", outputs=4)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    params, stats = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    loaded, running = load_weights(out, params, stats)
    np.testing.assert_array_equal(
        loaded["layer2_0"]["conv1"]["kernel"],
        arrays["layer2.0.conv1.weight"].transpose(2, 3, 1, 0),
    )
    np.testing.assert_array_equal(running["bn1"]["var"], arrays["bn1.running_var"])
    np.testing.assert_array_equal(loaded["head"]["kernel"], params["head"]["kernel"])


@pytest.mark.parametrize(
    "change, options, message",
    [
        (
            {"fc.bias": None, "fc.weight": None},
            {},
            "resnet18 has 'fc.bias', the file has not",
        ),
        ({"fc.weight": np.float32(1)}, {"model": "resnet18"}, "'fc.weight'"),
        ({"bn1.weight": np.ones(5, "f4")}, {}, r"'bn1.weight' is \(64,\).*got \(5,\)"),
        ({"bn1.weight": np.full(64, np.inf)}, {}, "'bn1.weight'.*not finite"),
        ({}, {"model": "resnet34"}, "resnet34: entry 'layer1.2.bn1.bias' is missing"),
        ({}, {"out": "w.npz"}, "w.npz: expected a name that ends in .safetensors"),
        ({}, {"torch": "absent.pth"}, "no such file: absent.pth"),
        ({}, {"torch": ""}, "--torch is missing"),
    ],
)
def test_the_program_refuses_in_one_line(
    change, options, message, tmp_path, rng, capsys
):
    arrays = resnet18_state(rng) | change
    arrays = {key: array for key, array in arrays.items() if array is not None}
    source, out = tmp_path / "r.pth", tmp_path / "r.safetensors"
    write_zip(source, torch_files.state_of(arrays))
    given = values(**{"torch": source, "out": out} | options)
    assert convert_weights.main(given) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("convert_weights: ")
    assert re.search(message, lines[0]), lines[0]
    assert not out.exists()


def test_a_file_of_someone_else_stays_and_one_of_ours_is_replaced(
    tmp_path, rng, capsys
):
    source, out = tmp_path / "r.pth", tmp_path / "w.safetensors"
    write_zip(source, torch_files.state_of(resnet18_state(rng)))
    given = values(torch=source, out=out)
    assert convert_weights.main(given) == 0
    ours = out.read_bytes()
    save_weights(out, {"conv1": {"kernel": jnp.ones(3)}}, {})
    runs = out.read_bytes()
    capsys.readouterr()
    foreign = {"text": b"my notes", "empty": b"", "a run's": runs, "half": ours[:999]}
    for name, content in foreign.items():
        out.write_bytes(content)
        assert convert_weights.main(given) == 2, name
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and f"{out}: exists, and was not written" in lines[0]
        assert out.read_bytes() == content
    out.write_bytes(ours)
    assert convert_weights.main(given) == 0 and out.read_bytes() == ours
    assert sorted(tmp_path.iterdir()) == [source, out]


@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_or_a_folder_of_that_name_stays(dangling, tmp_path, capsys):
    out = tmp_path / "w.safetensors"
    if dangling:
        out.symlink_to(tmp_path / "elsewhere")
    else:
        out.mkdir()
    assert convert_weights.main(values(torch=tmp_path / "absent.pth", out=out)) == 2
    assert "choose another name" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [out] and out.is_symlink() == dangling


def test_the_command_refuses_a_malicious_file(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "bad.pth"
    write_zip(path, payloads(mark)["posix.system"])
    command = [sys.executable, "-m", "experiments.convert_weights"]
    command += [f"--torch={path}", f"--out={tmp_path / 'w.safetensors'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "names posix.system" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not mark.exists() and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("new", [True, False])
def test_a_tensor_whose_values_are_not_those_stored_is_refused(new, tmp_path):
    torch = pytest.importorskip("torch")
    state = {"w": torch._neg_view(torch.ones(3))}
    torch.save(state, tmp_path / "w", _use_new_zipfile_serialization=new)
    with pytest.raises(InputError, match="is refused: .* save its resolve_neg"):
        read_torch_file(tmp_path / "w")
    state["w"] = state["w"].resolve_neg()
    torch.save(state, tmp_path / "w", _use_new_zipfile_serialization=new)
    assert read_torch_file(tmp_path / "w")["w"].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("new", [True, False])
def test_what_torch_saves_is_read_bit_by_bit(new, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    base = torch.randn(6, 5)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = network.state_dict()
    state |= {"view": base.T, "part": base[2:, 1::2], "half": base.half()}
    state |= {"bfloat": base.bfloat16(), "double": base.double()}
    state["parameter"] = torch.nn.Parameter(base)
    torch.save(state, tmp_path / "w", _use_new_zipfile_serialization=new)
    arrays = read_torch_file(tmp_path / "w")
    assert list(arrays) == list(state)
    for name, tensor in state.items():
        expected = tensor.detach()
        assert arrays[name].shape == tuple(expected.shape)
        exact = arrays[name].astype(np.float64)
        np.testing.assert_array_equal(exact, expected.double().numpy())
