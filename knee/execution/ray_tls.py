"""The first handshake with the head of a Ray cluster, by TLS or without, as the settings say.

Ray itself tries for minutes where one side speaks TLS and the other does not, or where one does
not know the other's authority, and then does not say why.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Final

from knee.execution.place import ExecutionError

HANDSHAKE_SECONDS: Final = 5.0
AUTHORITY, CERTIFICATE, KEY = "RAY_TLS_CA_CERT", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY"


def is_used(environment: Mapping[str, str]) -> bool:
    """Return whether Ray encrypts."""
    return environment.get("RAY_USE_TLS") == "1"


def check_handshake(address: tuple[str, int], environment: Mapping[str, str]) -> None:
    """Meet the head once, as Ray would.

    Raises:
        ExecutionError: a variable or its file is missing, one side alone speaks TLS, or one refuses
            the other's certificate.
    """
    at = f"the cluster at {address[0]}:{address[1]} refuses"
    if not is_used(environment):
        if _speaks_tls(address):
            raise ExecutionError(
                f"{at}: it speaks TLS alone: set RAY_USE_TLS=1, {AUTHORITY}, {CERTIFICATE} and "
                f"{KEY} (docs/clusters.md)"
            )
        return
    context = _context(environment)
    try:
        with _met(address, context) as connection:
            connection.recv(1)  # a refusal of our certificate comes after the handshake
    except TimeoutError:
        return  # it waits for what we say: no refusal
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or error
        raise ExecutionError(
            f"{at}: no connection by TLS ({why}): the head needs RAY_USE_TLS=1 too, both "
            f"certificates the authority of {AUTHORITY}, and the head's the name of its address"
        ) from error
    except OSError as error:
        raise ExecutionError(f"{at}: the connection by TLS ends ({error})") from error


def _context(environment: Mapping[str, str]) -> ssl.SSLContext:
    """The authority to believe, and our own certificate."""
    missing = [name for name in (AUTHORITY, CERTIFICATE, KEY) if not environment.get(name)]
    if missing:
        raise ExecutionError(f"RAY_USE_TLS=1 needs {', '.join(missing)} (docs/clusters.md)")
    try:
        context = ssl.create_default_context(cafile=environment[AUTHORITY])
        files = environment[CERTIFICATE], environment[KEY]
        context.load_cert_chain(*files, password=lambda: "")  # it is not asked for
    except OSError as error:  # ssl.SSLError is one
        raise ExecutionError(
            f"{AUTHORITY}, {CERTIFICATE}, {KEY}: a file is missing or no PEM file, or the key is "
            f"not the certificate's ({error})"
        ) from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # which Ray's gRPC does not ask for
    context.set_alpn_protocols(["h2"])
    return context


def _speaks_tls(address: tuple[str, int]) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent
    with contextlib.suppress(OSError), _met(address, context):
        return True
    return False


@contextlib.contextmanager
def _met(address: tuple[str, int], context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(address, HANDSHAKE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=address[0]) as encrypted,
    ):
        yield encrypted
