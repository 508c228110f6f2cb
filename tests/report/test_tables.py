"""Tables hold the records' numbers, the paper's beside them, and words that fit."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from cgat_jax.report import terminal_table
from cgat_jax.report.cells import group
from cgat_jax.report.export import to_csv, to_markdown
from cgat_jax.report.paper import paper_table, paper_values
from cgat_jax.report.summary import findings
from cgat_jax.report.tables import (
    detail_table,
    main_table,
    main_texts,
    markdown_table,
)
from tests.report.synthetic import CHANCE, MAPS, make_record

RNG = np.random.default_rng(0)


def records(seed=0, **subject):
    return [make_record(*key, seed, RNG, **subject) for key in MAPS]


def test_terminal_table_holds_every_map_and_chance():
    assert terminal_table(records()) == (
        "MAP, %      clean  random noise  CgAT's attack  chance\n"
        "undefended  71.23         70.34        11.87 *   35.91\n"
        "CgAT        65.41         65.02          41.02   35.91\n"
        "* below chance\n"
    )


def test_main_table_does_not_depend_on_the_order_of_records():
    assert main_table(group(records())).equals(main_table(group(records()[::-1])))


def test_cells_that_were_not_measured_stay_empty():
    kept = [r for r in records() if (r["defense"], r["attack"]) != ("cgat", "noise")]
    *cells, _ = main_table(group(kept)).loc["CgAT"]
    assert [cell and cell.map for cell in cells] == [0.6541, None, 0.4102]
    assert "      -  " in terminal_table(kept)


def test_below_chance_is_decided_by_the_printed_numbers():
    level = make_record("none", "clean", 0, RNG, map=CHANCE - 1e-7)
    assert not group([level])[0].below_chance
    assert group([{**level, "map": CHANCE - 2e-4}])[0].below_chance


def test_seeds_give_mean_and_range():
    values = [0.40, 0.43, 0.44]
    entries = [
        make_record("cgat", "cgat", seed, RNG, map=v) for seed, v in enumerate(values)
    ]
    cell = main_table(group(entries)).iloc[0, 0]
    assert cell.spread == "40.00–44.00" and cell.map == pytest.approx(1.27 / 3)
    assert main_texts(group(entries), "*").iloc[0, 0] == "42.33 (40.00–44.00)"


def test_records_of_different_splits_are_not_averaged():
    other = {**records()[0], "split_sha256": "00" * 32}
    with pytest.raises(ValueError, match="split_sha256"):
        group([*records(), other])


def test_budgets_of_one_attack_get_columns_of_their_own():
    both = [make_record("none", "cgat", 0, RNG, budget=b / 255) for b in (8, 4)]
    *attacks, _ = main_table(group(both)).columns
    assert attacks == ["CgAT's attack 4/255", "CgAT's attack 8/255"]


def test_details_equal_the_records():
    table = detail_table(group(records()))
    last = table.iloc[-1]
    assert last["MAP@5000"] == "41.02" and last["MAP all"] == "40.02"
    assert last["budget"] == last["largest change"] == "8/255"
    assert last["bits flipped"] == "81.00" and last["queries"] == "500"
    assert "t-MAP" not in table  # no record has one
    one = make_record("none", "cgat", 0, RNG, map_interval=[0.1, 0.25], budget=0)
    assert detail_table(group([one]))["95% over queries"].item() == "10.00–25.00"
    both = detail_table(group([one, one | {"seed": 1}]))
    assert "95% over queries" not in both and both["budget"].item() == "0/255"


def test_csv_holds_full_precision_and_the_paper():
    lines = records(dataset="coco", backbone="vgg11")
    rows = list(csv.DictReader(io.StringIO(to_csv(lines))))
    assert [float(row["map"]) for row in rows] == [r["map"] for r in lines]
    assert [row["paper_map"] for row in rows][:3] == ["0.6050", "", "0.0887"]
    assert [row["below_chance"] for row in rows] == ["false"] * 2 + ["true"] + [
        "false"
    ] * 3


@pytest.mark.parametrize(
    ("dataset", "backbone", "defense", "attack", "expected"),
    [
        ("coco", "vgg11", "cgat", "cgat", [("4", 34.15)]),
        ("coco", "vgg11", "none", "clean", [("3", 60.50), ("4", 60.50)]),
        ("flickr", "alexnet", "cgat", "prosgan", [("1", 77.51), ("4", 77.51)]),
        ("nuswide", "vgg11", "none", "hag", [("2", 17.18), ("4", 17.18)]),
        ("coco", "vgg11", "cgat", "noise", []),
        ("coco", "alexnet", "cgat", "cgat", []),
        ("quickstart", "small", "cgat", "cgat", []),
        ("coco", "vgg11", "printed_delta", "clean", []),
    ],
)
def test_paper_values(dataset, backbone, defense, attack, expected):
    record = {**records()[0], "dataset": dataset, "backbone": backbone}
    record |= {"defense": defense, "attack": attack}
    values = paper_values(record)
    assert values[: len(expected)] == expected and bool(values) == bool(expected)


def test_difference_is_that_of_the_printed_numbers():
    sizes = {"num_queries": 5_000, "num_database": 117_218, "num_train": 10_000}
    told = {"dataset": "coco", "backbone": "vgg11"} | sizes
    table = paper_table(group(records(**told, num_attacked=5_000)))
    printed = ["CgAT", "CgAT's attack", "34.15", "41.02", "+6.87", "35.91"]
    assert table.iloc[-1].tolist() == printed
    assert table.columns[-1] == "chance"  # no note
    assert paper_table(group(records())).empty


def test_comparison_says_what_is_unlike_the_paper():
    record = {**records()[2], "dataset": "coco", "backbone": "vgg11"}
    record |= {"attack": "tha", "map_at": 1000, "budget": 4 / 255, "num_attacked": 64}
    record["attack_settings"] = {"steps": 7, "rounded": "8 bits"}
    (note,) = paper_table(group([record]))["note"]
    for part in ("43.88", "MAP@1000", "4/255", "first 64 of 500", "rounded to 8 bits"):
        assert part in note
    assert "ours has 7 iterations, the paper's 100" in note
    assert "500 / 8,000 / 4,000 queries / database / training, the paper 5,000" in note


def test_the_twin_without_a_defense_is_called_undefended():
    twin = [r | {"defense": "standard"} for r in records() if r["defense"] == "cgat"]
    told = " ".join(findings(group([*records()[:3], *twin])))
    assert "the undefended network that was trained on" in told
    assert "defended with" not in told and "costs" not in told


def test_findings_lead_with_robustness_and_name_the_price():
    texts = findings(group(records()))
    assert "keeps a MAP of 41.0% (clean: 65.4%), 5.1 points above chance" in texts[0]
    assert "falls from 71.2% to a MAP of 11.9%, 24.0 points below" in texts[1]
    assert "costs 5.8 points" in texts[2]


@pytest.mark.parametrize(
    ("attacked", "said"),
    [
        (0.70, "falls from 71.2% to a MAP of 70.0%"),
        (0.738, "rises from 71.2% to a MAP of 73.8%"),
        (0.7121, "stays at a MAP of 71.2%"),
    ],
)
def test_a_headline_says_which_way_a_map_goes(attacked, said):
    entries = [make_record("none", name, 0, RNG) for name in ("clean", "noise")]
    clean, noise = (entries[0] | {"map": 0.712}), (entries[1] | {"map": attacked})
    assert said in " ".join(findings(group([clean, noise])))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({("cgat", "clean"): {"map": 0.36}}, "learned next to nothing"),
        ({("cgat", "clean"): {"map": 0.42}}, "train longer"),
        (
            {("cgat", "clean"): {"map": 0.66, "map_expected": 0.37}},
            "scores 66.0%, and 37.0% over all orders of tied images, where chance is",
        ),
        ({("cgat", "noise"): {"map": 0.40}}, "no evidence of robustness"),
        (
            {("cgat", "cgat"): {"perturbation": {"linf": 9 / 255, "rmse": 0.0}}},
            "changed pixels by 9/255",
        ),
    ],
)
def test_alarms_come_first(change, expected):
    entries = [r | change.get((r["defense"], r["attack"]), {}) for r in records()]
    assert findings(group(entries))[0].startswith("Warning")
    assert expected in findings(group(entries))[0]


def test_a_worst_case_of_one_network_alone_is_said_to_be():
    worst = records()[0] | {"defense": "none", "attack": "worst_case", "map": 0.01}
    worst |= {"budget": 8 / 255}
    headline = findings(group([*records(), worst]))[1]
    assert "(worst case, " in headline
    assert headline.endswith("It has not been measured for CgAT.")
    both = [*records(), worst, worst | {"defense": "cgat", "map": 0.02}]
    assert not any("not been measured" in text for text in findings(group(both)))


def test_markdown_cells_cannot_break_the_table():
    text = markdown_table(pd.DataFrame({"a|b": ["x\ny"], "<b>": ["1"]}))
    assert text == "| a\\|b | &lt;b> |\n| --- | ---: |\n| x y | 1 |\n"


def test_warnings_of_records_come_before_every_number_and_once():
    said = ["all labels are zero", "Warning: 3 of 8 bits are constant"]
    entries = [
        record | {"warnings": said[: 1 + n % 2]} for n, record in enumerate(records())
    ]
    lines = ["Warning: all labels are zero", "Warning: 3 of 8 bits are constant"]
    assert terminal_table(entries).splitlines()[:2] == lines
    assert findings(group(entries))[:2] == lines
    text = to_markdown("T", findings(group(entries)), group(entries), [])
    assert text.index(lines[0]) < text.index(lines[1]) < text.index("71.23")
    assert text.count(lines[0]) == 1


def test_records_of_other_data_are_not_mixed():
    one, *others = records()
    mixed = [one | {"data_sha256": "a"}, *(r | {"data_sha256": "b"} for r in others)]
    with pytest.raises(ValueError, match="data_sha256"):
        group(mixed)
    assert len(group([one | {"data_sha256": "a"}, *others])) == len(MAPS)
