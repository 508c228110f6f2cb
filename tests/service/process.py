"""A service as a process of its own, and what one says to it over a socket."""

import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path

import httpx2

from cgat_jax.training.interrupts import PARENT
from tests.programs import PATIENCE, Program
from tests.service.toy import TOKEN, WITH_TOKEN

STARTING = PATIENCE  # seconds


class Process:
    """``experiments.serve``, ready."""

    def __init__(self, *arguments, token=TOKEN):
        env = {"CGAT_JAX_TOKEN": token, PARENT: str(os.getpid())}
        self.process = Program("experiments.serve", "--port=0", *arguments, env=env)
        deadline = time.monotonic() + STARTING
        while not (found := re.search(r"^ready: (http://\S+:(\d+))/", self.said, re.M)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError("\n".join(self.process.written()))
            time.sleep(0.02)
        self.url, self.port = found[1], int(found[2])
        headers = WITH_TOKEN if token else {}
        self.client = httpx2.Client(base_url=self.url, headers=headers, timeout=60)

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.process.written()[0]

    @property
    def errors(self) -> str:
        """What it has printed to stderr."""
        return self.process.written()[1]

    def kill(self):
        """Ends it."""
        self.process.kill()
        self.process.wait(30)

    def end(self, number=signal.SIGTERM) -> int:
        """Sends a signal; the exit code."""
        self.client.close()
        self.process.send_signal(number)
        return self.process.wait(30)

    def memory(self) -> int:
        """Bytes that it holds."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def say(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """Sends bytes, part by part, and reads until the service closes."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65_536):
                    answer += part
        return answer


@contextlib.contextmanager
def serving(*arguments, **options):
    process = Process(*arguments, **options)
    try:
        yield process
    finally:
        process.kill()
        process.client.close()
