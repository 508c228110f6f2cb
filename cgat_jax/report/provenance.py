"""Where the numbers come from: code, machine, split and settings."""

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cgat_jax.report import names
from cgat_jax.report.records import Record, Run


def provenance(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Names and values; where records differ, all values."""
    versions = [record.get("versions") or {} for record in records]
    libraries = sorted({name for known in versions for name in known})
    keys = ("split", "split_sha256", "seed", "commit", "config_sha256", "device")
    rows = [(k.replace("_", " "), _values(r.get(k) for r in records)) for k in keys]
    rows += [(name, _values(v.get(name) for v in versions)) for name in libraries]
    return rows


def settings(run: Run) -> list[tuple[str, str]]:
    """Dotted settings of a run; of a path only the last part, to share the page."""
    flat = pd.json_normalize(run.config).to_dict("records")
    return [(key, public(value)) for each in flat for key, value in each.items()]


def attack_settings(records: Sequence[Record]) -> list[tuple[str, str]]:
    """The settings of each attack, as the records hold them."""
    rows = {}
    for record in records:
        given = record.get("attack_settings") or {}
        text = ", ".join(f"{key}={public(value)}" for key, value in given.items())
        if text:
            attack = names.display(names.ATTACKS, record["attack"])
            rows.setdefault(f"{names.network(record)}, {attack}", text)
    return list(rows.items())


def _values(values: Any) -> str:
    seen = dict.fromkeys("not recorded" if v in (None, "") else str(v) for v in values)
    return ", ".join(seen) or "not recorded"


def public(value: Any) -> str:
    """A setting as text; of a path its last part alone, to share the page."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if re.match(r"(/|~|[A-Za-z]:[\\/])", text):
        return "\N{HORIZONTAL ELLIPSIS}/" + re.split(r"[\\/]", text.rstrip("\\/"))[-1]
    return text
