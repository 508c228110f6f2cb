"""The table of claims, and a section for each, as Markdown."""

import json
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from cgat_jax.claims.form import ATTACKS, Claim
from cgat_jax.config.settings import from_json
from cgat_jax.report import names

HEAD = """# The zoo

Networks that come with the package, each with all that was measured of it. This page is
made from their claims (`python -m experiments.claim page`); nobody types its numbers.

```python
import cgat_jax as cj

net = cj.load_network("NAME")
```

MAP@R in % over all queries, in brackets its 95 % interval over queries, of one trained
network. *Data*: the six digits begin the digest of labels, split and contents; only
rows of the same can be compared. *Ball*: the largest change of a pixel. *Worst case*:
the ensemble `standard-v1`. *Chance*: the MAP of a random order, nearly. *Sanity*: how
many passed of the checks that could be made. Random noise may raise MAP a little; it is
no attack. [How a claim is made, sent and checked](leaderboard.md); in a checkout with
the extra `[claims]` this measures one again:

    python -m experiments.claim check cgat_jax/zoo/quickstart-best
"""


def claims_page(claims: Sequence[Claim]) -> str:
    """The page of some claims: of what can be compared, the most robust first."""

    def order(claim: Claim) -> tuple[Any, ...]:
        data, measured = claim["data"], claim["measured"]
        alike = data["settings"]["name"], data["sha256"]
        alike += measured["epsilon"], measured["top_k"]
        return *alike, -_map(claim, "worst_case")

    ordered = sorted(claims, key=order)
    lines = [
        HEAD,
        "| name | data, R | network | ball | clean | worst case | chance | sanity |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
        *[_row(claim) for claim in ordered],
    ]
    return "\n".join([*lines, *[_section(claim) for claim in ordered]])


def _row(claim: Claim) -> str:
    network, measured = claim["network"], claim["measured"]
    data = names.display(names.DATASETS, claim["data"]["settings"]["name"])
    backbone = names.display(names.BACKBONES, network["backbone"])
    defense = names.display(names.DEFENSES, network["defense"])
    return (
        "| "
        + " | ".join(
            [
                f"[{claim['name']}](#{claim['name']})",
                f"{data} `{claim['data']['sha256'][:6]}`, {measured['top_k']}",
                f"{backbone}, {network['bits']} bits, {defense}{_trained(claim)}",
                _ball(claim),
                names.percent(_map(claim, "clean")),
                _in_bold(_with_interval(measured["attacks"]["worst_case"])),
                names.percent(measured["chance"]),
                _passed(measured["sanity"]["checks"]),
            ]
        )
        + " |"
    )


def _section(claim: Claim) -> str:
    network, data, measured = claim["network"], claim["data"], claim["measured"]
    recipe = claim["recipe"]
    attacks = {name: _with_interval(measured["attacks"][name]) for name in ATTACKS}
    for x in measured["components"]:
        attacks[x["attack"]] = names.percent(x["map"])
    attacks = {names.display(names.ATTACKS, key): attacks[key] for key in attacks}
    attacks["chance"] = names.percent(measured["chance"])
    lines = [
        f"\n## {claim['name']}\n",
        f"{claim['title']} ({_authors(claim)}).\n",
        f"| attack, {_ball(claim)} | MAP@{measured['top_k']}, % (95 % over queries) |",
        "| --- | ---: |",
        *[f"| {title} | {value} |" for title, value in attacks.items()],
        "",
        f"- **Network:** {network['parameters']:,} parameters, "
        f"{network['flops'] / 1e6:,.1f} million operations an image of "
        f"{network['crop_size']} pixels; file `{network['sha256'][:16]}`.",
        f"- **Data:** {data['num_queries']:,} queries, {data['num_database']:,} in the "
        f"database, {data['num_train']:,} to train; split `{data['split']}`, "
        f"`{data['split_sha256'][:16]}`; data `{data['sha256'][:16]}`.",
        f"- **Measured** at commit `{measured['commit']}` on {measured['device']}, "
        f"seed {measured['seed']}; clean, noise and attacks took "
        f"{measured['seconds']:,.0f} s.",
    ]
    if recipe:
        lines.append(f"- **Recipe:** {_recipe(recipe, network['defense'])}.")
    lines += [_sanity(measured["sanity"]), *_seeds(claim)]
    return "\n".join(lines)


