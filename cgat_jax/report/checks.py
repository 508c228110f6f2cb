"""What a record may hold: types and ranges, so that no edited number gets on a page."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from cgat_jax.errors import DamagedFileError

ANEW = "run the same command again to measure anew"
_SLACK = 1e-9  # of means, rounded


def is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether a value is a finite number in a range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value) and low <= value <= high
    except OverflowError:  # an integer beyond all floats
        return False


def fits(value: Any, schema: Any) -> bool:
    """Whether a value from JSON is as a schema says.

    A schema is a function that judges, a type, None, a tuple of which one must fit, a
    list of what each element is, or an object of what these keys, at least, are.
    """
    if isinstance(schema, dict):
        return isinstance(value, dict) and all(
            fits(value.get(key), each) for key, each in schema.items()
        )
    if isinstance(schema, list):
        return isinstance(value, list) and all(fits(each, schema[0]) for each in value)
    if isinstance(schema, tuple):
        return any(fits(value, each) for each in schema)
    if schema is None or isinstance(schema, type):
        return type(value) is (schema or type(None))
    return schema(value)


def _fraction(value: Any) -> bool:
    return is_number(value, -_SLACK, 1 + _SLACK)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and is_number(value)


def _count(value: Any) -> bool:
    return _whole(value) and value >= 0


def _amount(value: Any) -> bool:
    return is_number(value, low=0.0)


def _flat(value: Any) -> bool:
    return isinstance(value, dict) and fits([*value.values()], [_SCALAR])


def _interval(value: Any) -> bool:
    return fits(value, [_fraction]) and len(value) == 2


def _fractions(value: Any) -> bool:
    return isinstance(value, dict) and fits([*value.values()], [_fraction])


def _codes(value: Any) -> bool:
    """Whether these are codes of one length, the clean query's among them."""
    texts = [*value.values()] if isinstance(value, dict) else [None]
    if not fits(texts, [str]) or not set("".join(texts)) <= set("+-0"):
        return False
    return not texts or ("clean" in value and len({*map(len, texts)}) == 1)


def _curve(**of: Any) -> Callable[[Any], bool]:
    """Objects of lists of one length."""
    lists = {key: [schema] for key, schema in of.items()}
    return lambda value: fits(value, lists) and len({len(value[k]) for k in of}) == 1


_SCALAR = (None, bool, str, is_number)
_REQUIRED = {
    **dict.fromkeys(("dataset", "backbone", "loss", "defense", "attack"), str),
    **dict.fromkeys(("bits", "seed"), _whole),
    **dict.fromkeys(("map", "chance"), _fraction),
}
_FRACTIONS = ("map_all", "map_expected", "t_map", "ceiling", "bound", "bits_flipped")
_COUNTS = ("num_queries", "num_attacked", "num_database", "num_train", "map_at")
_TEXTS = ("split", "split_sha256", "data_sha256", "config_sha256", "commit", "device")
_OPTIONAL = {
    **dict.fromkeys((*_FRACTIONS, "map_with_others"), _fraction),
    **dict.fromkeys((*_COUNTS, "num_without_relevant"), _count),
    **dict.fromkeys((*_TEXTS, "version", "source"), str),
    **dict.fromkeys(("budget", "seconds", "tie_size"), _amount),
    **dict.fromkeys(("attack_settings", "versions"), _flat),
    "code_usage": dict.fromkeys(("unique", "entropy", "constant"), _fraction),
    "perturbation": {"linf": _amount, "rmse": _amount},
    "map_interval": _interval,
    "precision_at": _curve(n=_amount, precision=(None, _fraction)),
    "pr_curve": _curve(recall=_fraction, precision=(None, _fraction)),
    "components": [{"attack": str, "map": _fraction, "share": _fraction}],
    **dict.fromkeys(("others", "warnings", "without_budget"), [str]),
}
_FIRST = {
    **dict.fromkeys(("num_queries", "num_attacked"), _count),
    "map_interval": _interval,
    "components": [{"attack": str, "map": _fraction, "share": _fraction}],
    "same_queries": _fractions,
}
_CHECK = {
    "name": str,
    "passed": (None, bool),
    "value": (None, is_number),
    "threshold": is_number,
    "meaning": str,
}
_SANITY = {"defense": str, "num_queries": _count, "checks": [_CHECK]}
_SIZES = _curve(epsilon=_amount, map=_fraction, bits_flipped=_fraction)
_SANITY_OPTIONAL = {"seed": _whole, "twin": str, "curve": _SIZES}
_HIT = {"image": (None, str), "labels": (None, [str]), "distance": (None, is_number)}
_QUERY = {
    "id": str,
    "labels": [str],
    "magnified": (None, is_number),
    "codes": (None, _codes),
    **dict.fromkeys(("clean", "adversarial", "difference"), (None, str)),
    **dict.fromkeys(("before", "after"), [_HIT]),
    **{f"average_precision_{m}": (None, _fraction) for m in ("before", "after")},
}


def check_record(record: Any, name: object) -> None:
    """Checks a record of an attack.

    Raises:
        DamagedFileError: names the file and the key that cannot be.
    """
    _check(record, name, "record", _REQUIRED, _OPTIONAL)


def check_first(record: Any, name: object) -> None:
    """As ``check_record``, for a worst case on the first queries."""
    _check(record, name, "record", _REQUIRED | _FIRST, _OPTIONAL)


def check_sanity(entry: Any, name: object) -> None:
    """As ``check_record``, for the sanity checks of a network."""
    _check(entry, name, "sanity", _SANITY, _SANITY_OPTIONAL)


def check_config(config: Mapping[str, Any], name: object) -> None:
    """Checks that a configuration has sections of settings, and nothing else.

    Raises:
        DamagedFileError: names the file and the key that is something else.
    """
    for section in ("data", "model"):
        if not isinstance(config.get(section), dict):
            raise DamagedFileError(f"{name}: damaged, has no section {section!r}")
    for key, value in config.items():
        if not fits(value, _whole if key == "seed" else (*_SCALAR, _flat)):
            raise DamagedFileError(f"{name}: damaged, no setting: {key!r}")


def is_query(query: Any) -> bool:
    """Whether a gallery's query can be shown."""
    return fits(query, _QUERY)


def _check(content: Any, name: object, what: str, required, optional) -> None:
    if not isinstance(content, dict):
        raise DamagedFileError(f"{name}: expected a {what}, got {_short(content)}")
    for key, schema in (required | optional).items():
        value = content.get(key)
        if value is None and key in optional:
            continue
        if key not in content:
            raise DamagedFileError(f"{name}: {what} key {key!r} is missing")
        if not fits(value, schema):
            raise DamagedFileError(
                f"{name}: {what} key {key!r} is out of range or of a wrong type: "
                f"{_short(value)}; {ANEW}"
            )


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
