"""Damaged, edited and foreign files: refused in one line, or left out by name."""

import json
import shutil

import pytest

from cgat_jax.errors import ForeignFilesError, InputError
from cgat_jax.files import ownership
from cgat_jax.files.io import write_sealed
from cgat_jax.report import figures, write_report, write_reports
from cgat_jax.report.gallery import read_gallery
from cgat_jax.report.records import read_run
from tests.report.synthetic import seal, write_sanity, write_workdir

FILES = (
    "config.json",
    "results.json",
    "evaluate/cgat-cgat/record.json",
    "evaluate/cgat-sanity/sanity.json",
    "evaluate/cgat-cgat/gallery.json",
    "evaluate/cgat-cgat/q0_clean.png",
    "evaluate/cgat-cgat/q1_before0.png",
    "defend/metrics.jsonl",
)
DAMAGES = {
    "flipped": lambda content: _flip(content, len(content) // 2),
    "flipped near its end": lambda content: _flip(content, len(content) - 5),
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "null": lambda content: b"null\n",
    "a list": lambda content: b"[1, 2]\n",
    "a text": lambda content: b'"hello"\n',
    "another object": lambda content: b'{"a": 1}\n',
    "nested": lambda content: b'{"a": ' + b"[" * 100_000,
    "nested objects": lambda content: b'{"a": ' * 900 + b"1" + b"}" * 900,
    "not UTF-8": lambda content: b"\xff\xfe" + content,
    "not finite": lambda content: content.replace(b"0.", b"NaN, ", 1),
}
SILENT = {("defend/metrics.jsonl", "empty")}  # a log without lines is one of no steps


def _flip(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.fixture
def no_drawing(monkeypatch):
    """Charts take most of a report's time; these tests look at its words."""
    monkeypatch.setattr(figures, "draw", lambda chart: "<svg></svg>")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = write_workdir(tmp_path_factory.mktemp("runs") / "run", side=24)
    write_sanity(path, twin="none")
    return seal(path)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_or_left_out_by_name(
    tmp_path, whole, no_drawing, damage
):
    path = shutil.copytree(whole, tmp_path / "run")
    for name in FILES:
        content = (path / name).read_bytes()
        damaged = DAMAGES[damage](content)
        (path / name).write_bytes(damaged)
        try:
            page = write_report(path).read_text()
        except InputError as error:
            text = str(error)
            assert str(path / name) in text and "\n" not in text, text
            assert not (path / "report").exists()
        else:
            missing = read_run(path).missing + tuple(
                f"{name.rpartition('/')[0]}/{text}"
                for text in read_gallery((path / name).parent)[1]
            )
            named = any(name in text for text in missing) and name in page
            assert named or damaged == content or (name, damage) in SILENT, name
            shutil.rmtree(path / "report")
        (path / name).write_bytes(content)


def test_a_sound_workdir_misses_nothing(whole, no_drawing, tmp_path):
    path = shutil.copytree(whole, tmp_path / "run")
    assert read_run(path).missing == ()
    assert "What is missing" not in write_report(path).read_text()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("map", 1.2),
        ("map", -0.1),
        ("map", True),
        ("map", "0.5"),
        ("chance", 2),
        ("ceiling", 1.5),
        ("map_all", 1.01),
        ("bits_flipped", 10**400),
        ("map_interval", [0.1]),
        ("map_interval", [0.1, 1.7]),
        ("precision_at", {"n": [1, 2], "precision": [0.5]}),
        ("pr_curve", [1, 2]),
        ("perturbation", {"linf": "much"}),
        ("num_queries", -5),
        ("warnings", "all labels are zero"),
        ("versions", {"jax": ["1"]}),
        ("seed", 1.5),
        ("attack", ["cgat"]),
    ],
)
@pytest.mark.parametrize("sealed", [False, True])
def test_a_number_that_cannot_be_is_refused_by_name(tmp_path, key, value, sealed):
    """Also in a file whose digest is right: whoever edits one can seal it."""
    path = write_workdir(tmp_path / "run", gallery=False)
    file = path / "results.json"
    content = json.loads(file.read_text())
    content["records"][2][key] = value
    if sealed:
        write_sealed(file, content)
    else:
        file.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        write_report(path)
    assert str(file) in str(caught.value) and repr(key) in str(caught.value)
    assert "measure anew" in str(caught.value)


@pytest.mark.parametrize("name", ["results.json", "evaluate/cgat-cgat/record.json"])
def test_an_edited_number_is_refused(tmp_path, whole, name):
    path = shutil.copytree(whole, tmp_path / "run")
    text = (path / name).read_text()
    assert "0.4102" in text
    (path / name).write_text(text.replace("0.4102", "0.4201"))
    with pytest.raises(InputError, match="damaged or edited.*measure anew") as caught:
        write_report(path)
    assert str(path / name) in str(caught.value)


