"""The written report: self-contained, escaped, repeatable, complete or not."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from cgat_jax.files.ownership import MARK
from cgat_jax.report import figures, write_report, write_reports
from cgat_jax.report.plotting import for_page
from tests.report.synthetic import MAPS, write_gallery, write_workdir


class Page(HTMLParser):
    """Collects what a page refers to, and the tags that it holds."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        names = ("src", "href", "xlink:href", "srcset", "action", "poster")
        self.addresses += [value for name, value in attrs if name in names]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = write_workdir(tmp_path_factory.mktemp("runs") / "quickstart")
    write_report(path)
    return path


@pytest.fixture
def no_drawing(monkeypatch):
    """Charts take most of a report's time; these tests look at its words."""
    monkeypatch.setattr(figures, "draw", lambda chart: "<svg></svg>")


def hashes(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


@pytest.mark.slow
def test_page_holds_every_number(workdir):
    text = (workdir / "report/index.html").read_text()
    for value in MAPS.values():
        assert f"<b>{100 * value:.2f}</b>" in text
    assert text.count("▼ below chance") == 1
    assert "35.91" in text and "5f5f5f" in text and "loss.eta" in text


def test_the_title_says_what_was_measured(workdir):
    text = (workdir / "report/index.html").read_text()
    title = "Quickstart scenes, small network, 32 bits, DPSH: undefended and CgAT"
    assert f"<h1>{title}</h1>" in text and "Beside the paper" not in text


def test_the_paper_is_beside_what_it_measured(tmp_path, no_drawing):
    told = {"dataset": "coco", "backbone": "vgg11"}
    path = write_workdir(tmp_path / "run", gallery=False, **told)
    text = write_report(path).read_text()
    assert "<h3>Beside the paper</h3>" in text and "34.15" in text
    assert "<h1>MS-COCO, VGG11, 32 bits, DPSH: undefended and CgAT</h1>" in text


def test_page_needs_no_other_file(workdir):
    text = (workdir / "report/index.html").read_text()
    page = Page(text)
    assert len(page.addresses) > 2 * 2 * 19
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "script" not in page.tags and "@import" not in text
    assert "url(" not in text.replace("url(#", "")
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]+"', "", text)
    assert str(workdir) not in text and "…/data" in text


def test_every_figure_is_a_file_and_on_the_page(workdir):
    report = workdir / "report"
    kinds = ("precision_none", "precision_cgat", "pr_none", "pr_cgat")
    names = {path.stem for path in report.glob("*.svg")}
    assert names == {*kinds, "loss_pretrain", "loss_defend"}
    page = (report / "index.html").read_text()
    for path in report.glob("*.svg"):
        text = path.read_text()
        assert for_page(text, path.stem) in page
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("}svg") and root[0].tag.endswith("}title")


@pytest.mark.slow
def test_same_run_gives_the_same_bytes(workdir):
    before = hashes(workdir / "report")
    write_report(workdir)
    assert hashes(workdir / "report") == before


def test_report_leaves_no_temporary_files(workdir):
    hidden = [p.name for p in (workdir / "report").iterdir() if p.name[0] == "."]
    assert hidden == [MARK]


def test_foreign_text_is_escaped(tmp_path, no_drawing):
    attack = "<script>alert(1)</script>"
    path = write_workdir(tmp_path / "run", dataset=attack, gallery=False)
    folder = path / "evaluate/cgat-cgat"
    write_gallery(folder, np.random.default_rng(0), label=attack)
    text = write_report(path).read_text()
    assert "script" not in Page(text).tags
    assert text.count("&lt;script&gt;alert(1)") >= 3
    assert "<script" not in (path / "report/results.md").read_text()


def test_missing_and_distant_images_are_not_shown(tmp_path, no_drawing):
    path = write_workdir(tmp_path / "run")
    folder = path / "evaluate/cgat-cgat"
    (folder / "q0_clean.png").unlink()
    gallery = json.loads((folder / "gallery.json").read_text())
    Image.new("RGB", (8, 8), "red").save(path / "secret.png")
    gallery["queries"][0]["before"][0]["image"] = "../../secret.png"
    (folder / "gallery.json").write_text(json.dumps(gallery))
    assert write_report(path).read_text().count("image missing") == 2


