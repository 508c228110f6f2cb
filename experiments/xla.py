"""The one XLA setting that this package makes, on CPU."""

import importlib.metadata
import importlib.util
import os
import pkgutil

import jax
import jaxlib

_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
_SETTING = f"{_FLAG}=-individual_convolution"
# An unknown flag ends the process, so only versions known to accept it get it.
_TESTED_JAXLIB = ("0.10.2",)


def prefer_fast_cpu_convolutions() -> bool:
    """Has XLA:CPU run convolutions on all cores; to be called before JAX starts.

    By default jaxlib sends float32 convolutions to YNNPACK, which often runs them on
    one core; with this setting Eigen gets them, and they take about half the time. It
    is added to ``XLA_FLAGS`` in this process's environment, which JAX reads when it
    first computes or lists its devices.

    Returns:
        Whether the setting was added. It is not where ``XLA_FLAGS`` mentions the flag,
        where jaxlib is no tested version, where JAX may run on an accelerator, or
        where JAX has started.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _FLAG in flags or jaxlib.__version__ not in _TESTED_JAXLIB:
        return False
    if _has_started() or not _runs_on_cpu():
        return False
    os.environ["XLA_FLAGS"] = f"{flags} {_SETTING}".strip()
    return True


def _has_started() -> bool:
    # No public function tells; the tested versions have this one.
    from jax._src import xla_bridge

    return xla_bridge.backends_are_initialized()


def _runs_on_cpu() -> bool:
    # The configuration holds JAX_PLATFORMS, or what a program set in its place.
    platforms = jax.config.jax_platforms
    if platforms:
        return platforms == "cpu"
    return not _has_plugins() and importlib.util.find_spec("libtpu") is None


def _has_plugins() -> bool:
    if importlib.metadata.entry_points(group="jax_plugins"):
        return True
    try:
        import jax_plugins
    except ImportError:
        return False
    return any(pkgutil.iter_modules(jax_plugins.__path__))
