"""Times training steps and an attack against the same in PyTorch.

    python -m benchmarks.step [--torch-python PYTHON] [--out FILE]

For each case (network and batch size): a CgAT step (DPSH, 7 iterations, soft bank,
dropout 0.5), a pretraining step, and CgAT's attack as the evaluation runs it. The
network of 48 pixels has a bank of 4,000 codes of 32 bits and 10 classes, the others one
of 10,000 codes of 64 bits and 80 classes. Images and weights are random.

JAX and PyTorch compute in processes of their own that take turns, since threads of
one library would slow the other; a job of one is always followed by the same of the
other. On a GPU, every case is timed in float32, TF32 and bfloat16, and PyTorch only if
it has CUDA. Where there is no torch, the JAX side is timed alone.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys

from benchmarks import peers
from benchmarks.out_file import out_file, write_out
from benchmarks.step_report import TITLE, Measured, render

CASES, UNROLLED = "small:128,alexnet:8,alexnet:32,vgg11:2", "small:128,alexnet:8"
LAYOUTS = ("channels_last", "contiguous_format")


def parse_cases(text: str) -> list[tuple[str, int]]:
    """Networks and batch sizes of a list such as ``small:128,vgg11:2``.

    Raises:
        ArgumentTypeError: an unknown network, or a batch that is no positive number.
    """
    cases = []
    for case in filter(None, text.split(",")):
        network, _, batch = case.partition(":")
        if network not in peers.SCALES or not batch.isdecimal() or int(batch) < 1:
            raise argparse.ArgumentTypeError(
                f"expected NETWORK:BATCH with a network of {list(peers.SCALES)}, "
                f"got {case!r}"
            )
        cases.append((network, int(batch)))
    return cases


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cases", type=parse_cases, default=CASES, help=f"default: {CASES}")
    add(
        "--unrolled",
        type=parse_cases,
        default=UNROLLED,
        help=f"cases whose inner attack is timed unrolled, too; default: {UNROLLED}",
    )
    add("--rounds", type=int, default=5, help="turns of each job; default: 5")
    add(
        "--attack-steps",
        type=int,
        default=100,
        help="iterations of the attack on small, default: 100; others take a tenth",
    )
    add("--torch-python", default=sys.executable, help="the Python that has torch")
    add("--torch-layout", choices=LAYOUTS, default=LAYOUTS[0], help="memory format")
    add("--out", type=out_file(TITLE), help="Markdown file to write")
    options = parser.parse_args()
    if shutil.which(options.torch_python) is None:
        parser.error(f"--torch-python: no such program: {options.torch_python}")
    if min(options.rounds, options.attack_steps) < 1:
        parser.error("--rounds and --attack-steps: expected at least 1")
    return options


def has_torch(python: str) -> bool:
    """Whether this Python imports torch."""
    done = subprocess.run([python, "-c", "import torch"], stderr=subprocess.DEVNULL)
    return done.returncode == 0


def start_workers(
    options: argparse.Namespace, stack: contextlib.ExitStack
) -> tuple[dict[str, peers.Worker], dict[str, dict]]:
    """The workers by side, and what each says of itself; prints who is missing."""
    worker = stack.enter_context(peers.Worker(sys.executable, "benchmarks.step_jax"))
    workers, about = {"jax": worker}, {"jax": worker.ask("describe")}
    if not has_torch(options.torch_python):
        print(f"No torch in {options.torch_python}: only the JAX side is timed.")
        return workers, about
    worker = stack.enter_context(
        peers.Worker(options.torch_python, "benchmarks.torch_peer")
    )
    about["torch"] = worker.ask("describe")
    if about["jax"]["platform"] != "cpu" and not about["torch"]["cuda"]:
        print("This torch has no CUDA: only the JAX side is timed.")
        return workers, about
    return workers | {"torch": worker}, about


def measure(
    case: tuple[str, int],
    precision: str,
    workers: dict[str, peers.Worker],
    on_cpu: bool,
    options: argparse.Namespace,
) -> Measured:
    """Prepares one case on every side, one after the other, and times its rounds."""
    network, batch = case
    steps = options.attack_steps
    request = {
        "network": network,
        "batch": batch,
        "precision": precision,
        "attack_steps": steps if network == "small" else max(1, steps // 10),
    }
    special = {
        "jax": {"loops": case in options.unrolled},
        "torch": {
            "layout": options.torch_layout,
            "device": "cpu" if on_cpu else "cuda",
        },
    }
    facts = {
        side: worker.ask("prepare", **request, **special[side])
        for side, worker in workers.items()
    }
    jobs = {side: facts[side]["jobs"] for side in workers}
    times, load = peers.timed_rounds(workers, jobs, options.rounds)
    return Measured(
        network=network,
        batch=batch,
        precision=precision,
        attack_steps=request["attack_steps"],
        forward_flops=facts["jax"]["forward_flops"],
        compile_seconds=facts["jax"]["compile"],
        times=times,
        load=load,
    )


def main() -> None:
    """Times every case, prints the tables and writes them."""
    options = parse_options()
    average = os.getloadavg()
    with contextlib.ExitStack() as stack:
        workers, about = start_workers(options, stack)
        on_cpu = about["jax"]["platform"] == "cpu"
        results = []
        for precision in ["float32"] if on_cpu else ["float32", "tf32", "bfloat16"]:
            for case in options.cases:
                print(f"{case[0]} b{case[1]} {precision} ...", flush=True)
                results.append(measure(case, precision, workers, on_cpu, options))
    text = render(results, about, options, average)
    print(text, end="")
    write_out(options.out, text)


if __name__ == "__main__":
    main()