def test_another_runs_pretraining_is_not_missed(tmp_path, no_drawing):
    path = write_workdir(tmp_path / "run")
    config = json.loads((path / "config.json").read_text())
    shutil.rmtree(path / "pretrain")
    for source, missed in (("", True), ("runs/other", False)):
        (path / "config.json").write_text(json.dumps(config | {"pretrained": source}))
        page = write_report(path).read_text()
        assert ("pretrain/metrics.jsonl" in page) == missed


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ("config.json", "config.json: settings unknown"),
        ("defend", "defend/metrics.jsonl: no training curve"),
        ("results.json", "results.json: evaluation not finished"),
    ],
)
def test_partial_workdir_says_what_is_missing(tmp_path, no_drawing, removed, said):
    path = write_workdir(tmp_path / "run", gallery=False)
    target = path / removed
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    text = write_report(path).read_text()
    assert said in text and said in (path / "report/results.md").read_text()
    assert "41.02" in text


@pytest.mark.parametrize(("weights", "missed"), [("", True), ("packed", False)])
def test_a_backbone_that_was_given_is_not_missed(tmp_path, no_drawing, weights, missed):
    path = write_workdir(tmp_path / "run", gallery=False)
    config = json.loads((path / "config.json").read_text())
    config["backbone"]["epochs"], config["model"]["weights"] = 3, weights
    (path / "config.json").write_text(json.dumps(config))
    assert ("backbone/metrics.jsonl" in write_report(path).read_text()) == missed


def test_training_alone_is_reported(tmp_path, no_drawing):
    path = write_workdir(tmp_path / "run")
    shutil.rmtree(path / "evaluate")
    (path / "results.json").unlink()
    with open(path / "pretrain/metrics.jsonl", "a") as file:
        file.write('{"step": 1520, "lo')  # a killed run
    text = write_report(path).read_text()
    assert "Nothing has been evaluated yet" in text
    assert "evaluate/cgat-cgat: not measured yet" in text
    assert "<h1>Quickstart scenes, small network, 32 bits, DPSH</h1>" in text


def test_half_an_evaluation_is_reported(tmp_path, no_drawing):
    path = write_workdir(tmp_path / "run")
    (path / "results.json").unlink()
    shutil.rmtree(path / "evaluate/cgat-cgat")
    text = write_report(path).read_text()
    assert "not measured</td>" in text and "evaluate/cgat-cgat: not measured" in text


@pytest.mark.slow
def test_seeds_are_averaged(tmp_path):
    paths = [write_workdir(tmp_path / f"run{s}", seed=s) for s in (1, 2)]
    text = write_reports(paths, tmp_path / "out").read_text()
    values = [
        record["map"]
        for path in paths
        for record in json.loads((path / "results.json").read_text())["records"]
        if (record["defense"], record["attack"]) == ("cgat", "cgat")
    ]
    assert f"<b>{100 * np.mean(values):.2f}</b>" in text
    low, high = min(values), max(values)
    assert f"<small>{100 * low:.2f}–{100 * high:.2f}</small>" in text
    assert "mean over 2 seeds (1, 2)" in text


def test_seeds_are_averaged_where_one_has_more_attacks_or_is_younger(
    tmp_path, no_drawing
):
    paths = [write_workdir(tmp_path / f"run{s}", seed=s) for s in (1, 2)]
    config = json.loads((paths[1] / "config.json").read_text())
    config["evaluate"] |= {"attacks": "noise,hag,cgat", "round_images": False}
    config |= {"log_steps": 7, "pretrained": "runs/other"}
    (paths[1] / "config.json").write_text(json.dumps(config))
    page = write_reports(paths, tmp_path / "out").read_text()
    assert "mean over 2 seeds (1, 2)" in page
    config["evaluate"]["round_images"] = True
    (paths[1] / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="'evaluate.round_images': False in"):
        write_reports(paths, tmp_path / "out")


def test_warnings_come_first_on_the_page(tmp_path, no_drawing):
    path = write_workdir(tmp_path / "run", gallery=False, warnings=["one class only"])
    page = write_report(path).read_text()
    line = '<li class="warning">Warning: one class only</li>'
    assert page.count(line) == 1
    assert page.index(line) < page.index("71.2")
    assert "\nWarning: one class only\n" in (path / "report/results.md").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "results.json: damaged, not valid JSON"),
        ("[]", "expected a JSON object, got list"),
        ('{"records": [{"dataset": "coco"}]}', "key 'backbone' is missing"),
    ],
)
def test_damaged_results_are_named(tmp_path, text, said):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        write_report(tmp_path)


@pytest.mark.slow
def test_command_line_without_jax(workdir, tmp_path):
    program = (
        "import sys; sys.modules['jax'] = None; sys.argv[0] = 'report'\n"
        "import runpy; runpy.run_module('experiments.report', run_name='__main__')"
    )

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True
        )

    done = run(f"--workdir={workdir}", f"--out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "out") == hashes(workdir / "report")
    for arguments in ([], [f"--workdir={tmp_path}"], ["--wordkir=x"]):
        refused = run(*arguments)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1