def _in_bold(text: str) -> str:
    """With the number before its interval in bold."""
    number, _, interval = text.partition(" ")
    return f"**{number}** {interval}"


def _with_interval(measured: dict[str, Any]) -> str:
    low, high = map(names.percent, measured["interval"])
    return f"{names.percent(measured['map'])} ({low} to {high})"


def _trained(claim: Claim) -> str:
    """What tells one training of a defense from another, where it is known."""
    if not claim["recipe"] or claim["network"]["defense"] == "none":
        return ""
    used = from_json(json.dumps(claim["recipe"]), "recipe").defense
    return f", {used.epochs} epochs, weight {used.weight:g}"


def _recipe(recipe: dict[str, Any], defense: str) -> str:
    config = from_json(json.dumps(recipe), "recipe")
    loss = names.display(names.LOSSES, config.loss.name)
    text = f"{config.pretrain.epochs} epochs of {loss}"
    if config.model.weights:
        words = {"packed": "the package's pretrained"}
        weights = words.get(config.model.weights, config.model.weights)
        text = f"{weights} weights, {text}"
    elif config.backbone.epochs:
        text = f"{config.backbone.epochs} epochs of classification, {text}"
    if config.pretrained:
        text = f"a network that was given, of {loss}"
    if defense != "none":
        title, used = names.display(names.DEFENSES, defense), config.defense
        text += (
            f", {used.epochs} of {title}, rate {used.learning_rate:g} "
            f"({used.schedule}), weight {used.weight:g}, inner attack of "
            f"{used.steps} steps of {names.level(used.step_size)}"
        )
        if defense == "cgat" and not (used.awp or used.consistency):
            passes = used.epochs * (used.steps + 2)  # with a clean and an adversarial
            text += f", {passes} passes forward and back of an image"
    return f"{text}, seed {config.seed}"


def _sanity(sanity: dict[str, Any]) -> str:
    failed = [check for check in sanity["checks"] if check["passed"] is False]
    unmade = [check["name"] for check in sanity["checks"] if check["passed"] is None]
    text = f"- **Sanity checks**, {sanity['num_queries']} queries: "
    text += f"{_passed(sanity['checks'])} passed"
    text += f", not made: {', '.join(unmade)}" if unmade else ""
    each = [
        f"  - failed: *{x['name']}*, {x['value']:.4g} (at most {x['threshold']:.4g}). "
        f"{x['reason']}"
        for x in failed
    ]
    return "\n".join([f"{text}.", *each])


def _seeds(claim: Claim) -> list[str]:
    if not claim["seeds"]:
        return []
    own = {key: found["map"] for key, found in claim["measured"]["attacks"].items()}
    lines, maps = [], [own, *(other["maps"] for other in claim["seeds"])]
    for other in claim["seeds"]:
        lines.append(f"- **Seed {other['seed']}:** {_listed(other['maps'])}.")
    shared = [key for key in own if all(key in each for each in maps)]
    means = {key: fmean(each[key] for each in maps) for key in shared}
    lines.append(f"- **Mean of {len(maps)} seeds:** {_listed(means)}.")
    return lines


def _listed(maps: dict[str, float]) -> str:
    found = maps.items()
    titled = (f"{names.display(names.ATTACKS, k)} {names.percent(v)}" for k, v in found)
    return ", ".join(titled)


def _passed(checks: Sequence[dict[str, Any]]) -> str:
    """How many passed of those that were made."""
    made = [check["passed"] for check in checks if check["passed"] is not None]
    return f"{sum(made)} of {len(made)}"


def _authors(claim: Claim) -> str:
    link = claim["link"]
    return f"[{claim['authors']}]({link})" if link else claim["authors"]


def _ball(claim: Claim) -> str:
    return names.level(claim["measured"]["epsilon"])


def _map(claim: Claim, attack: str) -> float:
    return claim["measured"]["attacks"][attack]["map"]
