"""Pages from the templates of this folder."""

import functools
from typing import Any

import jinja2

from cgat_jax.report import names


def render(template: str, **values: Any) -> str:
    """A page; what its template names must be given, and text is escaped."""
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cgat_jax", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = names.percent
    return environment
