"""Search: images by the codes of a trained network, with the field's engines.

``Index`` is what a user needs; ``ENGINES`` names what it can search with.
"""

from cgat_jax.search.engines import ENGINES, EngineSettings
from cgat_jax.search.index import Index, SearchResult
from cgat_jax.search.rows import Item, Query

__all__ = ["ENGINES", "EngineSettings", "Index", "Item", "Query", "SearchResult"]