def test_damaged_lines_of_a_curve_are_left_out_by_number(tmp_path, whole):
    path = shutil.copytree(whole, tmp_path / "run")
    file = path / "pretrain/metrics.jsonl"
    lines = file.read_text().splitlines()
    lines[3] = lines[3].replace("0.01", "0.02")  # its check is another's now
    lines[5], lines[7] = '{"step": [1]}', "nonsense"
    lines[9] = '{"step": 200, "loss": 0.5}'  # from before there were checks
    file.write_text("\n".join(lines) + "\n")
    run = read_run(path)
    assert run.missing == (
        "pretrain/metrics.jsonl: lines 4, 6, 8 are damaged, left out",
    )
    assert len(run.metrics["pretrain"]) == len(lines) - 3
    assert {"step": 200, "loss": 0.5} in run.metrics["pretrain"]


def test_a_gallery_keeps_what_is_sound(tmp_path, whole):
    folder = shutil.copytree(whole, tmp_path / "run") / "evaluate/cgat-cgat"
    content = json.loads((folder / "gallery.json").read_text())
    content["queries"][0]["codes"] = {"clean": "+-", "adversarial": "+"}
    write_sealed(folder / "gallery.json", content)
    (folder / "q1_clean.png").unlink()
    queries, problems = read_gallery(folder)
    assert [query["id"] for query in queries] == ["query/000001"]
    assert queries[0]["clean"] is None and queries[0]["adversarial"] is not None
    assert len(problems) == 2 and "1 damaged queries" in problems[0]
    assert problems[1].startswith("q1_clean.png: picture missing or damaged")


def _bytes_in(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


REPORT = ("index.html", "results.csv", "results.md")


@pytest.mark.parametrize("names", [REPORT[:1], REPORT])
@pytest.mark.parametrize("place", ["report", "elsewhere"])
def test_a_foreign_folder_for_the_report_keeps_its_bytes(tmp_path, whole, place, names):
    path = shutil.copytree(whole, tmp_path / "run")
    out = path / "report" if place == "report" else tmp_path / "elsewhere"
    out.mkdir()
    for name in (*names, "thesis.txt"):
        (out / name).write_text("mine")
    before = _bytes_in(tmp_path)
    with pytest.raises(ForeignFilesError, match="not empty"):
        write_reports([path], out)
    assert _bytes_in(tmp_path) == before


def _earlier_report(folder):
    """As the first version wrote it, in outline."""
    folder.mkdir()
    page = "<!doctype html>\n<title>a: retrieval under attack</title>\n<style>\n"
    page += '</style>\n<p class="eyebrow">Hashing retrieval under attack</p>\n'
    fields = "dataset,split,split_sha256,backbone,bits,loss,defense,attack,budget,seed"
    texts = page, f"{fields}\nquickstart\n", "# a\n\nFound.\n\n## MAP\n\n| a |\n"
    for name, text in zip(REPORT, texts, strict=True):
        (folder / name).write_text(text)


def test_a_report_of_an_earlier_version_is_written_anew(tmp_path, whole, no_drawing):
    path = shutil.copytree(whole, tmp_path / "run")
    _earlier_report(path / "report")
    for _ in range(2):  # then one of this version that lost its mark
        assert "<h1>" in write_report(path).read_text()
        (path / "report" / ownership.MARK).unlink()


@pytest.mark.parametrize("name", REPORT)
def test_a_report_of_which_a_file_is_foreign_keeps_it(tmp_path, whole, name):
    path = shutil.copytree(whole, tmp_path / "run")
    _earlier_report(path / "report")
    (path / "report" / name).write_text("mine")
    before = _bytes_in(tmp_path)
    with pytest.raises(ForeignFilesError, match="not empty"):
        write_report(path)
    assert _bytes_in(tmp_path) == before


def test_pictures_from_before_digests_are_looked_at(tmp_path, no_drawing):
    path = write_workdir(tmp_path / "run", side=24)
    file = path / "evaluate/cgat-cgat/q0_before1.png"
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    file.write_bytes(bytes(content))
    page = write_report(path).read_text()
    assert "evaluate/cgat-cgat/q0_before1.png: picture missing or damaged" in page


def test_what_was_measured_since_the_results_counts(tmp_path):
    path = write_workdir(tmp_path / "run", gallery=False)
    before = [(r["defense"], r["attack"]) for r in read_run(path).records]
    file = path / "evaluate" / "cgat-cgat" / "record.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"map": 0.1234}))
    (path / "evaluate" / "none-noise" / "record.json").unlink()
    found = read_run(path).records
    maps = {(r["defense"], r["attack"]): r["map"] for r in found}
    assert maps["cgat", "cgat"] == 0.1234 and maps["none", "noise"] == 0.7034
    assert [(r["defense"], r["attack"]) for r in found] == before
