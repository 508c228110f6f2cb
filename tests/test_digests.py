"""Digests of a workdir: any number that moves is named, and nothing else is."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from cgat_jax.files.io import write_sealed
from cgat_jax.training import checkpoint
from tests.digests import MADE_BY, comparison, digests_of, load

RECORD = {"defense": "cgat", "attack": "noise", "map": 0.5, "pr_curve": {"recall": [1]}}


def _run(folder, *, code=1, weight=1.0, loss=0.5, record=RECORD, step=3, clock=1.0):
    for name in ("codes/none", "pretrain", "defend/checkpoints", "data"):
        (folder / name).mkdir(parents=True)
    np.save(folder / "codes" / "none" / "query.npy", np.array([1, code], np.int8))
    np.save(folder / "data" / "labels.npy", np.zeros(len(folder.name)))
    save_file(
        {"head.bias": np.array([weight], np.float32)},
        folder / "pretrain" / "network.safetensors",
    )
    curve = json.dumps({"step": 2, "loss": loss, "seconds/step": clock})
    (folder / "pretrain" / "metrics.jsonl").write_text(f"{curve}\n")
    with checkpoint.open_checkpoints(folder / "defend" / "checkpoints") as manager:
        for number in (1, step):
            checkpoint.save(
                manager, number, {"weights": np.full(2, weight, np.float32)}
            )
    write_sealed(folder / "results.json", {"records": [record], "sanity": []})
    return folder


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return digests_of(_run(tmp_path_factory.mktemp("runs") / "before"))


def test_the_same_numbers_have_the_same_digests(before, tmp_path):
    made = RECORD | {key: "another" for key in MADE_BY}
    after = digests_of(_run(tmp_path / "longer_name", record=made, clock=2.0))
    rows, lines = comparison("run", before, after)
    assert not lines
    assert [row[:3] for row in rows] == [
        ["run: `codes/*.npy`", "1", "1"],
        ["run: `defend/checkpoints`", "2", "2"],
        ["run: `pretrain/metrics.jsonl`", "2", "2"],
        ["run: `pretrain/network.safetensors`", "1", "1"],
        ["run: `results.json`", "4", "4"],
    ]
    assert all(row[3] == row[4] for row in rows)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"code": -1}, ["`codes/*.npy`, other: all 1"]),
        ({"loss": 0.25}, ["`pretrain/metrics.jsonl`, other: step 2: loss"]),
        ({"step": 4}, ["`defend/checkpoints`, other: step of the checkpoint"]),
        (
            {"weight": np.nextafter(np.float32(1), np.float32(2))},
            [
                "`defend/checkpoints`, other: weights",
                "`pretrain/network.safetensors`, other: all 1",
            ],
        ),
        (
            {"record": RECORD | {"map": 0.5000001, "bits": 8}},
            [
                "`results.json`, only after: records, cgat noise: bits",
                "`results.json`, other: records, cgat noise: map",
            ],
        ),
    ],
)
def test_what_moves_is_named(before, tmp_path, change, named):
    after = digests_of(_run(tmp_path / "after", **change))
    _, lines = comparison("run", before, after)
    assert lines == [f"- run: {text}" for text in named]


def test_digests_may_be_kept_and_what_is_gone_is_named(before, tmp_path):
    kept = tmp_path / "before.json"
    kept.write_text(json.dumps(before))
    assert load(kept) == before
    rows, lines = comparison("run", before, {})
    assert len(lines) == len(before) and all(", only before: all " in x for x in lines)
    assert {(row[2], row[4]) for row in rows} == {("0", "")}
