"""What a report says in plain words: the worst finding first."""

from collections.abc import Sequence

from cgat_jax.report import names
from cgat_jax.report.cells import SUBJECT, ReportCell
from cgat_jax.report.records import Record, warnings_of

BASELINES, WORST_CASE = ("clean", "noise"), "worst_case"
NEAR_CHANCE = 0.1
"""Of the way from chance to 100 %: a clean MAP that has come no further says little."""


def findings(cells: Sequence[ReportCell]) -> list[str]:
    """Sentences on what was measured: what is wrong, robustness, then its price."""
    if not cells:
        return ["Nothing has been evaluated yet: only training curves are here."]
    robustness = [_robustness(cells, network) for network in _worst_first(cells)]
    warned = warnings_of(record for cell in cells for record in cell.records)
    return [*warned, *_alarms(cells), *robustness, *_price(cells)]


def story(records: Sequence[Record]) -> str:
    """What was trained and what searches what, where it is known."""
    record = records[0]
    bits, train = record["bits"], record.get("num_train")
    queries, database = record.get("num_queries"), record.get("num_database")
    made = {tuple(each[key] for key in SUBJECT) for each in records}
    on = f" on {train:,} images" if train else ""
    if record["loss"] == names.GIVEN:
        text = f"A network that was given has {bits}-bit codes of images."
    elif len(made) > 1:
        text = f"Networks that were made in {len(made)} ways learned{on} to give "
        text += "images short binary codes."
    else:
        backbone = names.display(names.BACKBONES, record["backbone"])
        loss = names.display(names.LOSSES, record["loss"])
        kind = backbone if "network" in backbone else f"network ({backbone})"
        text = f"A {kind} learned{on} to give images {bits}-bit codes with the {loss} "
        text += "loss."
    if not queries or not database:
        return text
    return (
        f"{text} {queries:,} queries search {database:,} images by the Hamming "
        "distance of their codes, the number of bits in which two codes differ."
    )


def meaning(record: Record) -> str:
    """How to read the numbers."""
    cut = record.get("map_at")
    short = f" (here MAP@{cut}: the first {cut:,} answers count)" if cut else ""
    return (
        f"MAP, mean average precision{short}, is high when images that share a label "
        "with the query come first; 100% is perfect. Chance is what codes without any "
        "information score: an attack that pushes MAP to chance has blinded the "
        "search, one that pushes it below steers the search to wrong answers. A budget "
        "of 8/255 lets an attack change each pixel by at most 8 of 255 levels."
    )


def strongest(cells: Sequence[ReportCell], network: str) -> ReportCell | None:
    """A network's cell with the lowest MAP in a ball; noise if nothing else ran."""
    own = [c for c in cells if c.network == network and c.budget is not None]
    real = [cell for cell in own if cell.attack not in BASELINES]
    return min(real or own, key=lambda cell: cell.map, default=None)


def network_words(cells: Sequence[ReportCell], network: str) -> str:
    """A network in a sentence."""
    defense = next(cell.defense for cell in cells if cell.network == network)
    if defense in (*names.UNDEFENDED, names.GIVEN):
        first, *rest = network.split(" (", 1)
        kind = names.UNDEFENDED.get(defense, first)
        return " (".join([f"the {kind}", *rest])
    return f"the network defended with {network}"


def _networks(cells: Sequence[ReportCell]) -> list[str]:
    return list(dict.fromkeys(cell.network for cell in cells))


def _worst_first(cells: Sequence[ReportCell]) -> list[str]:
    """Defended networks by their margin over chance, undefended ones last."""
    plain = {cell.network for cell in cells if cell.defense in names.UNDEFENDED}
    worst = {network: strongest(cells, network) for network in _networks(cells)}
    margins = {n: cell.map - cell.chance if cell else 1.0 for n, cell in worst.items()}
    return sorted(margins, key=lambda network: (network in plain, margins[network]))


def _robustness(cells: Sequence[ReportCell], network: str) -> str:
    worst, words = strongest(cells, network), network_words(cells, network)
    if worst is None:
        return f"No attack on {words} has been measured."
    attack = names.display(names.ATTACKS, worst.attack)
    budget = "" if worst.budget is None else f", budget {names.level(worst.budget)}"
    value, chance = _tenth(worst.map), _tenth(worst.chance)
    clean = _cell(cells, network, "clean")
    start = "" if clean is None else f" from {_tenth(clean.map):.1f}%"
    if worst.defense not in names.UNDEFENDED and value > chance:
        change = f"keeps a MAP of {value:.1f}%"
        start = "" if clean is None else f" (clean: {_tenth(clean.map):.1f}%)"
        change += start
    else:
        before = 100.0 if clean is None else _tenth(clean.map)
        verb = f"{'rises' if value > before else 'falls'}{start} to"
        change = f"{'stays at' if value == before else verb} a MAP of {value:.1f}%"
    return (
        f"Under its strongest attack here ({attack}{budget}), {words} {change}, "
        f"{_beside(value, chance)}.{_unequal(cells, worst)}"
    )


