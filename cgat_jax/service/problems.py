"""What a client is told of an error: one line, without the server's files and peers."""

import logging

from cgat_jax.errors import (
    DamagedFileError,
    EngineError,
    InputError,
    NonFiniteError,
)
from cgat_jax.service.limits import Refused

LOG = logging.getLogger("uvicorn.error")
TOLD = (Refused, InputError, OSError, NonFiniteError)
"""Errors that say something to the client."""


def problem_of(error: Exception, request: str) -> Refused:
    """The status and the line of an error; the log has what these leave out.

    Args:
        error: one of ``TOLD``, or a mistake of the service.
        request: its method and path, for the log.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, EngineError):
        LOG.error("%s: %s", request, error)
        return Refused(503, "the search engine does not answer; see the server's log")
    if isinstance(error, OSError | DamagedFileError):
        LOG.error("%s: %s", request, error)
        text = "the index cannot be read or written; see the server's log"
        return Refused(503, text)
    if isinstance(error, InputError):
        return Refused(422, str(error))
    if isinstance(error, NonFiniteError):
        return Refused(422, "image: the network's numbers of it are not finite")
    LOG.error("%s: %s", request, error, exc_info=error)
    return Refused(500, "a mistake of the service; see its log")
