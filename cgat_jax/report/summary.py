"""What a report says in plain words: the worst finding first."""

from collections.abc import Sequence

from cgat_jax.report import names
from cgat_jax.report.cells import ReportCell
from cgat_jax.report.records import Record, warnings_of

BASELINES = ("clean", "noise")
NEAR_CHANCE = 1.0  # points of MAP


def findings(cells: Sequence[ReportCell]) -> list[str]:
    """Sentences on what was measured: what is wrong, robustness, then its price."""
    if not cells:
        return ["Nothing has been evaluated yet: only training curves are here."]
    robustness = [_robustness(cells, defense) for defense in _worst_first(cells)]
    warned = warnings_of(record for cell in cells for record in cell.records)
    return [*warned, *_alarms(cells), *robustness, *_price(cells)]


def story(record: Record) -> str:
    """What was trained and what searches what, where it is known."""
    bits, train = record["bits"], record.get("num_train")
    queries, database = record.get("num_queries"), record.get("num_database")
    if record["loss"] == names.GIVEN:
        text = f"A network that was given has {bits}-bit codes of images."
    else:
        backbone = names.display(names.BACKBONES, record["backbone"])
        loss = names.display(names.LOSSES, record["loss"])
        text = f"A network ({backbone}) learned to give images {bits}-bit codes with "
        text += f"the {loss} loss" + (f" on {train:,} images." if train else ".")
    if not queries or not database:
        return text
    return (
        f"{text} {queries:,} queries search {database:,} images by the Hamming "
        "distance of their codes."
    )


def meaning(record: Record) -> str:
    """How to read the numbers."""
    cut = record.get("map_at")
    first = f" over the first {cut:,} answers" if cut else ""
    return (
        f"MAP, mean average precision{first}, is high when images that share a label "
        "with the query come first; 100% is perfect. Chance is what codes without any "
        "information score: an attack that pushes MAP to chance has blinded the "
        "search, one that pushes it below steers the search to wrong answers."
    )


def strongest(cells: Sequence[ReportCell], defense: str) -> ReportCell | None:
    """A defense's cell with the lowest MAP in a ball; noise if nothing else ran."""
    own = [c for c in cells if c.defense == defense and c.budget is not None]
    real = [cell for cell in own if cell.attack not in BASELINES]
    return min(real or own, key=lambda cell: cell.map, default=None)


def network(defense: str) -> str:
    """A defense's network in a sentence."""
    if defense == "none":
        return "the undefended network"
    if defense == names.GIVEN:
        return "the given network"
    return f"the network defended with {names.display(names.DEFENSES, defense)}"


def _worst_first(cells: Sequence[ReportCell]) -> list[str]:
    """Defended networks by their margin over chance, the undefended one last."""
    worst = {cell.defense: strongest(cells, cell.defense) for cell in cells}
    margins = {d: cell.map - cell.chance if cell else 1.0 for d, cell in worst.items()}
    return sorted(margins, key=lambda defense: (defense == "none", margins[defense]))


def _robustness(cells: Sequence[ReportCell], defense: str) -> str:
    worst = strongest(cells, defense)
    if worst is None:
        return f"No attack on {network(defense)} has been measured."
    attack = names.display(names.ATTACKS, worst.attack)
    budget = "" if worst.budget is None else f", budget {names.level(worst.budget)}"
    value, chance = _tenth(worst.map), _tenth(worst.chance)
    clean = _cell(cells, defense, "clean")
    start = "" if clean is None else f" from {_tenth(clean.map):.1f}%"
    if defense != "none" and value > chance:
        change = f"keeps a MAP of {value:.1f}%"
        start = "" if clean is None else f" (clean: {_tenth(clean.map):.1f}%)"
        change += start
    else:
        change = f"falls{start} to a MAP of {value:.1f}%"
    return (
        f"Under its strongest attack here ({attack}{budget}), {network(defense)} "
        f"{change}, {_beside(value, chance)}."
    )


def _beside(value: float, chance: float) -> str:
    points = round(abs(value - chance), 1)
    if points == 0:
        return f"at chance ({chance:.1f}%)"
    side = "above" if value > chance else "below"
    return f"{points:.1f} points {side} chance ({chance:.1f}%)"


def _price(cells: Sequence[ReportCell]) -> list[str]:
    """What each defense costs on clean queries."""
    base, sentences = _cell(cells, "none", "clean"), []
    for cell in cells:
        if base is None or cell.attack != "clean" or cell.defense == "none":
            continue
        before, after = _tenth(base.map), _tenth(cell.map)
        points = f"{abs(after - before):.1f} points of MAP"
        verb = "costs" if after < before else "gains"
        change = f"{verb} {points}" if after != before else "costs nothing"
        name = names.display(names.DEFENSES, cell.defense)
        sentences.append(
            f"On clean queries {name} {change}: {after:.1f}% against {before:.1f}% "
            "undefended."
        )
    return sentences


def _alarms(cells: Sequence[ReportCell]) -> list[str]:
    """Signs that a number does not mean what it seems to."""
    alarms = []
    for defense in dict.fromkeys(cell.defense for cell in cells):
        clean, noise = (_cell(cells, defense, name) for name in BASELINES)
        worst = strongest(cells, defense)
        if clean and 100 * (clean.map - clean.chance) <= NEAR_CHANCE:
            alarms.append(
                f"Warning: on clean queries {network(defense)} scores "
                f"{_tenth(clean.map):.1f}%, where chance is "
                f"{_tenth(clean.chance):.1f}%: it has learned next to nothing, so its "
                "other numbers say little."
            )
        if noise and worst and worst is not noise and noise.map <= worst.map:
            alarms.append(
                f"Warning: random noise hurts {network(defense)} as much as its "
                "strongest attack. That attack fails, so it is no evidence of "
                "robustness."
            )
    return [*alarms, *filter(None, map(_over_budget, cells))]


def _over_budget(cell: ReportCell) -> str | None:
    used = cell.mean("perturbation.linf")
    if cell.budget is None or used is None or used <= cell.budget + 1e-4:
        return None
    attack = names.display(names.ATTACKS, cell.attack)
    return (
        f"Warning: {attack} on {network(cell.defense)} changed pixels by "
        f"{names.level(used)}, more than its budget of {names.level(cell.budget)}."
    )


def _cell(cells: Sequence[ReportCell], defense: str, attack: str) -> ReportCell | None:
    wanted = (c for c in cells if (c.defense, c.attack) == (defense, attack))
    return next(wanted, None)


def _tenth(fraction: float) -> float:
    return round(100 * fraction, 1)
