"""The process of a server: its address, who may ask it, and its end."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from knee.prediction import request_images
from knee.run.errors import UserError
from knee.serving import access
from knee.serving.access import Access, TokenError
from knee.serving.connections import Connection, FewRefusals

LOCAL: Final = "127.0.0.1"
ALL: Final = ("0.0.0.0", "::")  # noqa: S104  # nosec B104  # every address of this machine
LAST_PORT: Final = (1 << 16) - 1
SWITCH_SECONDS: Final = 0.0005  # a thread waits so long for Python, not 5 ms, when the net is done

log = logging.getLogger(__name__)


class AddressError(UserError):
    """The address of --host and --port cannot be listened on."""


@dataclasses.dataclass(frozen=True)
class Listening:
    """What the command line says of a server's address and its clients."""

    port: int
    host: str = LOCAL
    allowed_hosts: tuple[str, ...] = ()
    token_file: Path | None = None

    @classmethod
    def chosen(cls, arguments: argparse.Namespace) -> Listening:
        """Return what the flags of `add_flags` were given."""
        hosts = tuple(arguments.allow_host)
        return cls(arguments.port, arguments.host, hosts, arguments.token_file)

    @property
    def page(self) -> str:
        """Address of the page for images, for a browser of this machine."""
        host = "localhost" if self.host in ALL else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def bound(self) -> socket.socket:
        """Return a socket that is bound to the address.

        Raises:
            AddressError: that is not possible.
        """
        if not 1 <= self.port <= LAST_PORT:
            raise AddressError(f"--port {self.port}: give a number of 1-{LAST_PORT}")
        try:
            (family, *_, address), *_ = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except (OSError, UnicodeError):
            raise AddressError(
                f"--host {self.host}: no address of this machine: give {LOCAL}, or 0.0.0.0 for all"
            ) from None
        # Said to be TCP, or asyncio would not send small answers at once (TCP_NODELAY).
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except OSError as error:
            made.close()
            flag = (
                f"--port {self.port}"
                if self.host == LOCAL
                else f"--host {self.host} --port {self.port}"
            )
            raise AddressError(f"{flag}: {error.strerror}: give another") from None
        return made

    def access(self, bound: socket.socket) -> Access:
        """Return the rules for clients of a bound socket.

        Raises:
            TokenError: the token's file cannot be used, or other machines reach the socket and
                there is none.
        """
        address = ipaddress.ip_address(bound.getsockname()[0].partition("%")[0])
        if not address.is_loopback:
            if self.token_file is None:
                raise TokenError(
                    f"--host {self.host} lets other machines ask: give --token-file FILE, or leave "
                    f"--host out; {access.MAKE_ONE}"
                )
            log.warning("other machines may ask, without encryption: put a proxy with TLS in front")
        named = () if address.is_unspecified else (self.host,)  # of all addresses no name is one
        names = {name.lower() for name in (*self.allowed_hosts, *named)}
        token = access.read_token(self.token_file) if self.token_file else None
        return Access(access.LOCAL_NAMES | names, token)


def add_flags(parser: argparse.ArgumentParser, port: int) -> None:
    """Add the flags of a server's address and its clients."""
    parser.add_argument("--port", type=int, default=port, help="to listen on")
    parser.add_argument(
        "--host",
        default=LOCAL,
        metavar="ADDRESS",
        help="of this machine to listen on; 0.0.0.0 is all. Any but 127.0.0.1 needs --token-file",
    )
    parser.add_argument(
        "--allow-host",
        type=_host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="host name that requests may be for, beside localhost and --host; may be repeated",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="with the token that requests have to bring (Authorization: Bearer TOKEN), mode 600",
    )


def _host_name(text: str) -> str:
    """A name of --allow-host; with a scheme or a port it would be that of no request."""
    if not text or set(text) & set("/[] ") or text.count(":") == 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give the name alone, without scheme and port")
    return text


@contextlib.contextmanager
def ended_by_signal() -> Iterator[None]:
    """Let SIGTERM end the block as an exception: whatever is temporary goes.

    uvicorn stops serving, then sends the signal again.
    """
    before: Any = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(served: ASGIApp, bound: socket.socket) -> None:
    """Serve an application on a bound socket; the log has addresses and statuses, never a body."""
    config = uvicorn.Config(
        served,
        http=Connection,
        backlog=request_images.CONNECTIONS,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=10,
    )
    few = FewRefusals()
    for name in ("uvicorn.error", "uvicorn.access"):  # uvicorn.Config has just set them up
        logging.getLogger(name).addFilter(few)
    sys.setswitchinterval(SWITCH_SECONDS)
    with contextlib.suppress(KeyboardInterrupt):  # sent again when all is closed
        uvicorn.Server(config).run(sockets=[bound])
