"""Runs side by side: what tells them apart, what is one network, what is refused."""

import json

import pytest

from cgat_jax.files.io import write_sealed
from cgat_jax.report import figures, write_reports
from cgat_jax.report.records import read_run
from cgat_jax.report.variants import settings_of, tell_apart
from tests.report.synthetic import MAPS, write_sanity, write_workdir


@pytest.fixture
def no_drawing(monkeypatch):
    """Charts take most of a report's time; these tests look at its words."""
    monkeypatch.setattr(figures, "draw", lambda chart: f"<svg>{chart.title}</svg>")


def _run(
    path, settings=None, *, seed=0, defense="cgat", digest=None, shift=0.0, **told
):
    """A workdir of another defense, with other settings, records and networks."""
    write_workdir(path, seed=seed, gallery=False, **told)
    config = json.loads((path / "config.json").read_text())
    config["defense"]["name"] = defense
    for key, value in (settings or {}).items():
        section, name = key.split(".")
        config[section][name] = value
    (path / "config.json").write_text(json.dumps(config))
    for file in path.glob("evaluate/*/record.json"):
        record = json.loads(file.read_text())
        if record["defense"] == "none":
            record["network_sha256"] = digest or f"none {seed}"
        else:
            record |= {"defense": defense, "network_sha256": f"{path.name} {digest}"}
            record["map"] -= shift
        file.write_text(json.dumps(record))
    (path / "results.json").unlink()
    return path


def _networks(runs):
    """(defense, variant) of all records, each once, in order."""
    return list(
        dict.fromkeys(
            (r["defense"], r.get("variant")) for run in runs for r in run.records
        )
    )


def _told(*paths):
    return tell_apart([read_run(path) for path in paths])


def test_one_run_has_no_variants(tmp_path):
    (run,) = _told(_run(tmp_path / "a"))
    assert _networks([run]) == [("cgat", None), ("none", None)]
    assert run.records == read_run(tmp_path / "a").records


def test_defenses_stand_side_by_side_and_their_common_start_once(tmp_path):
    one = _run(tmp_path / "a", {"defense.weight": 1.0})
    two = _run(tmp_path / "b", {"defense.weight": 0.5}, defense="atrdh")
    runs = _told(one, two)
    assert _networks(runs) == [("cgat", None), ("none", None), ("atrdh", None)]
    assert sum(len(run.records) for run in runs) == 3 * len(MAPS) / 2
    assert [len(own) for own in settings_of(runs)] == [1, 1]


def test_a_setting_that_differs_is_named_where_it_matters(tmp_path):
    one = _run(tmp_path / "a", {"defense.weight": 1.0})
    two = _run(tmp_path / "b", {"defense.weight": 0.5})
    assert _networks(_told(one, two)) == [
        ("cgat", "weight 1"),
        ("none", None),
        ("cgat", "weight 0.5"),
    ]


def _begun(path, digest, *, pretrained="", weights=""):
    """The run with the file that it began with, and its digest."""
    config = json.loads((path / "config.json").read_text())
    config["pretrained"], config["model"]["weights"] = pretrained, weights
    (path / "config.json").write_text(json.dumps(config))
    key = "pretrained" if pretrained else "weights"
    (path / "inputs.json").write_text(json.dumps({key: digest * 64}))


def _variants(*paths):
    return {variant for _, variant in _networks(_told(*paths))}


def test_networks_of_other_files_are_no_seeds_of_one(tmp_path):
    one, two = (_run(tmp_path / str(seed), seed=seed) for seed in (0, 1))
    _begun(one, "a", pretrained="x/zoo.safetensors")
    _begun(two, "b", pretrained="y/mine.safetensors")
    told = {"start zoo.safetensors (aaaaaaaa)", "start mine.safetensors (bbbbbbbb)"}
    assert _variants(one, two) == told
    _begun(two, "a", pretrained="y/mine.safetensors")
    assert _variants(one, two) == {None}


def test_weights_are_known_by_their_digest_and_named_without_their_place(tmp_path):
    one, two = (_run(tmp_path / str(seed), seed=seed) for seed in (0, 1))
    _begun(one, "a", weights="/home/me/a/vgg11.safetensors")
    _begun(two, "a", weights="/home/me/b/vgg11.safetensors")
    assert _variants(one, two) == {None}
    _begun(two, "b", weights="/home/me/b/vgg11.safetensors")
    told = {f"weights vgg11.safetensors ({c * 8})" for c in "ab"}
    assert _variants(one, two) == told


def test_settings_of_one_name_keep_their_section(tmp_path):
    one = _run(tmp_path / "a", {"pretrain.epochs": 10, "defense.epochs": 20})
    two = _run(
        tmp_path / "b", {"pretrain.epochs": 20, "defense.epochs": 10}, digest="y"
    )
    told = [
        variant for defense, variant in _networks(_told(one, two)) if defense != "none"
    ]
    assert told == [
        "pretrain.epochs 10, defense.epochs 20",
        "pretrain.epochs 20, defense.epochs 10",
    ]


def test_losses_are_named_and_what_belongs_to_each_is_not(tmp_path):
    one = _run(tmp_path / "a", digest="x")
    settings = {"loss.name": "csq", "loss.eta": 0.1}
    two = _run(tmp_path / "b", settings, digest="y", loss="csq")
    expected = [(d, v) for v in ("DPSH", "CSQ") for d in ("cgat", "none")]
    assert _networks(_told(one, two)) == expected


