r"""Serves indexes: search, add and remove by HTTP, and a page to look at attacks.

    python -m experiments.serve --index=index
    python -m experiments.serve --index=index_none --index=index_cgat --port=8080
    python -m experiments.serve --index=index --host=0.0.0.0 --token=a-long-secret
    python -m experiments.serve --index=index --token=a-long-secret --proxy=127.0.0.1 \
        --name=search.example.org

Without --token only this machine can reach it, everybody on it may search, and a token
for adding and removing is drawn and printed. With one (or with CGAT_JAX_TOKEN in the
environment, which other users of the machine cannot see) everything needs it. Two
indexes are shown side by side. Behind a proxy, whose address --proxy is, a client is
the last entry of its X-Forwarded-For, and --name, the host that its clients ask for, is
answered beside the service's own names. The folders are this process's own while it
runs. docs/image_search.md has the addresses and the limits.

Exit codes: 0 done, 2 refused (a line on what and where); 130, 143 and 129: stopped by
Ctrl-C, SIGTERM or SIGHUP, with what ran finished. Others: docs/runs.md.
"""

import os
import re
import secrets
import sys
import threading
import webbrowser
from pathlib import Path

from absl import flags, logging

from cgat_jax.errors import InputError
from experiments import cli
from experiments.xla import prefer_fast_cpu_convolutions


def define_flags(values: flags.FlagValues) -> None:
    """Declares the flags of this program."""
    define = flags.DEFINE_string
    flags.DEFINE_multi_string(
        "index", None, "folder of experiments.index; several side by side",
        flag_values=values,
    )  # fmt: skip
    define("host", "127.0.0.1", "address to listen at", flag_values=values)
    define("token", None, "that requests must have", flag_values=values)
    define(
        "proxy", "", "address of the proxy in front, whose X-Forwarded-For is believed",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_multi_string(
        "name", [], "host that clients of a proxy ask for; several are possible",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "port", 8000, "0: any that is free", 0, 65535, flag_values=values
    )
    flags.DEFINE_float(
        "rate", 20.0, "requests a second of a client; 0: any number, and all places", 0,
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_float(
        "seconds", 10.0, "for a request to arrive, and for what is sent to be taken",
        0.1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "megabytes", 10, "of a photo at most", 1, 50, flag_values=values
    )
    flags.DEFINE_bool("open", False, "show the page in a browser", flag_values=values)
    flags.DEFINE_bool("attacks", True, "the page attacks queries", flag_values=values)


def main(values: flags.FlagValues) -> int:
    """Opens everything, compiles, and answers until a signal comes."""
    from cgat_jax.service import check_installed

    logging.set_verbosity(logging.WARNING)
    if not values.index:
        return cli.refuse("serve", "--index is missing: expected a folder")
    check_installed()
    prefer_fast_cpu_convolutions()
    from cgat_jax.service.collection import opened
    from cgat_jax.service.limits import Access, Limits, check_proxy, check_public
    from cgat_jax.service.metrics import Metrics
    from cgat_jax.service.server import addresses_of, bound, serve, token_of

    given = token_of(values.token)
    public = check_public(values.host, addresses_of(values.host), given)
    access = Access(
        token=given or secrets.token_urlsafe(24),
        everything=bool(given),
        hosts=names_of(values, public),
        proxy=check_proxy(values.proxy),
    )
    limits = Limits(
        rate=values.rate,
        burst=max(3 * values.rate, 10.0),
        seconds=values.seconds,
        upload_bytes=values.megabytes * 10**6,
    )
    metrics, folders = Metrics(), [Path(text) for text in values.index]
    with bound(values.host, values.port) as listening:
        port = listening.getsockname()[1]

        def ready() -> None:
            say(values, port, indexes, "" if given else access.token)

        with cli.stop().deferred(), opened(folders, limits, metrics) as indexes:
            app = make(values, indexes, access, limits, metrics)
            stop = cli.stop()
            options = {"ready": ready, "proxy": access.proxy}
            serve(app, listening, limits, asked=lambda: stop.asked, **options)
    return 0


def names_of(values: flags.FlagValues, public: bool) -> frozenset[str]:
    """The hosts that requests may ask for; none: any.

    Raises:
        InputError: a name is none, or not needed.
    """
    from cgat_jax.service.limits import LOOPBACK_HOSTS

    for name in values.name:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9]", name):
            raise InputError(f"--name={name}: expected a host, as search.example.org")
    if public and values.name:
        raise InputError(
            "--name: what other machines reach answers to any: leave it out"
        )
    if public:
        return frozenset()
    host = f"[{values.host}]" if ":" in values.host else values.host
    return LOOPBACK_HOSTS | {name.lower() for name in (host, *values.name)}


def make(values: flags.FlagValues, indexes, access, limits, metrics):
    """The application, with all programs compiled."""
    from cgat_jax.service.app import make_app
    from cgat_jax.service.attacking import Attacks

    served = list(indexes.served.values())
    attacks = Attacks(served) if values.attacks else None
    return make_app(indexes, access, limits, metrics, attacks)


def say(values: flags.FlagValues, port: int, indexes, token: str) -> None:
    """Prints what answers, and where; shows it, if that is wanted and can be."""
    for served in indexes.served.values():
        print(f"{served.name}: {len(served.index):,} images, {served.network}")
    if token:
        print(f"token for adding and removing: {token}")
    name = f"[{values.host}]" if ":" in values.host else values.host
    print(f"ready: http://{name}:{port}/", flush=True)
    seen = sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}
    if values.open and seen:
        address = f"http://{name}:{port}/"
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    cli.run("serve", lambda: main(flags.FLAGS))
