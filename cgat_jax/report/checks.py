"""What a record may hold: types and ranges, so that no edited number gets on a page."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from cgat_jax.errors import DamagedFileError

Check = Callable[[Any], bool]
_SLACK = 1e-9  # of means, rounded
ANEW = "run the same command again to measure anew"


def is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether a value is a finite number in a range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value) and low <= value <= high
    except OverflowError:  # an integer beyond all floats
        return False


def is_fraction(value: Any) -> bool:
    """Whether a value is a number from 0 to 1."""
    return is_number(value, -_SLACK, 1 + _SLACK)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and is_number(value)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 0


def _is_amount(value: Any) -> bool:
    return is_number(value, low=0.0)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _object(**checks: Check) -> Check:
    """Objects with these keys at least."""
    return lambda value: (
        isinstance(value, dict)
        and all(check(value.get(key)) for key, check in checks.items())
    )


def _curve(**checks: Check) -> Check:
    """Objects of lists of one length."""
    has_lists = _object(**{key: _list_of(check) for key, check in checks.items()})
    return lambda value: (
        has_lists(value) and len({len(value[key]) for key in checks}) == 1
    )


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | str) or is_number(value)


def _is_flat(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_scalar, value.values()))


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_fraction, value))


_REQUIRED: dict[str, Check] = {
    **dict.fromkeys(("dataset", "backbone"), _is_text),
    "bits": _is_whole,
    **dict.fromkeys(("loss", "defense", "attack"), _is_text),
    "seed": _is_whole,
    **dict.fromkeys(("map", "chance"), is_fraction),
}
_FRACTIONS = ("map_all", "map_expected", "t_map", "ceiling", "bound", "bits_flipped")
_COUNTS = ("num_queries", "num_attacked", "num_database", "num_train", "map_at")
_TEXTS = ("split", "split_sha256", "data_sha256", "config_sha256", "commit", "device")
_PART = _object(attack=_is_text, map=is_fraction, share=is_fraction)
_OPTIONAL: dict[str, Check] = {
    **dict.fromkeys((*_FRACTIONS, "map_with_others"), is_fraction),
    **dict.fromkeys((*_COUNTS, "num_without_relevant"), _is_count),
    **dict.fromkeys((*_TEXTS, "version", "source"), _is_text),
    **dict.fromkeys(("budget", "seconds"), _is_amount),
    **dict.fromkeys(("attack_settings", "versions"), _is_flat),
    "perturbation": _object(linf=_is_amount, rmse=_is_amount),
    "map_interval": _is_interval,
    "precision_at": _curve(n=_is_amount, precision=_or_none(is_fraction)),
    "pr_curve": _curve(recall=is_fraction, precision=_or_none(is_fraction)),
    "components": _list_of(_PART),
    **dict.fromkeys(("others", "warnings"), _list_of(_is_text)),
}
_CHECKED = _object(
    name=_is_text,
    passed=_or_none(lambda value: isinstance(value, bool)),
    value=_or_none(is_number),
    threshold=is_number,
    meaning=_is_text,
)
_SANITY = {"defense": _is_text, "num_queries": _is_count, "checks": _list_of(_CHECKED)}
_SIZES = _curve(epsilon=_is_amount, map=is_fraction, bits_flipped=is_fraction)
_SANITY_OPTIONAL = {"seed": _is_whole, "twin": _is_text, "curve": _SIZES}
_HIT = _object(image=_or_none(_is_text), labels=_or_none(_list_of(_is_text)))
_QUERY = _object(
    id=_is_text,
    labels=_list_of(_is_text),
    magnified=_or_none(is_number),
    **dict.fromkeys(("clean", "adversarial", "difference"), _or_none(_is_text)),
    **dict.fromkeys(("before", "after"), _list_of(_HIT)),
    **{f"average_precision_{m}": _or_none(is_fraction) for m in ("before", "after")},
)


def check_record(record: Any, name: object) -> None:
    """Checks a record of an attack.

    Raises:
        DamagedFileError: names the file and the key that cannot be.
    """
    _check(record, name, "record", _REQUIRED, _OPTIONAL)


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
        sound = _is_scalar(value) or _is_flat(value)
        if not sound or (key == "seed" and not _is_whole(value)):
            raise DamagedFileError(f"{name}: damaged, no setting: {key!r}")


def is_query(query: Any) -> bool:
    """Whether a gallery's query can be shown."""
    if not _QUERY(query):
        return False
    hits = [*query["before"], *query["after"]]
    return all(_or_none(is_number)(hit.get("distance")) for hit in hits) and _are_codes(
        query.get("codes") or {}
    )


def _are_codes(codes: Any) -> bool:
    """Whether these are codes of one length, the clean query's among them."""
    if not isinstance(codes, dict) or not all(map(_is_text, codes.values())):
        return False
    signs = {sign for code in codes.values() for sign in code}
    lengths = {len(code) for code in codes.values()}
    return not codes or ("clean" in codes and signs <= set("+-0") and len(lengths) == 1)


def _check(content: Any, name: object, what: str, required, optional) -> None:
    if not isinstance(content, dict):
        raise DamagedFileError(f"{name}: expected a {what}, got {_short(content)}")
    for key, check in (required | optional).items():
        value = content.get(key)
        if value is None and key in optional:
            continue
        if key not in content:
            raise DamagedFileError(f"{name}: {what} key {key!r} is missing")
        if not check(value):
            raise DamagedFileError(
                f"{name}: {what} key {key!r} is out of range or of a wrong type: "
                f"{_short(value)}; {ANEW}"
            )


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
