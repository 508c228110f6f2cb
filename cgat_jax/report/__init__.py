"""Turns the records of a run into tables, charts and one self-contained page."""

from cgat_jax.report.doubt import sanity_lines
from cgat_jax.report.tables import terminal_table
from cgat_jax.report.writer import write_report, write_reports

__all__ = ["sanity_lines", "terminal_table", "write_report", "write_reports"]