def _unequal(cells: Sequence[ReportCell], worst: ReportCell) -> str:
    """Names the networks without the worst case, where it is another's headline."""
    if worst.attack != WORST_CASE:
        return ""
    known = {cell.network for cell in cells if cell.attack == WORST_CASE}
    lacking = [network for network in _networks(cells) if network not in known]
    return f" It has not been measured for {', '.join(lacking)}." if lacking else ""


def _beside(value: float, chance: float) -> str:
    points = round(abs(value - chance), 1)
    if points == 0:
        return f"at chance ({chance:.1f}%)"
    side = "above" if value > chance else "below"
    return f"{points:.1f} points {side} chance ({chance:.1f}%)"


def _price(cells: Sequence[ReportCell]) -> list[str]:
    """What each defense costs on clean queries."""
    sentences = []
    for cell in cells:
        base = _undefended(cells, cell)
        if base is None or cell.attack != "clean" or cell.defense in names.UNDEFENDED:
            continue
        before, after = _tenth(base.map), _tenth(cell.map)
        points = f"{abs(after - before):.1f} points of MAP"
        verb = "costs" if after < before else "gains"
        change = f"{verb} {points}" if after != before else "costs nothing"
        sentences.append(
            f"On clean queries {cell.network} {change}: {after:.1f}% against "
            f"{before:.1f}% undefended."
        )
    return sentences


def _undefended(cells: Sequence[ReportCell], cell: ReportCell) -> ReportCell | None:
    """The clean cell of the network that a defended one is to be compared with.

    Its variant is a part of the other's, which may name settings of the defense.
    """

    def parts(each: ReportCell) -> set[str]:
        return set(each.variant.split(", ")) - {""}

    plain = [c for c in cells if (c.defense, c.attack) == ("none", "clean")]
    fitting = [each for each in plain if parts(each) <= parts(cell)]
    return max(fitting, key=lambda each: len(parts(each)), default=None)


def _alarms(cells: Sequence[ReportCell]) -> list[str]:
    """Signs that a number does not mean what it seems to."""
    alarms = []
    for network in _networks(cells):
        clean, noise = (_cell(cells, network, name) for name in BASELINES)
        worst, words = strongest(cells, network), network_words(cells, network)
        if clean and (value := _near_chance(clean)):
            alarms.append(
                f"Warning: on clean queries {words} scores {value}, where chance is "
                f"{_tenth(clean.chance):.1f}%: less than a tenth of the way to 100%. "
                "It has learned next to nothing, so its other numbers say little: "
                "train longer, with more epochs."
            )
        if noise and worst and worst is not noise and noise.map <= worst.map:
            alarms.append(
                f"Warning: random noise hurts {words} as much as its "
                "strongest attack. That attack fails, so it is no evidence of "
                "robustness."
            )
    return [*alarms, *(text for c in cells if (text := _over_budget(cells, c)))]


def _near_chance(clean: ReportCell) -> str:
    """The MAP of clean queries where it is near chance; otherwise nothing.

    Averaged over the orders of tied images, where that is less: few codes tie many
    images, and a database that is sorted by class then puts right ones first.
    """
    over_orders = clean.mean("map_expected")
    lower = clean.map if over_orders is None else min(clean.map, over_orders)
    if lower - clean.chance > NEAR_CHANCE * (1 - clean.chance):
        return ""
    text = f"{_tenth(clean.map):.1f}%"
    if _tenth(lower) < _tenth(clean.map):
        text += f", and {_tenth(lower):.1f}% over all orders of tied images"
    return text


def _over_budget(cells: Sequence[ReportCell], cell: ReportCell) -> str | None:
    used = cell.mean("perturbation.linf")
    if cell.budget is None or used is None or used <= cell.budget + 1e-4:
        return None
    attack = names.display(names.ATTACKS, cell.attack)
    return (
        f"Warning: {attack} on {network_words(cells, cell.network)} changed pixels by "
        f"{names.level(used)}, more than its budget of {names.level(cell.budget)}."
    )


def _cell(cells: Sequence[ReportCell], network: str, attack: str) -> ReportCell | None:
    wanted = (c for c in cells if (c.network, c.attack) == (network, attack))
    return next(wanted, None)


def _tenth(fraction: float) -> float:
    return round(100 * fraction, 1)
