"""The sanity checks of each network: which failed, and what to do about each."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from cgat_jax.report import names
from cgat_jax.report.cells import order_of
from cgat_jax.report.records import Record

STATES = {True: "passed", False: "FAILED", None: "not made"}
MEANING = (
    "A sanity check asks whether an attack was strong enough for its number to be "
    "believed. One that fails says that the attack may be too weak, not that the "
    "network is robust: its MAP under attack is then an upper bound."
)
_HIDDEN = "gradients may be hidden: report worst_case, which does not rely on one kind"
ADVICE = {
    "zero budget": "Codes change though no pixel does. Make the network a function of "
    "the image alone (no dropout, fixed batch statistics), then measure again.",
    "larger budget": "An attack that may do more did less, so it has not converged. "
    "Raise evaluate.steps, or report worst_case.",
    "unbounded": "Even an attack without a bound does not win. Gradients do not reach "
    "the image: look for steps without one, such as quantization, and try "
    "evaluate.surrogate=unit.",
    "more iterations": "The attack has not converged. Measure again with "
    "more evaluate.steps, or report worst_case.",
    "restarts": "Other starts find worse images. Report worst_case, or measure again "
    "with more evaluate.restarts.",
    "order": f"Images made on another network, or noise, hurt more than they should; "
    f"{_HIDDEN}, and name the other network in evaluate.transfer.",
    "black box": f"Square, which sees no gradient, hurts more than the attack that "
    f"does; {_HIDDEN}.",
    "zero gradients": "Saturated outputs leave the attack without a gradient. Measure "
    "again with evaluate.surrogate=unit.",
    "saturation": "The attack is stronger when tanh does not flatten its gradient. "
    "Measure again with evaluate.surrogate=unit, or report worst_case.",
    "deterministic": "The same image has several codes. Switch off what is random in "
    "the network, or attack its average.",
    "ball": "Attacked images leave the ball or the pixel range: an error of the "
    "attack. Do not use its numbers.",
    "batch": "An image's code depends on the others of its batch. Fix the batch "
    "statistics, or keep evaluate.batch_size the same everywhere.",
    "descent": "The attack's objective rises where it should fall. Try a smaller "
    "evaluate.step_size.",
    "noise": "Random noise flips as many bits as the attack, which therefore fails. "
    "Check its gradients before anything else.",
}


class Failure(NamedTuple):
    """A check that failed, in words."""

    network: str
    check: str
    measured: str
    meaning: str
    advice: str


class Examined(NamedTuple):
    """The checks of a network.

    Attributes:
        network: what tables call it.
        verdict: how many checks failed.
        failed: their number.
        note: on what and how it was measured.
        rows: a row a check.
    """

    network: str
    verdict: str
    failed: int
    note: str
    rows: pd.DataFrame


def examined(sanity: Sequence[Record]) -> list[Examined]:
    """The checks of each network, in the order of the tables."""
    order = sorted(sanity, key=lambda entry: order_of({"attack": ""} | entry))
    return [
        Examined(
            network=_network(entry, order),
            verdict=_verdict(entry),
            failed=len(_failed(entry)),
            note=f"On the first {entry['num_queries']:,} queries: {_summary(entry)}."
            f"{_twin(entry)} {MEANING} Shares and MAP as fractions.",
            rows=pd.DataFrame([_row(check) for check in entry["checks"]]),
        )
        for entry in order
    ]


def failures(sanity: Sequence[Record]) -> list[Failure]:
    """Each check that failed, by network, with what to do about it."""
    order = sorted(sanity, key=lambda entry: order_of({"attack": ""} | entry))
    return [
        Failure(
            network=_network(entry, order),
            check=check["name"],
            measured=_measured(check),
            meaning=_sentence(check["meaning"].split(";")[0]),
            advice=ADVICE.get(check["name"], ""),
        )
        for entry in order
        for check in _failed(entry)
    ]


def _network(entry: Record, sanity: Sequence[Record]) -> str:
    """The network, with its seed where there are several."""
    name = names.network(entry)
    several = sum(names.network(other) == name for other in sanity) > 1
    return f"{name}, seed {entry.get('seed')}" if several else name


def _failed(entry: Record) -> list[Record]:
    return [check for check in entry["checks"] if check["passed"] is False]


def _made(entry: Record) -> list[Record]:
    return [check for check in entry["checks"] if check["passed"] is not None]


def _verdict(entry: Record) -> str:
    failed, made = len(_failed(entry)), len(_made(entry))
    if not failed:
        return f"all {made} sanity checks passed"
    return f"{failed} of {made} sanity checks failed"


def _summary(entry: Record) -> str:
    """How many checks passed; those that failed with value and threshold."""
    made, failed = _made(entry), _failed(entry)
    skipped = [check["name"] for check in entry["checks"] if check not in made]
    text = f"{len(made) - len(failed)} of {len(made)} checks passed"
    text += f"; not made: {', '.join(skipped)}" if skipped else ""
    told = "; ".join(f"{check['name']} ({_measured(check)})" for check in failed)
    return text + (f"; failed: {told}" if failed else "")


def _measured(check: Record) -> str:
    return f"{_number(check['value'])}, at most {_number(check['threshold'])}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _row(check: Record) -> dict[str, str]:
    return {
        "check": check["name"],
        "result": STATES[check["passed"]],
        "value": "" if check["value"] is None else _number(check["value"]),
        "at most": _number(check["threshold"]),
        "what is measured": check["meaning"],
    }


def _twin(entry: Record) -> str:
    """On which network the check of transfers relied; records may not know."""
    if "twin" not in entry:
        return ""
    if entry["twin"] is None:
        return " There was no other network to take images from."
    return f" The other network is {names.display(names.DEFENSES, entry['twin'])}."


def _number(value: Any) -> str:
    return f"{value:.3g}" if abs(value) >= 1e-9 else "0"
