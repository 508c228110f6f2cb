"""The tensors of what ``torch.save`` was given: a state, a checkpoint or a module."""

from typing import Any

from cgat_jax.files.pickles import Refused
from cgat_jax.models.torch_import.pickle import Inert, Tensor

NESTED = ("state_dict", "model_state_dict", "model", "net")
"""Entries of a checkpoint that are taken before others with tensors."""
_MOST_ENTRIES, _LONGEST_NAME = 50_000, 1_000
"""Of the parts of a module, each counted as often as it is reached; ResNet-50 has some
thousand entries."""


def tensors_of(loaded: Any) -> dict[str, Tensor]:
    """The tensors by their names in the ``state_dict`` of what was saved.

    That is a ``state_dict``; a whole module; or a dictionary one entry of which is
    either, beside others such as ``epoch``, tensors among them. With several, the first
    of ``NESTED``.

    Raises:
        Refused: it is something else; says what, by name.
    """
    if isinstance(loaded, Inert) and loaded.state:
        return _module_tensors(loaded)
    if isinstance(loaded, dict) and (nested := _nested(loaded)) is not None:
        return tensors_of(nested)
    if not isinstance(loaded, dict):
        raise Refused(f"expected a dictionary of tensors, got {_kind(loaded)}")
    for key, value in loaded.items():
        if not isinstance(key, str):
            raise Refused("a dictionary of it has a key that is no text")
        if isinstance(value, Inert):
            raise Refused(f"it names {value.named}; weights are tensors alone")
        if not isinstance(value, Tensor):
            raise Refused(f"entry {key!r} is no tensor{_made_with(value)}")
    return loaded


def _nested(loaded: dict) -> Any:
    """The network of a checkpoint, None where it is no checkpoint.

    Raises:
        Refused: several entries may be the network.
    """
    distinct = {id(value): value for value in loaded.values()}
    networks = {place for place, value in distinct.items() if _is_network(value)}
    found = [key for key, value in loaded.items() if id(value) in networks]
    known = [key for key in NESTED if key in found]
    loose = [key for key, value in loaded.items() if isinstance(value, Tensor)]
    if not known and any("." in str(key) for key in loose):
        return None  # a part's tensors, so that it is the network itself
    if len(found) > 1 and not known:
        raise Refused(f"any of its entries {found} may be the network")
    chosen = (known or found)[:1]
    return loaded[chosen[0]] if chosen else None


def _is_network(value: Any) -> bool:
    if isinstance(value, Inert):
        return bool(value.state)
    whole = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    return whole and any(isinstance(item, Tensor) for item in value.values())


def _module_tensors(root: Inert) -> dict[str, Tensor]:
    """What ``module.state_dict()`` would give, in its order.

    Parameters first, then buffers but those that are not to be kept, then parts.
    """
    tensors: dict[str, Tensor] = {}
    pending: list[tuple[str, Any]] = [("", root)]
    left = _MOST_ENTRIES
    while pending:
        prefix, part = pending.pop()
        where = f"its part {prefix[:-1]!r}" if prefix else "it"
        if not isinstance(part, Inert) or not part.state:
            raise Refused(f"{where} is no module but {_kind(part)}")
        where = f"{where} ({part.named})"
        parameters, buffers, parts, hidden = _contents(part, where)
        left -= 1 + len(parameters) + len(buffers) + len(parts) + len(hidden)
        if left < 0 or len(prefix) > _LONGEST_NAME:
            raise Refused("its modules hold each other, or are too many")
        names = set(hidden)
        kept = {key: value for key, value in buffers.items() if key not in names}
        for key, value in (parameters | kept).items():
            if value is not None:
                if not isinstance(value, Tensor):
                    raise Refused(f"{where} has {key!r}, no tensor but {_kind(value)}")
                tensors[prefix + key] = value
        there = [(key, value) for key, value in parts.items() if value is not None]
        pending += [(f"{prefix}{key}.", value) for key, value in there[::-1]]
    return tensors


def _contents(part: Inert, where: str) -> tuple[dict, dict, dict, tuple]:
    """Parameters, buffers and parts, and the names of the buffers not to be kept.

    Raises:
        Refused: they are not as a module has them; or its ``state_dict`` is made by
            more than them.
    """
    if any(part.state.get(f"_state_dict_{kind}") for kind in ("hooks", "pre_hooks")):
        raise Refused(f"{where} changes its state_dict by hooks")
    dictionaries = [
        part.state.get(key) for key in ("_parameters", "_buffers", "_modules")
    ]
    hidden = part.state.get("_non_persistent_buffers_set", ())
    if not all(isinstance(entries, dict) for entries in dictionaries):
        raise Refused(f"{where} has no parameters, buffers and parts of a module")
    if not isinstance(hidden, tuple):
        raise Refused(f"{where} hides buffers by something else than their names")
    for names in (*dictionaries, hidden):
        if len(names) > _MOST_ENTRIES or not all(map(_is_name, names)):
            raise Refused(f"{where} has names that are no short texts, or too many")
    return *dictionaries, hidden


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and len(key) <= _LONGEST_NAME


def _kind(value: Any) -> str:
    if isinstance(value, Inert):
        return value.named
    if isinstance(value, type) and issubclass(value, Inert):
        return f"the name {value.named}"
    return type(value).__name__


def _made_with(value: Any) -> str:
    is_name = isinstance(value, type) and issubclass(value, Inert)
    return f": it names {value.named}" if is_name else ""
