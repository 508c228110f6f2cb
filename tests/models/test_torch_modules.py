"""Whole modules that ``torch.save`` wrote: read for their tensors, nothing is run."""

import collections
import os
import sys
import types

import numpy as np
import pytest

from cgat_jax.errors import InputError
from cgat_jax.models.torch_import.file import read_torch_file
from tests.models import torch_files
from tests.models.torch_files import Called, Named, Raw, View, write_legacy, write_zip

torch = pytest.importorskip("torch")
CONTAINERS = pytest.mark.parametrize("new", [True, False])
WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])


class Net(torch.nn.Module):
    """Shares a part, hides a buffer, lacks a bias and has attributes of all kinds."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.scale = torch.nn.Parameter(torch.rand(2, 3))
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, bias=False),
            torch.nn.BatchNorm2d(4),
            torch.nn.ReLU(),
        )
        self.again = self.features[0]
        self.heads = torch.nn.ModuleDict({"hash": torch.nn.Linear(4, 8)})
        self.optional = None
        self.register_module("absent", None)
        self.register_buffer("mean", torch.rand(3, dtype=torch.float64))
        self.register_buffer("grid", torch.rand(5), persistent=False)
        self.settings = types.SimpleNamespace(
            bits=8, name="a", device=torch.device("cpu")
        )
        self.classes = collections.defaultdict(list, a=[1], b=[2, 3])
        self.ids = {"a", "b"}
        self.table = {0: torch.rand(2), 7: np.arange(3)}
        self.kind = torch.float32


def saved(module, path, new=True):
    torch.save(module, path, _use_new_zipfile_serialization=new)
    return path


def assert_same(arrays, state):
    assert list(arrays) == list(state)
    for name, tensor in state.items():
        assert arrays[name].dtype == tensor.numpy().dtype, name
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


@pytest.fixture
def elsewhere(monkeypatch):
    """The class as one of a package that is there when it is saved, and never again."""
    package = types.ModuleType("released_code")
    package.Net = Net
    monkeypatch.setitem(sys.modules, "released_code", package)
    monkeypatch.setattr(Net, "__module__", "released_code")
    yield
    assert "released_code" not in sys.modules


@CONTAINERS
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code:UserWarning")
def test_a_module_gives_its_state_without_its_class(new, elsewhere, tmp_path):
    module = Net()
    path = saved(module, tmp_path / "w", new)
    del sys.modules["released_code"]
    assert_same(read_torch_file(path), module.state_dict())
    assert "grid" not in module.state_dict() and "again.weight" in module.state_dict()


@CONTAINERS
def test_a_module_for_several_devices(new, tmp_path):
    module = torch.nn.DataParallel(torch.nn.Linear(3, 2))
    arrays = read_torch_file(saved(module, tmp_path / "w", new))
    assert_same(arrays, module.state_dict())
    assert list(arrays) == ["module.weight", "module.bias"]


@pytest.mark.slow
def test_a_large_module_is_within_the_limits(tmp_path):
    from tests.reference import torch_models

    module = torch_models.resnet50(8)
    assert_same(read_torch_file(saved(module, tmp_path / "w")), module.state_dict())


@pytest.mark.slow
@CONTAINERS
def test_the_network_of_a_checkpoint(new, tmp_path):
    """Beside an optimizer's state, which has numbers for keys, and a few settings."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.rand(2, 3)).sum().backward()
    optimizer.step()
    settings = types.SimpleNamespace(lr=0.1)
    rest = {"epoch": 3, "optimizer": optimizer.state_dict(), "args": settings}
    for entry in ("state_dict", "model", "net", "network"):
        for value in (module.state_dict(), module):
            checkpoint = {**rest, entry: value}
            path = saved(checkpoint, tmp_path / "w", new)
            assert_same(read_torch_file(path), module.state_dict())


