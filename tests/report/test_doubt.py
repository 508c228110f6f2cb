"""What qualifies a number: the worst case's parts, transfers, ties."""

from cgat_jax.report.cells import group
from cgat_jax.report.doubt import doubt_tables
from tests.report.synthetic import make_record


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
    (table,) = doubt_tables(cells, transfers)
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
    (table,) = doubt_tables(group([record]), [])
    assert table.title == "The worst case (standard-v1)"
    assert table.rows.to_numpy().tolist() == [
        ["CgAT", "APGD", "43.00", "75.00"],
        ["CgAT", "Square", "60.00", "25.00"],
    ]
    assert "below every one of them" in table.note and "another MAP" in table.note


def test_the_worst_case_names_what_it_was_compared_with_and_what_it_was_not(rng):
    parts = [{"attack": "apgd", "map": 0.43, "share": 1.0}]
    worst = _record(rng, "cgat", "worst_case", components=parts, version="standard-v1")
    worst |= {"others": ["noise", "cgat"], "map_with_others": 0.37}
    measured = [_record(rng, "cgat", name) for name in ("noise", "cgat")]
    (table,) = doubt_tables(group([worst, *measured]), [])
    assert (
        "CgAT: the worst over these, random noise, CgAT's attack is 37." in table.note
    )
    assert "not included" not in table.note
    later = _record(rng, "cgat", "cgat") | {"attack": "hag"}
    other = [later | {"defense": "none"}, later | {"budget": None, "attack": "prosgan"}]
    (table,) = doubt_tables(group([worst, *measured, later, *other]), [])
    assert "CgAT: measured as well, but not included: HAG." in table.note
    assert "ProS-GAN" not in table.note and "other attacks" not in table.note


def test_ties_and_distinct_codes_are_told_of_clean_queries(rng):
    usage = {"unique": 0.25, "entropy": 0.9, "constant": 0.0}
    known = _record(rng, "cgat", "clean", code_usage=usage, tie_size=1234.4)
    older = _record(rng, "none", "clean")
    (table,) = doubt_tables(group([known, older, _record(rng, "cgat", "cgat")]), [])
    assert table.title == "Ties and distinct codes"
    assert table.rows.to_numpy().tolist() == [
        ["undefended", "", "", "71.23", "71.33"],
        ["CgAT", "2,000 of 8,000", "1,234 of 8,000", "65.41", "65.51"],
    ]
    assert "CgAT: most images have the code of another one" in table.note
    assert "undefended: most" not in table.note
    (table,) = doubt_tables(group([older]), [])
    assert list(table.rows) == ["network", "MAP", "MAP over all orders"]
    assert not doubt_tables(group([older | {"map_expected": None}]), [])
