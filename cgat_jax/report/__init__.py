"""Turns the records of a run into tables, charts and one self-contained page."""

from cgat_jax.report.terminal import closing, terminal_table
from cgat_jax.report.writer import write_report, write_reports

__all__ = ["closing", "terminal_table", "write_report", "write_reports"]
