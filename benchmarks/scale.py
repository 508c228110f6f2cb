"""What the bank of a large training set costs a step, and whether to split it.

    python -m benchmarks.scale [--rounds 3] [--out docs/benchmarks/scale.md]

The bank holds the latest code of every training image, and its labels, in float32 on
every device. A CgAT step compares its batch with all of it three times: two center
codes and the DPSH loss with its gradient. Measured is that part alone, jitted together,
with the write of the batch's codes, for banks from 10^4 to 10^6 rows; each in a process
of its own, so that the peak of its memory is its own. Bytes moved are XLA's count for
this program; what they take on a GPU is computed, not measured.
"""

import argparse
import datetime
import json
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from benchmarks.evaluation import peak_memory
from benchmarks.out_file import out_file, write_out
from benchmarks.step_report import processor
from benchmarks.training import synthetic
from cgat_jax.centers import center_codes
from cgat_jax.evaluation.provenance import provenance
from cgat_jax.losses import make_loss
from cgat_jax.report.tables import markdown_table
from cgat_jax.types import Batch

TITLE = "# Large training sets: what the bank costs a step"
CASES = [(10**4, 32), (10**5, 32), (10**6, 32), (10**6, 128)]
BATCH, CLASSES = 32, 80
GPUS, BANDWIDTH = 8, 3.35e12  # an H100's memory, bytes a second, as its maker says
ABOUT = """\
A batch of {batch}, {classes} classes. Two center codes, the DPSH loss with its gradient
and the write of the batch's codes, jitted together: ms of CPU time, over all cores, of
the best of {rounds} rounds. Bank: codes and labels in float32, on every device.
Temporary: what XLA reserves beside its arguments and results. Peak: of the process,
with what made the data. On paper: the bytes that XLA counts for the program at
{bandwidth:.2f} TB/s, and that with the bank split by rows over {gpus} GPUs, without the
sums that those would have to exchange."""

READING = """\
The largest bank and what XLA reserves take {whole:.1f} GB of a GPU's memory, and
reading it {paper:.1f} ms of a step. A CgAT step of 32 images of VGG11 costs 9.4 TFLOP:
9.5 ms at the 990 TFLOP/s that the maker promises in bfloat16, several times that in
practice. So the bank stays whole on every device. Splitting it by rows would pay from
about ten times as many rows on, or where a step of a small network is cheaper than the
bank.

An evaluation of 10^7 codes of 128 bits by `device_retrieval`, on paper: 6 GB for the
tables in float32, with 21 classes. A query sorts 8 bytes an item; in 5 passes that read
and write them, 0.8 GB or 0.24 ms, half a second for 2,100 queries, and an eighth of
that on 8 GPUs with the queries split. NumPy's times are measured: see `retrieval.md`.
"""


def against_the_bank(loss, constants, batch: Batch):
    """The part of a CgAT step that reads the whole bank."""

    def part(bank, logits, key):
        codes = jnp.tanh(logits)
        first = center_codes(batch.labels, bank)
        bank = bank.record(batch, codes)

        def value(logits):
            return loss.apply({}, constants, logits, batch, bank, key)

        distance = (codes * (first + center_codes(batch.labels, bank))).sum()
        return bank, jax.value_and_grad(value)(logits), distance

    return jax.jit(part, donate_argnums=0)


def measure(rows: int, bits: int, rounds: int) -> dict[str, float]:
    """Milliseconds, megabytes and the bytes that the program moves."""
    batch, bank = synthetic(BATCH, 8, rows, bits, CLASSES)
    batch = Batch(*map(jnp.asarray, batch))
    loss = make_loss("dpsh")
    _, constants = loss.init(jax.random.key(0), bank)
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(BATCH, bits)), "float32")
    program = against_the_bank(loss, constants, batch)
    compiled = program.lower(bank, logits, jax.random.key(0)).compile()
    before, best = peak_memory(), np.inf
    for _ in range(rounds + 1):
        start = time.process_time()
        bank, *_ = jax.block_until_ready(compiled(bank, logits, jax.random.key(0)))
        best = min(best, time.process_time() - start)
    return {
        "ms": 1e3 * best,
        "bank": sum(x.nbytes for x in bank) / 2**20,
        "temporary": compiled.memory_analysis().temp_size_in_bytes / 2**20,
        "before": before,
        "peak": peak_memory(),
        "moved": compiled.cost_analysis()["bytes accessed"],
    }


def table(rounds: int) -> str:
    """All cases, each in its own process, and what the last of them says."""
    rows = []
    for case in CASES:
        command = [sys.executable, "-m", "benchmarks.scale", "--case", *map(str, case)]
        command += ["--rounds", str(rounds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        times = 1e3 * found["moved"] / BANDWIDTH
        names = "bank", "temporary", "before", "peak"
        memory = [f"{found[name]:.0f}" for name in names]
        gigabytes = f"{found['moved'] / 1e9:.2f}"
        numbers = [f"{found['ms']:.1f}", *memory, gigabytes]
        split = [f"{times:.3f}", f"{times / GPUS:.3f}", f"{found['bank'] / GPUS:.0f}"]
        rows.append([f"{case[0]:,}", str(case[1]), *numbers, *split])
        print(*rows[-1], file=sys.stderr)
    measured = ["CPU, ms", "bank, MB", "temporary, MB", "before, MB", "peak, MB"]
    paper = ["moved, GB", "a GPU, ms", f"split by {GPUS}, ms", "split, MB"]
    whole = (found["bank"] + found["temporary"]) * 2**20 / 1e9
    reading = READING.format(whole=whole, paper=1e3 * found["moved"] / BANDWIDTH)
    table = pd.DataFrame(rows, columns=["rows", "bits", *measured, *paper])
    return f"{markdown_table(table)}\n{reading}"


def main() -> None:
    """Parses the options, measures, prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--case", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=out_file(TITLE), help="Markdown file to write")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(*options.case, options.rounds)))
        return
    about = provenance()
    explained = ABOUT.format(
        batch=BATCH,
        classes=CLASSES,
        rounds=options.rounds,
        bandwidth=BANDWIDTH / 1e12,
        gpus=GPUS,
    )
    text = (
        f"{TITLE}\n\n{datetime.date.today()}, {processor()}, {about['device']}; "
        f"jax {about['versions']['jax']}; commit {about['commit']}.\n"
        f"Command: `python -m benchmarks.scale --rounds={options.rounds}`\n\n"
        f"{explained}\n\n{table(options.rounds)}"
    )
    print(text)
    write_out(options.out, text)


if __name__ == "__main__":
    main()