def test_seeds_are_one_setting_beside_another(tmp_path):
    paths = [
        _run(tmp_path / f"{name}{seed}", seed=seed, defense=name)
        for name in ("cgat", "atrdh")
        for seed in (0, 1)
    ]
    groups = settings_of(_told(*paths))
    assert [[run.path.name for run in own] for own in groups] == [
        ["cgat0", "cgat1"],
        ["atrdh0", "atrdh1"],
    ]


def test_networks_that_nothing_else_tells_apart_are_named_by_their_folders(tmp_path):
    one = _run(tmp_path / "a" / "run", digest="x")
    two = _run(tmp_path / "b" / "run", digest="y", shift=0.1)
    expected = [(d, f"{f}/run") for f in "ab" for d in ("cgat", "none")]
    assert _networks(_told(one, two)) == expected


def test_a_folder_that_names_a_network_is_text_in_markdown(tmp_path, no_drawing):
    name = "<img src=x onerror=alert(1)>"
    one = _run(tmp_path / "a" / name, digest="x")
    two = _run(tmp_path / "b" / name, digest="y", shift=0.1)
    for run in (one, two):
        write_sanity(run)
    write_reports([one, two], tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert "## Sanity checks: CgAT (a/&lt;img" in text and "<img" not in text


def test_a_run_that_adds_nothing_is_refused(tmp_path):
    one = _run(tmp_path / "a")
    with pytest.raises(ValueError, match="share a seed"):
        _told(one, one)


@pytest.mark.parametrize("key", ["data.num_queries", "evaluate.epsilon"])
def test_other_data_and_other_measures_are_refused(tmp_path, key):
    one, two = _run(tmp_path / "a"), _run(tmp_path / "b", {key: 77}, defense="saat")
    with pytest.raises(ValueError, match=f"'{key}'.*same data and evaluation"):
        _told(one, two)
    with pytest.raises(ValueError, match="split_sha256"):
        other = _run(tmp_path / "c", defense="saat", split_sha256="00" * 32)
        write_reports([one, other], tmp_path / "out")


def test_the_page_has_one_table_and_figures_of_all(tmp_path, no_drawing):
    one = _run(tmp_path / "a", digest="x")
    two = _run(tmp_path / "b", {"loss.name": "csq"}, digest="y", loss="csq", shift=0.1)
    three = _run(tmp_path / "c", defense="atrdh", digest="x", shift=0.2)
    for path in (one, two):
        write_sanity(path)
    log = three / "defend/metrics.jsonl"  # those of the others are alike
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    page = write_reports([one, two, three], tmp_path / "out").read_text()
    networks = ("undefended (CSQ)", "undefended (DPSH)", "ATRDH (DPSH)", "CgAT (CSQ)")
    for name in (*networks, "CgAT (DPSH)"):
        assert f'<th scope="row" class="left">{name}</th>' in page
    assert "<h1>Quickstart scenes, small network, 32 bits, DPSH and CSQ: 5" in page
    for value in (0.4102, 0.3102, 0.2102):
        assert f"<b>{100 * value:.2f}</b>" in page
    # The price of each is that to the network it was made from.
    assert "CgAT (CSQ) costs 15.8 points of MAP: 55.4% against 71.2%" in page
    charts = {path.name for path in (tmp_path / "out").glob("*.svg")}
    assert {"precision_cgat-8-255.svg", "pr_clean.svg", "budget_map.svg"} <= charts
    assert "<svg>Training loss: defend, ATRDH (DPSH)</svg>" in page
    assert page.count("Training loss: defend, CgAT") == 1
    assert page.count("<summary>Configuration: ") == 3
    text = (tmp_path / "out" / "results.csv").read_text()
    assert text.splitlines()[0].count("variant") == 1 and ",CSQ," in text


@pytest.mark.parametrize("noted", [("d1", None), ("d1", "d1"), (None, None)])
def test_who_defends_a_network_notes_no_weights_and_has_the_same(tmp_path, noted):
    """A study's undefended run reads them, and the runs that defend it do not."""
    runs = []
    for seed, digest in enumerate(noted):
        path = _run(tmp_path / str(seed), {"model.weights": "packed"}, seed=seed)
        if digest:
            write_sealed(path / "inputs.json", {"weights": digest})
        runs.append(path)
    assert _networks(_told(*runs)) == [("cgat", None), ("none", None)]
    other = _run(tmp_path / "c", {"model.weights": "packed"}, seed=2)
    write_sealed(other / "inputs.json", {"weights": "d2"})
    if noted[0]:
        variants = {variant for _, variant in _networks(_told(*runs, other))}
        assert "weights packed (d2)" in variants and len(variants) > 1


@pytest.mark.parametrize("suffix", [".safetensors", ""])
def test_networks_that_were_given_are_nobodys_other_seeds(tmp_path, suffix):
    """Also where a folder of one was given, whose name says nothing."""
    runs = []
    for seed, digest in enumerate(("d1", "d2")):
        path = _run(tmp_path / str(seed), seed=seed)
        config = json.loads((path / "config.json").read_text())
        config["pretrained"] = f"nets/{digest}{suffix}"
        (path / "config.json").write_text(json.dumps(config))
        noted = {"pretrained": digest} | ({} if suffix else {"pretrained_file": digest})
        write_sealed(path / "inputs.json", noted)
        runs.append(path)
    assert len(settings_of(_told(*runs))) == 2
