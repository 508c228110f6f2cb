"""With what a number was made: versions, device, commit."""

import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

import jax

from cgat_jax import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow")


def provenance() -> dict[str, Any]:
    """The device, the versions of what computes, and the checkout's commit if known."""
    device = jax.devices()[0]
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "device": f"{device.device_kind} x{jax.device_count()}",
        "versions": {"cgat_jax": __version__, **versions},
        "commit": _commit(),
    }


def _commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
