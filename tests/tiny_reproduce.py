"""``experiments.reproduce`` with a tiny configuration for the quickstart's."""

import runpy

from cgat_jax.reproduction import paper_cells

paper_cells.CONFIGS["quickstart"] = "tests/tiny_config.py"
runpy.run_module("experiments.reproduce", run_name="__main__", alter_sys=True)
