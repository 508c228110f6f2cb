"""The program that exports: what it says, and when it says no."""

import numpy as np
import pytest
from absl import flags

from cgat_jax.errors import InputError, NonFiniteError
from cgat_jax.evaluation.export import ExportedNetwork, load_exported
from cgat_jax.evaluation.trained_networks import load_network
from experiments import export
from tests.evaluation.test_export import network_of

pytest.importorskip("onnxruntime")


def run(capsys, *arguments):
    values = flags.FlagValues()
    export.define_flags(values)
    values(["export", *arguments])
    code = export.main(values)
    return code, *capsys.readouterr()


@pytest.fixture
def saved(tmp_path):
    return network_of(defense="cgat").save(tmp_path / "net.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".stablehlo"])
def test_it_compares_before_it_says_done(suffix, saved, tmp_path, capsys):
    out = tmp_path / f"net{suffix}"
    given = [f"--workdir={saved}", "--network=cgat", f"--out={out}", "--images=5"]
    code, printed, errors = run(capsys, *given)
    assert (code, errors) == (0, "")
    assert "5 images, largest difference of a logit" in printed
    assert printed.endswith(f"0 of 60 bits differ: {out}\n")
    assert load_exported(out).card["defense"] == "cgat"


def test_a_file_with_other_bits_is_not_written(saved, tmp_path, capsys, monkeypatch):
    def inverted(path):
        encode, card = load_exported(path)
        return ExportedNetwork(lambda x: (~encode(x)[0], encode(x)[1]), card)

    monkeypatch.setattr(export, "load_exported", inverted)
    out = tmp_path / "net.onnx"
    code, printed, errors = run(capsys, f"--workdir={saved}", f"--out={out}")
    assert (code, printed) == (1, "") and not [*tmp_path.glob("*.onnx")]
    assert errors.startswith(f"export: {out}: not written: other codes: 16 images")


@pytest.mark.parametrize("error", [NonFiniteError, InputError])
def test_what_was_there_stays_until_another_is_compared(
    error, saved, tmp_path, monkeypatch
):
    def failing(*args):
        raise error("net.onnx: no codes")

    out, values = tmp_path / "net.onnx", flags.FlagValues()
    load_network(saved).export(out)
    before = out.read_bytes()
    monkeypatch.setattr(export, "compare", failing)
    export.define_flags(values)
    values(["export", f"--workdir={saved}", f"--out={out}"])
    if error is NonFiniteError:  # the last lines of all programs tell it
        with pytest.raises(NonFiniteError):
            export.main(values)
    else:
        assert export.main(values) == 2
    assert out.read_bytes() == before and [*tmp_path.glob("*.onnx")] == [out]


def test_an_error_names_the_file_that_was_asked_for(
    saved, tmp_path, monkeypatch, capsys
):
    def damaged(path):
        raise InputError(f"{path}: damaged")

    monkeypatch.setattr(export, "load_exported", damaged)
    out = tmp_path / "net.onnx"
    code, _, errors = run(capsys, f"--workdir={saved}", f"--out={out}")
    assert (code, errors) == (2, f"export: {out}: damaged\n")


def test_what_appears_meanwhile_is_not_replaced(saved, tmp_path, monkeypatch, capsys):
    out, compare = tmp_path / "net.onnx", export.compare

    def slow(*arguments):
        out.write_bytes(b"theirs")
        return compare(*arguments)

    monkeypatch.setattr(export, "compare", slow)
    code, _, errors = run(capsys, f"--workdir={saved}", f"--out={out}")
    assert code == 2 and out.read_bytes() == b"theirs"


def test_it_refuses_in_one_line(saved, tmp_path, capsys):
    out = f"--out={tmp_path / 'net.onnx'}"
    for arguments, text in [
        ([out], "--workdir is missing: expected the folder of a run"),
        ([f"--workdir={saved}"], "--out is missing: expected the file to write"),
        ([f"--workdir={saved}", "--network=saat", out], "is of defense 'cgat'"),
        ([f"--workdir={tmp_path / 'none'}", out], "does not exist"),
        ([f"--workdir={saved}", f"--out={saved}"], "unknown suffix"),
    ]:
        code, printed, errors = run(capsys, *arguments)
        assert (code, printed) == (2, "")
        assert text in errors and errors.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


def test_the_comparison_forgives_what_is_nearly_zero():
    net = network_of()
    logits, near = [], 0

    def encode(pixels):
        made = net.logits(pixels)
        near_zero = abs(made) < 0.2 * abs(made).max()
        logits.append(near_zero.sum())
        return np.packbits((made > 0) ^ near_zero, axis=1), made

    found = export.compare(ExportedNetwork(encode, net.card), net, 70)
    assert found.images == 70 and found.largest < 1e-5
    assert found.differing == sum(logits) > near
    assert 0 < found.wrong <= found.differing
