"""The program's evaluation for anybody's network: no workdir, no configuration file."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from cgat_jax import sharding
from cgat_jax.attacks import WORST_CASE
from cgat_jax.benchmarking import settings as benchmark_settings
from cgat_jax.benchmarking.settings import BenchmarkSettings
from cgat_jax.config import Config
from cgat_jax.data.arrays import ArrayData, array_dataset
from cgat_jax.data.dataset import Dataset
from cgat_jax.errors import InputError, lookup
from cgat_jax.evaluation.data_checks import check_same
from cgat_jax.evaluation.evaluator import Evaluator, Record
from cgat_jax.evaluation.given_network import check_outputs, given_network
from cgat_jax.evaluation.measurement import measure
from cgat_jax.evaluation.other_runs import other_networks
from cgat_jax.files.claimed import claimed_folder
from cgat_jax.files.io import write_bytes, write_sealed
from cgat_jax.files.kept import belongs
from cgat_jax.files.ownership import check_folder
from cgat_jax.processes import from_first, is_first, together
from cgat_jax.report import write_report
from cgat_jax.report.export import records_markdown
from cgat_jax.report.writer import is_report
from cgat_jax.workdir import check_workdir, claim_workdir, remember

RESULTS = "results.json"
_KEPT = (RESULTS, "targets.npy", "codes/*/*", "evaluate/*/*")
_ASIDE = (".damaged-", ".partial")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Benchmark:
    """What was measured of a network, as the program writes it.

    Attributes:
        records: of the clean queries and of each attack, in order.
        transfers: of images that were made on other networks.
        sanity: the checks of whether the numbers can be believed.
        first_queries: the worst case on the first queries, where it was not asked for.
        config: the settings.
        inputs: digests of the data.
        files: what a folder with these results holds, by name.
    """

    records: list[Record]
    transfers: list[Record]
    sanity: list[Record]
    first_queries: list[Record]
    config: Config
    inputs: Mapping[str, Any]
    files: Mapping[str, bytes]

    def __repr__(self) -> str:
        found = ", ".join(f"{r['attack']} {100 * r['map']:.2f}" for r in self.records)
        return f"Benchmark(MAP in %: {found})"

    def record(self, attack: str) -> Record:
        """The record of ``clean`` or of an attack.

        Raises:
            InputError: it was not measured; lists what was.
        """
        return lookup("attack", attack, {r["attack"]: r for r in self.records})

    def map(self, attack: str) -> float:
        """MAP of the ``clean`` queries or under an attack, from 0 to 1."""
        return self.record(attack)["map"]

    @property
    def clean(self) -> Record:
        """The record of the queries as they are."""
        return self.record("clean")

    @property
    def worst_case(self) -> Record | None:
        """The record of the ensemble of attacks, if it was measured."""
        measured = [record["attack"] for record in self.records]
        return self.record(WORST_CASE) if WORST_CASE in measured else None

    def to_markdown(self) -> str:
        """The table of MAP in Markdown, chance last, under what is wrong with it."""
        return records_markdown(self.records)

    def save(self, folder: str | Path) -> Path:
        """Writes ``results.json`` and a page in ``report/``; returns its index.html.

        The folder is then a workdir like a run's, also to go on from.

        Raises:
            ForeignFilesError: the folder holds something else.
            InputError: it holds results of other settings, data or another network.
            InUseError: another process works in it.
        """
        folder = Path(folder)
        check_folder(folder / "report", "report", is_own=is_report)
        with _claimed(folder, self.config):
            return Path(from_first(lambda: str(self._write(folder))))

    def _write(self, folder: Path) -> Path:
        own = self.clean
        origin = {"network": own["network_sha256"], "data": own["data_sha256"]}
        remember(folder, self.config, dict(self.inputs))
        belongs(folder / "codes" / own["defense"], origin)
        for name, content in self.files.items():
            path = folder / name
            if not path.is_file() or path.read_bytes() != content:
                write_bytes(path, content)
        return write_report(folder)


def benchmark(
    encode: Any,
    data: Dataset | ArrayData,
    *,
    epsilon: float | None = None,
    attacks: str | None = None,
    workdir: str | Path | None = None,
    settings: BenchmarkSettings | None = None,
) -> Benchmark:
    """Measures a network: clean, attacked, and whether the numbers can be believed.

    It is what the program does with a network that it has trained, on the same code:
    the attacks see the network and its center codes, ``worst_case`` is ``standard-v1``
    (see ``evaluation.worst_case``), and fourteen sanity checks doubt the result.

    >>> import jax, numpy as np
    >>> from cgat_jax.data.arrays import ArrayData
    >>> from cgat_jax.benchmarking.benchmark import BenchmarkSettings, benchmark
    >>> rng = np.random.default_rng(0)
    >>> labels = np.eye(4, dtype=np.uint8)[rng.integers(0, 4, 60)]
    >>> colors = rng.integers(0, 256, (4, 8, 8, 3))[labels.argmax(axis=1)]
    >>> noise = rng.integers(-40, 40, colors.shape)
    >>> images = np.clip(colors + noise, 0, 255).astype(np.uint8)
    >>> weights = jax.random.normal(jax.random.key(0), (8 * 8 * 3, 16))
    >>> def encode(images):  # any function from images in [0, 1] to logits
    ...     return (images - 0.5).reshape(len(images), -1) @ weights / 8
    >>> data = ArrayData(
    ...     query_images=images[:10],
    ...     query_labels=labels[:10],
    ...     database_images=images[10:],
    ...     database_labels=labels[10:],
    ... )
    >>> result = benchmark(
    ...     encode,
    ...     data,
    ...     epsilon=16 / 255,
    ...     attacks="noise,cgat",
    ...     settings=BenchmarkSettings(steps=20, sanity_queries=0),
    ... )
    >>> result.clean["chance"] < result.map("cgat") < result.map("noise") <= 1
    True
    >>> print(result.to_markdown().splitlines()[0])
    | MAP, % | clean | random noise | CgAT's attack | chance |

    Args:
        encode: ``encode(images) -> logits``, from float32 [n, S, S, 3] in [0, 1] to
            [n, K], traceable by JAX, each row of its own image alone: the signs of the
            logits are the codes. Or a trained network (with its ``model``, ``params``
            and ``stats``), whose arrays then are no constants of the programs.
        data: arrays, or what ``cgat_jax.data.load_dataset`` gives.
        epsilon: radius of the ball, of images in [0, 1]; None: 8/255, or as the
            settings say.
        attacks: comma separated; None: noise, cgat and worst_case, or as the settings
            say.
        workdir: keeps what is measured, attack by attack: the same call goes on where
            an earlier one stopped. Without it nothing is left on disk.
        settings: all the rest.

    Returns:
        The records that ``results.json`` of a run has, and what can be done with them.

    Raises:
        InputError: the network, the data or a setting cannot be used; or the workdir is
            of another network, other data or other settings; or the processes do not
            hold the same data.
        NonFiniteError: the network gives numbers that are not finite, or its gradient.
        ForeignFilesError: the workdir holds something else.
        InUseError: another process works in the workdir.
    """
    settings = settings or BenchmarkSettings()
    settings = benchmark_settings.changed(settings, epsilon, attacks)
    whole = isinstance(data, ArrayData)
    dataset, given = array_dataset(data) if whole else data, given_network(encode)
    side = benchmark_settings.crop_of(settings, given, dataset, whole=whole)
    config = benchmark_settings.config_of(settings, given, dataset, side)
    benchmark_settings.check_view(given, dataset, side, whole=whole)
    benchmark_settings.check(config, dataset)
    check_same(dataset)
    check_outputs(given, dataset, side)
    inputs = {"data": dataset.digest.to_json()}
    with _folder(workdir, config) as folder:
        from_first(lambda: remember(folder, config, inputs))
        mesh = sharding.make_mesh()
        evaluator = Evaluator(config, dataset, mesh, folder, lambda: None)
        networks = {given.defense: (given.model, given.network, given.foreign)}
        others = other_networks(config, dataset, mesh)
        results = measure(evaluator, networks, others)
        from_first(lambda: write_sealed(folder / RESULTS, results))
        files = _files(folder)
    return Benchmark(**results, config=config, inputs=inputs, files=files)


@contextlib.contextmanager
def _folder(workdir: str | Path | None, config: Config) -> Iterator[Path]:
    """Where to work: a folder that is ours for so long, or a temporary one."""
    if workdir is not None:
        with _claimed(Path(workdir), config):
            yield Path(workdir)
        return
    if jax.process_count() > 1:
        raise InputError("workdir: several processes need one that all of them see")
    with tempfile.TemporaryDirectory(prefix="cgat_jax-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _claimed(folder: Path, config: Config) -> Iterator[None]:
    """A folder that is a run's with these settings, or new; ours for so long."""
    with contextlib.ExitStack() as stack:
        with together():
            check_workdir(folder, config)
            if is_first():  # it holds the folder for all
                stack.enter_context(claimed_folder(folder, claim_workdir))
                check_workdir(folder, config)  # again: another run may be faster
        yield


def _files(folder: Path) -> dict[str, bytes]:
    """The files of a workdir that others can go on from, by name."""
    paths = [path for pattern in _KEPT for path in sorted(folder.glob(pattern))]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and not any(part in path.name for part in _ASIDE)
    }
