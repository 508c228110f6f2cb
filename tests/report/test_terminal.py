"""What a run says when it is done: in 80 columns, with what to do."""

import html

import numpy as np
import pytest

from cgat_jax.errors import InputError
from cgat_jax.files.io import write_sealed
from cgat_jax.report import closing, terminal_table, write_report
from cgat_jax.report.cells import group
from cgat_jax.report.first_queries import (
    first_findings,
    first_tables,
    is_wide,
    with_first,
)
from cgat_jax.report.sanity import ADVICE
from cgat_jax.report.terminal import WIDTH
from tests.report.synthetic import MAPS, make_first, make_record, write_workdir

RNG = np.random.default_rng(0)


def _sanity(defense, **values):
    checks = [
        {
            "name": name,
            "passed": None if value is None else value <= 0.005,
            "value": value,
            "threshold": 0.005,
            "meaning": f"what {name} measures",
        }
        for name, value in values.items()
    ]
    return {"defense": defense, "num_queries": 32, "checks": checks}


def _results(**given):
    records = [make_record(*key, 0, RNG) for key in MAPS]
    return {"records": records, "transfers": [], "sanity": []} | given


def test_a_run_ends_with_what_failed_and_what_to_do():
    none = _sanity("none", ball=0.0, restarts=0.0168, order=None)
    cgat = _sanity("cgat", ball=0.0, restarts=0.0247, saturation=0.03)
    transfers = [
        make_record("cgat", "cgat", 0, RNG) | {"source": "none"},
        make_record("none", "cgat", 0, RNG) | {"source": "cgat"},
    ]
    firsts = [make_first("none"), make_first("cgat")]
    given = {"sanity": [none, cgat], "transfers": transfers, "first_queries": firsts}
    text = closing(_results(**given))
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "sanity of undefended: 1 of 2 sanity checks failed, on 32 queries" in lines
    assert "sanity of CgAT: 2 of 3 sanity checks failed, on 32 queries" in lines
    at_most = "at most 0.005"
    both = f"  restarts (undefended 0.0168, {at_most}; CgAT 0.0247, {at_most})"
    assert both in lines and f"  saturation (CgAT 0.03, {at_most})" in lines
    flat = " ".join(text.split())
    for name in ("restarts", "saturation"):
        assert flat.count(ADVICE[name]) == 1
    assert ADVICE["ball"] not in flat and "Transfer of CgAT's attack" in flat
    assert "Worst case of the first 40 of 500 queries." in flat


def test_where_nothing_failed_nothing_is_advised():
    text = closing(_results(sanity=[_sanity("none", ball=0.0)]))
    assert text.endswith("all 1 sanity checks passed, on 32 queries\n")
    assert closing(_results()) == terminal_table(_results()["records"])


def test_a_table_that_is_too_wide_goes_on_below():
    names = ["clean", "noise", "cgat", "apgd", "apgd_ap", "apgd_anchor", "square"]
    records = [make_record("none", "cgat", 0, RNG) | {"attack": n} for n in names]
    lines = terminal_table(records).splitlines()
    assert max(map(len, lines)) <= WIDTH and "" in lines
    heads = [line for line in lines if line.startswith("MAP, %")]
    assert len(heads) == 2 and "chance" in heads[1] and "clean" in heads[0]
    assert sum(line.startswith("undefended") for line in lines) == 2


def test_a_worst_case_stands_beside_the_same_queries_alone():
    (table,) = first_tables([make_first("cgat"), make_first("none")])
    assert table.rows["network"].tolist() == ["undefended", "CgAT"]
    assert table.rows["clean"].tolist() == ["71.23", "65.41"]
    assert table.rows["worst case"].tolist() == ["1.87", "31.02"]
    assert list(table.rows)[:2] == ["network", "worst case"]  # seen on a phone
    assert "first 40 of 500" in table.title and "10 points" not in table.note
    few, many = first_tables([make_first("cgat", 12), make_first("none", 40)])
    assert "first 40" in few.title and "first 12" in many.title
    assert list(first_tables([])) == []


def test_too_few_queries_are_said_to_be_too_few():
    wide, narrow = make_first("cgat", half=0.101), make_first("none", half=0.05)
    assert is_wide(wide) and not is_wide(narrow)
    (table,) = first_tables([wide, narrow])
    assert table.note.endswith("of 40 queries it is known to no more than 10 points.")
    cgat, none = first_findings([wide, narrow])
    assert cgat.endswith("They are too few to say more.") and "too few" not in none
    assert none == (
        "Of the first 40 queries the worst case of 1 attacks leaves the undefended "
        "network 1.9% (95%: 0.0\N{EN DASH}6.9), its strongest single attack 11.9%, no "
        "attack 71.2%, noise 70.3%; chance is 35.9%."
    )
    same = narrow["same_queries"] | {"prosgan": 0.001}
    unbounded = {"same_queries": same, "without_budget": ["prosgan"]}
    assert [*first_findings([narrow | unbounded])] == [none]
    said = with_first(["Warning: x", "headline", "price"], [narrow])
    assert said == ["Warning: x", "headline", none, "price"]
    assert with_first(["price"], []) == ["price"]
    cells = group([make_record(d, "cgat", 0, RNG) for d in ("none", "cgat")])
    assert with_first(["price"], [], cells) == ["price"]
    assert with_first(["headline"], [narrow], cells)[-1] == (
        "The worst case of the network defended with CgAT has not been measured."
    )
    assert len(with_first(["headline"], [narrow, wide], cells)) == 3


def test_a_worst_case_of_all_queries_is_no_lack():
    measured = [make_record(d, "cgat", 0, RNG) for d in ("none", "cgat")]
    cells = group([record | {"attack": "worst_case"} for record in measured])
    said = with_first(["headline"], [make_first("none")], cells)
    assert not any("has not been measured" in text for text in said)


def test_sentences_of_several_seeds_name_them():
    records = [make_first("cgat") | {"seed": seed} for seed in (0, 1)]
    one, two, none = first_findings([*records, make_first("none")])
    assert {text.partition("with CgAT, ")[2][:7] for text in (one, two)} == {
        "seed 0 ",
        "seed 1 ",
    }
    assert "seed" not in none


@pytest.mark.slow
def test_the_page_and_markdown_say_of_which_queries_it_is(tmp_path):
    workdir = write_workdir(tmp_path / "run")
    for defense in ("none", "cgat"):
        folder = workdir / "evaluate" / f"{defense}-first"
        folder.mkdir()
        write_sealed(folder / "worst_case.json", make_first(defense))
    page = html.unescape(write_report(workdir).read_text())
    markdown = (workdir / "report" / "results.md").read_text()
    for text in (page, markdown):
        assert "Worst case of the first 40 of 500 queries" in text
        assert "Of the first 40 queries the worst case of 1 attacks leaves" in text
    csv = (workdir / "report" / "results.csv").read_text()
    assert "worst_case" not in csv  # it is a table of all queries


def test_an_edited_worst_case_is_refused(tmp_path):
    workdir = write_workdir(tmp_path / "run")
    folder = workdir / "evaluate" / "none-first"
    folder.mkdir()
    record = make_first("none") | {"same_queries": {"clean": 7}}
    write_sealed(folder / "worst_case.json", record)
    with pytest.raises(InputError, match="same_queries"):
        write_report(workdir)