def test_of_several_networks_the_usual_name_is_taken_and_others_are_refused(tmp_path):
    one, two = (torch.nn.Linear(2, 2).state_dict() for _ in range(2))
    path = saved({"ema": one, "state_dict": two}, tmp_path / "w")
    assert_same(read_torch_file(path), two)
    saved({"teacher": one, "student": two}, path)
    with pytest.raises(
        InputError, match=r"any of its entries \['teacher', 'student'\]"
    ):
        read_torch_file(path)


@CONTAINERS
def test_tensors_beside_the_network_of_a_checkpoint(new, tmp_path):
    network = torch.nn.Linear(3, 4).state_dict()
    best = torch.tensor(0.5)
    for checkpoint in (
        {"epoch": 1, "state_dict": network, "best_acc1": best},
        {"net": network, "centers": torch.rand(2, 4)},
        {"best": best, "network": network},
        {"ema.decay": best, "model": network},
    ):
        path = saved(checkpoint, tmp_path / "w", new)
        assert_same(read_torch_file(path), network)


def test_tensors_of_parts_are_the_network_itself(tmp_path):
    """What else it holds is no network, even if there are tensors in it."""
    path = saved(
        {"fc.weight": torch.ones(2), "fc._extra_state": {"a": torch.ones(1)}},
        tmp_path / "w",
    )
    with pytest.raises(InputError, match="entry 'fc._extra_state' is no tensor"):
        read_torch_file(path)


class Payload:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Reduced(torch.nn.Module):
    """A module that is one of the above when it is unpickled."""

    def __reduce__(self):
        return os.system, (self.command,)


@CONTAINERS
def test_code_in_an_attribute_does_not_run(new, tmp_path):
    module, mark = torch.nn.Linear(3, 2), tmp_path / "mark"
    module.loss = Payload(f"touch {mark}")
    path = saved(module, tmp_path / "w", new)
    assert_same(read_torch_file(path), module.state_dict())
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the control: PyTorch's own reader runs it
    assert mark.exists()


@CONTAINERS
@pytest.mark.parametrize("place", ["whole", "part", "parameter"])
def test_code_in_place_of_what_is_needed_is_refused_by_name(new, place, tmp_path):
    mark, module = tmp_path / "mark", torch.nn.Sequential(torch.nn.Linear(3, 2))
    reduced = Reduced()
    reduced.command = f"touch {mark}"
    if place == "whole":
        module = reduced
    elif place == "part":
        module.add_module("loss", reduced)
    else:
        module[0]._parameters["weight"] = Payload(f"touch {mark}")
    path = saved(module, tmp_path / "w", new)
    with pytest.raises(InputError, match="w is refused: .*posix.system") as caught:
        read_torch_file(path)
    assert len(str(caught.value).splitlines()) == 1
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_more_than_tensors_is_needed_for_is_refused_by_name(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    module[0].register_state_dict_post_hook(_rename)
    path = saved(module, tmp_path / "w")
    with pytest.raises(
        InputError, match=r"part '0' \(.*Linear\) changes its state_dict"
    ):
        read_torch_file(path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), path)
    with pytest.raises(InputError, match="w is (refused|damaged)"):
        read_torch_file(path)


def _rename(module, state, prefix, metadata):
    state[f"{prefix}renamed"] = state.pop(f"{prefix}weight")


FLAT = np.arange(6, dtype=np.float32)
VIEW = View("0", FLAT, (6,), (1,))


def module_of(parameters, parts=None, **rest):
    """The opcodes of a module of a class that is nowhere."""
    state = {"_parameters": parameters, "_buffers": {}, "_modules": parts or {}}
    made = torch_files._opcodes(Named("no.such", "Net")) + b")\x81"
    return Raw(made + torch_files._opcodes(state | rest) + b"b")


HIDDEN = Called(Named("__builtin__", "set"), ["w"])


@WRITERS
def test_modules_by_hand(write, tmp_path):
    raw = {"0": FLAT.tobytes()}
    inner = module_of({"w": VIEW, "none": None})
    write_state(write, tmp_path / "w", module_of({}, {"a": inner, "b": None}), raw)
    arrays = read_torch_file(tmp_path / "w")
    assert list(arrays) == ["a.w"]
    np.testing.assert_array_equal(arrays["a.w"], FLAT)


