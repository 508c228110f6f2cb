"""What a service counts, in the form that Prometheus reads."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from cgat_jax.search.items import BATCHES

_METHODS = ("GET", "HEAD", "POST", "DELETE")


class Metrics:
    """Counters of one service."""

    def __init__(self):
        """All at 0."""
        self.registry = CollectorRegistry()
        own = {"registry": self.registry}
        self._requests = Counter(
            "cgat_jax_requests", "Answers", ["method", "route", "status"], **own
        )
        self._seconds = Histogram(
            "cgat_jax_request_seconds", "From request to answer", ["route"], **own
        )
        self.running = Gauge("cgat_jax_running", "Requests that run", **own)
        self.attacks = Gauge("cgat_jax_attacks", "Attacks that run or wait", **own)
        self.images = Gauge("cgat_jax_images", "Images", ["index"], **own)
        self.batches = Histogram(
            "cgat_jax_batch_images",
            "Images that were encoded together",
            ["index"],
            buckets=BATCHES,
            **own,
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts an answer; methods that nobody has are one, so that few are kept."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """What ``/metrics`` answers."""
        return generate_latest(self.registry)
