"""All that is measured of networks: clean, attacked, transferred and doubted."""

from collections.abc import Iterable, Mapping

from cgat_jax.evaluation.attack_runner import EncodedNetwork, Network
from cgat_jax.evaluation.evaluator import Evaluator, Record
from cgat_jax.evaluation.transfer import Doubts
from cgat_jax.types import HashModel

Results = dict[str, list[Record]]


def measure(
    evaluator: Evaluator,
    networks: Mapping[str, tuple[HashModel, Network]],
    others: Iterable[tuple[str, HashModel, Network]] = (),
) -> Results:
    """The records of networks, their transfers and their sanity checks.

    Args:
        evaluator: of the data; finished measurements in its folder are read.
        networks: to measure, by defense.
        others: more networks that images are made on for transfers and checks, with
            names of their own; taken one by one after the networks' own attacks.

    Returns:
        What ``results.json`` holds: ``records``, ``transfers`` and ``sanity``.

    Raises:
        InputError: what the folder holds is of other networks or other data.
    """
    own: dict[str, EncodedNetwork] = {
        defense: evaluator.encoded(defense, *network)
        for defense, network in networks.items()
    }
    records = [
        record
        for defense, encoded in own.items()
        for record in evaluator.attacks(defense, encoded)
    ]
    sources = own | {name: evaluator.encoded(name, *other) for name, *other in others}
    doubts = Doubts(evaluator)
    return {
        "records": records,
        "transfers": doubts.transfers(own, sources),
        "sanity": doubts.examine(own, sources),
    }