def write_state(write, path, state, storages):
    """Both containers for a state that is no dictionary of views."""
    if write is write_zip:
        return write(path, state, storages=storages)
    write(path, {"w": VIEW})
    whole = path.read_bytes()
    start = whole.index(torch_files.dumps({"w": VIEW}))
    end = start + len(torch_files.dumps({"w": VIEW}))
    path.write_bytes(whole[:start] + torch_files.dumps(state) + whole[end:])


def doubling(levels):
    """Each module holds the one before it twice, by way of the memo."""
    leaf = module_of({"w": VIEW})
    text = bytes(leaf) + b"q\x010"
    for level in range(1, levels):
        remembered = Raw(b"h" + bytes([level]))
        text += bytes(module_of({}, {"a": remembered, "b": remembered}))
        text += b"q" + bytes([level + 1]) + b"0"
    return Raw(text + b"h" + bytes([levels]))


LONG = Raw(b"X" + (70_000).to_bytes(4, "little") + b"a" * 70_000)
ITSELF = (
    torch_files._opcodes(Named("no.such", "Net"))
    + b")\x81q\x01"
    + torch_files._opcodes(
        {"_parameters": {}, "_buffers": {}, "_modules": {"a": Raw(b"h\x01")}}
    )
    + b"b"
)
BAD = {
    "in itself": (Raw(ITSELF), "hold each other"),
    "doubling": (doubling(60), "given far more than it holds"),
    "doubling in a long file": (
        Raw((LONG + b"0") * 30 + doubling(15)),
        "hold each other",
    ),
    "many hidden": (
        module_of(
            {}, _non_persistent_buffers_set=Called(Named("__builtin__", "set"), 3)
        ),
        "set is made of something else",
    ),
    "hidden by a number": (
        module_of({"w": VIEW}, _non_persistent_buffers_set=7),
        "hides buffers by something else",
    ),
    "no parts": (module_of({}, [1, 2]), "no parameters, buffers and parts"),
    "a long name": (module_of({LONG: VIEW}), "names that are no short texts"),
    "a number as a name": (module_of({3: VIEW}), "names that are no short texts"),
    "a part that is a tensor": (module_of({}, {"a": VIEW}), "'a' is no module but Ten"),
    "a class": (Named("no.such", "Net"), "got the name no.such.Net"),
    "a class given a state": (
        Raw(torch_files._opcodes(Named("no.such", "Net")) + b"}b"),
        "is damaged: TypeError",
    ),
    "a result that is called": (
        Raw(torch_files._opcodes(Called(Called(Named("builtins", "getattr"))))),
        "calls what builtins.getattr gives",
    ),
    "many names": (
        [Named("no.such", f"n{i}") for i in range(1_001)],
        "names more than 1,000 things",
    ),
}


@pytest.mark.parametrize("name", BAD)
@WRITERS
def test_bad_modules_are_refused_in_a_line_and_at_once(write, name, tmp_path):
    state, message = BAD[name]
    if isinstance(state, list):
        state = Raw(b"](" + b"".join(map(torch_files._opcodes, state)) + b"e")
    if isinstance(state, Called):
        state = Raw(torch_files._opcodes(state))
    write_state(write, tmp_path / "w", state, {"0": FLAT.tobytes()})
    with pytest.raises(InputError, match=message) as caught:
        read_torch_file(tmp_path / "w")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.long
@CONTAINERS
def test_a_module_cut_or_changed_anywhere_ends_in_one_line(new, tmp_path):
    """Cut: always refused. A changed byte: refused, or other numbers, and no more."""
    path = tmp_path / "w"
    saved(
        torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)), path, new
    )
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for length in rng.integers(0, len(whole) - 1, 40):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="w is (damaged|refused)"):
            read_torch_file(path)
    for position in rng.integers(0, len(whole), 200):
        changed = bytearray(whole)
        changed[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            read_torch_file(path)
        except InputError as error:
            assert "w is" in str(error) and len(str(error).splitlines()) == 1
