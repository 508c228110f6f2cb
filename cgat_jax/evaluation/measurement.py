"""All that is measured of networks: clean, attacked, transferred and doubted."""

from collections.abc import Iterable, Mapping

from cgat_jax import progress
from cgat_jax.evaluation.attack_runner import EncodedNetwork, Network
from cgat_jax.evaluation.evaluator import Evaluator, Record
from cgat_jax.evaluation.first_queries import worst_on_first
from cgat_jax.evaluation.transfer import Doubts
from cgat_jax.types import HashModel

Results = dict[str, list[Record]]
Measured = tuple[HashModel, Network] | tuple[HashModel, Network, bool]


def measure(
    evaluator: Evaluator,
    networks: Mapping[str, Measured],
    others: Iterable[tuple[str, HashModel, Network]] = (),
) -> Results:
    """The records of networks, their transfers and their sanity checks.

    Args:
        evaluator: of the data; finished measurements in its folder are read.
        networks: to measure, by defense; with True, if ``Encoder`` is to know them by
            what they do.
        others: more networks that images are made on for transfers and checks, with
            names of their own; taken one by one after the networks' own attacks.

    Returns:
        What ``results.json`` holds: ``records``, ``transfers``, ``sanity``, and the
        worst case on the ``first_queries``, where it is not among the records.

    Raises:
        InputError: what the folder holds is of other networks or other data.
    """

    def encoded(name: str, network: Measured) -> EncodedNetwork:
        with progress.part(name):
            return evaluator.encoded(name, *network)

    own = {defense: encoded(defense, network) for defense, network in networks.items()}
    records = [
        record
        for defense, encoded in own.items()
        for record in evaluator.attacks(defense, encoded)
    ]
    worst = worst_on_first(evaluator, own)
    sources = own | {name: encoded(name, other) for name, *other in others}
    doubts = Doubts(evaluator)
    return {
        "records": records,
        "transfers": doubts.transfers(own, sources),
        "sanity": doubts.examine(own, sources),
        "first_queries": worst,
    }
