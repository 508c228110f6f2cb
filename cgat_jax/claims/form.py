"""The form of a claim: read, validated, and turned back into settings."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgat_jax.config import Config, Data, Evaluate
from cgat_jax.config.settings import from_json, validate
from cgat_jax.errors import DamagedFileError, InputError, install
from cgat_jax.files import io
from cgat_jax.files.io import SEAL, read_json, unsealed
from cgat_jax.files.ownership import holds_marks
from cgat_jax.zoo import CLAIM_FILE

if TYPE_CHECKING:
    from jsonschema import ValidationError

Claim = dict[str, Any]
FORM = "cgat_jax claim 1"
ATTACKS = ("clean", "noise", "cgat", "worst_case")
"""What every claim has the average precision of each query under."""
MEASURED_WITH = ("epsilon", "top_k", "batch_size")
"""Settings of an evaluation that are free; all others are the usual ones."""
PLACES = ("root", "source", "splits")
"""Settings of data that say where they lie, which is everybody's own."""
MACHINE = ("cache_gib", "threads")
"""Settings of data that change no result."""
DOUBTED_QUERIES = 64
"""As many has a claim's sanity checks, or all where there are fewer."""
BLIND = {"unbounded": 1.0, "black box": 0.02, "zero gradients": 1.0, "noise": 0.0}
"""Values of sanity checks above which no reason counts: attacks by gradients did not
see the network, as one whose layers are scaled until its gradients vanish, so that its
worst case says nothing.
"""
_SCHEMA = Path(__file__).with_name("schema.json")
_LARGEST = 10**8  # bytes: four numbers of each of a million queries
_MOST = 160  # letters of a fault


def faults(content: Any) -> list[str]:
    """What a claim's form lacks, a line each: where, and what was expected.

    Raises:
        InputError: the package ``jsonschema`` is not there.
    """
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import best_match
    except ImportError as error:
        needed = f"claims need jsonschema: {install('claims')}"
        raise InputError(needed) from error
    validator = Draft202012Validator(json.loads(_SCHEMA.read_text()))
    found = [best_match([e]) for e in validator.iter_errors(content)]
    found.sort(key=lambda e: e.json_path)
    return [f"{e.json_path}: {_said(e)}" for e in found]


def checked(content: Claim, name: object) -> Claim:
    """A claim whose form is right.

    Raises:
        InputError: a line for each fault.
    """
    if wrong := faults(content) or _inconsistent(content):
        raise InputError("\n".join(f"{name}: {fault}" for fault in wrong))
    return content


def _inconsistent(content: Claim) -> list[str]:
    """What a schema cannot say: sizes that must agree, and settings that are known."""
    measured, count = content["measured"], content["data"]["num_queries"]
    wrong = [
        f"$.measured.attacks.{key}.per_query: {len(x['per_query'])} numbers, "
        f"expected one for each of {count} queries"
        for key, x in measured["attacks"].items()
        if len(x["per_query"]) != count
    ]
    least, doubted = min(DOUBTED_QUERIES, count), measured["sanity"]["num_queries"]
    if doubted < least:
        wrong.append(
            f"$.measured.sanity.num_queries: {doubted}, expected {least} or more"
        )
    settings, network = content["data"]["settings"], content["network"]
    trained = content["recipe"].get("data")
    trained = trained if isinstance(trained, dict) else {}
    known = {key: ("it was trained with", value) for key, value in trained.items()}
    for key in ("crop_size", "image_size"):
        known[key] = "the network's is", network[key]
    wrong += [
        f"$.data.settings.{key}: {value!r}, {' '.join(map(str, known[key]))}"
        for key, value in settings.items()
        if key in known and known[key][1] != value
    ]
    try:
        from_json(json.dumps(content["recipe"]), "$.recipe")
    except InputError as error:
        wrong.append(str(error))
    return wrong


def read_claim(folder: Path) -> Claim:
    """The claim in a folder.

    Raises:
        InputError: there is none; or it is damaged, or not of this form: a line for
            each fault.
    """
    path = folder / CLAIM_FILE
    try:
        if (size := path.stat().st_size) > _LARGEST:
            raise InputError(f"{path}: {size:,} bytes, at most {_LARGEST:,}")
        content = read_json(path)
        if SEAL not in content:
            raise DamagedFileError(f"{path}: its digest, {SEAL!r}, is missing")
        return checked(unsealed(content, path), path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{folder}: no {CLAIM_FILE}: expected a claim") from error


def is_claim(folder: Path) -> bool:
    """Whether a folder holds a claim of ours, which may be replaced."""
    return holds_marks(folder, {CLAIM_FILE: ' "form": "cgat_jax claim'})


def data_settings(settings: Data) -> dict[str, Any]:
    """What a claim keeps of them: all but where they lie, and what a machine does."""
    found = dataclasses.asdict(settings)
    return {key: found[key] for key in found if key not in (*PLACES, *MACHINE)}


def config_of(claim: Claim) -> Config:
    """The configuration of a run that measures a claim's network, and trains nothing.

    Where the data lie it does not say: no form of a claim may name a place.

    Raises:
        InputError: it has settings that are none.
    """
    network, measured = claim["network"], claim["measured"]
    evaluate = {key: measured[key] for key in MEASURED_WITH}
    content = {
        "data": claim["data"]["settings"],
        "model": {"name": network["backbone"], "bits": network["bits"]},
        "evaluate": evaluate | {"attacks": ",".join(ATTACKS[1:]), "gallery": 0},
        "seed": measured["seed"],
    }
    config = from_json(json.dumps(content), "claim")
    validate(config)
    return config


def check_protocol(settings: Evaluate, name: object) -> None:
    """Finds that numbers measured with these settings are the protocol's.

    Raises:
        InputError: names what makes them others.
    """
    usual = Evaluate()
    fixed = ("preset", "steps", "step_size", "surrogate", "restarts", "num_queries")
    wrong = [
        f"evaluate.{key}={getattr(settings, key)!r}"
        for key in (*fixed, "round_images", "without_relevant")
        if getattr(settings, key) != getattr(usual, key)
    ]
    if wrong:
        raise InputError(
            f"{name}: a claim's numbers are measured with the usual settings, not with "
            f"{', '.join(wrong)}"
        )


def blind(values: Mapping[str, float | None]) -> list[str]:
    """The sanity checks by which attacks by gradients did not see a network."""
    return [
        f"sanity, {name}: {value:.4g} is above {BLIND[name]:g}, which no reason excuses"
        for name, value in values.items()
        if name in BLIND and value is not None and value > BLIND[name]
    ]


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        DamagedFileError: there is none.
    """
    try:
        return io.file_digest(path)
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path}: missing") from error


def _said(error: "ValidationError") -> str:
    """A fault's message; of a long one both ends, as what is wrong stands last."""
    if error.validator == "maxLength":
        return f"{len(error.instance)} letters, at most {error.validator_value}"
    text = " ".join(error.message.split())
    half = _MOST // 2
    return text if len(text) <= _MOST else f"{text[:half]} ... {text[-half:]}"
