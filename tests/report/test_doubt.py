"""What qualifies a number: checks, the worst case's parts, transfers."""

from cgat_jax.report.cells import group
from cgat_jax.report.doubt import doubt_tables, sanity_lines
from tests.report.synthetic import make_record


def _checks(**values):
    return [
        {
            "name": name,
            "passed": None if value is None else value <= 0.01,
            "value": value,
            "threshold": 0.01,
            "meaning": f"what {name} measures",
        }
        for name, value in values.items()
    ]


def _sanity(defense, **values):
    return {"defense": defense, "num_queries": 64, "checks": _checks(**values)}


def test_a_line_counts_what_was_made_and_names_what_failed():
    lines = sanity_lines([_sanity("cgat", ball=0.0, restarts=0.025, order=None)])
    assert lines == [
        "sanity of CgAT: 1 of 2 checks passed; not made: order; "
        "failed: restarts (0.025, at most 0.01)"
    ]
    assert sanity_lines([_sanity("none", ball=0.0)]) == [
        "sanity of undefended: 1 of 1 checks passed"
    ]


def test_checks_are_tables_in_the_order_of_the_networks():
    tables = doubt_tables(
        [], [], [_sanity("cgat", ball=0.5), _sanity("none", ball=0.0)]
    )
    assert [t.title for t in tables] == [
        "Sanity checks: undefended",
        "Sanity checks: CgAT",
    ]
    assert tables[1].rows.to_numpy().tolist() == [
        ["ball", "FAILED", "0.5", "0.01", "what ball measures"]
    ]
    assert "first 64 queries" in tables[0].note


def _record(rng, defense, attack, **more):
    known = {"apgd": "cgat", "worst_case": "cgat"}.get(attack, attack)
    return make_record(defense, known, 0, rng) | {"attack": attack} | more


def test_a_transfer_matrix_has_the_white_box_attack_on_its_diagonal(rng):
    cells = group(
        [_record(rng, d, "cgat", map=m) for d, m in (("none", 0.2), ("cgat", 0.4))]
    )
    transfers = [
        _record(rng, encoded, "cgat", map=value, source=source)
        for encoded, source, value in (
            ("cgat", "none", 0.55),
            ("none", "cgat", 0.38),
            ("none", "csq.none", 0.3),
        )
    ]
    (table,) = doubt_tables(cells, transfers, [])
    assert table.title == "Transfer of CgAT's attack"
    assert list(table.rows)[1:] == ["CgAT", "undefended", "csq.none"]
    assert table.rows.to_numpy().tolist() == [
        ["CgAT", "40.00", "55.00", ""],
        ["undefended", "38.00", "20.00", "30.00"],
    ]


def test_the_worst_case_shows_its_parts(rng):
    parts = [
        {"attack": "apgd", "map": 0.43, "share": 0.75},
        {"attack": "square", "map": 0.6, "share": 0.25},
    ]
    record = _record(rng, "cgat", "worst_case", components=parts, version="standard-v1")
    (table,) = doubt_tables(group([record]), [], [])
    assert table.title == "The worst case (standard-v1)"
    assert table.rows.to_numpy().tolist() == [
        ["CgAT", "APGD", "43.00", "75.00"],
        ["CgAT", "Square", "60.00", "25.00"],
    ]


def test_the_worst_case_names_what_it_was_compared_with_and_what_it_was_not(rng):
    parts = [{"attack": "apgd", "map": 0.43, "share": 1.0}]
    worst = _record(rng, "cgat", "worst_case", components=parts, version="standard-v1")
    worst |= {"others": ["noise", "cgat"], "map_with_others": 0.37}
    measured = [_record(rng, "cgat", name) for name in ("noise", "cgat")]
    (table,) = doubt_tables(group([worst, *measured]), [], [])
    assert (
        "CgAT: the worst over these, random noise, CgAT's attack is 37." in table.note
    )
    assert "not included" not in table.note
    later = _record(rng, "cgat", "cgat") | {"attack": "hag"}
    other = [later | {"defense": "none"}, later | {"budget": None, "attack": "prosgan"}]
    (table,) = doubt_tables(group([worst, *measured, later, *other]), [], [])
    assert "CgAT: measured as well, but not included: HAG." in table.note
    assert "ProS-GAN" not in table.note and "other attacks" not in table.note


def test_the_checks_name_the_other_network():
    entry = _sanity("cgat", ball=0.0)
    assert "other network" not in doubt_tables([], [], [entry])[0].note
    for twin, said in (
        ("none", "The other network is undefended."),
        (None, "There was no other network"),
    ):
        (table,) = doubt_tables([], [], [entry | {"twin": twin}])
        assert said in table.note
