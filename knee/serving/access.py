"""Who may ask the server: by the host names it answers to, and by a bearer token (RFC 6750)."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from knee.run.errors import UserError

LOCAL_NAMES: Final = frozenset(("127.0.0.1", "localhost", "::1"))
TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{32,1024}=*")  # letters that RFC 6750 allows
TOKEN_FILE_BYTES: Final = 4096
MAKE_ONE: Final = (
    "make one with: (umask 077; python3 -c 'import secrets; print(secrets.token_urlsafe(32))' "
    "> FILE)"
)


class TokenError(UserError):
    """The file of --token-file cannot be used, or is missing where it is needed."""


@dataclass(frozen=True)
class Access:
    """The rules of one server.

    Attributes:
        names: host names, in small letters, that requests may be for.
        token_sha256: of the token that requests have to bring; None if they need none.
    """

    names: frozenset[str] = LOCAL_NAMES
    token_sha256: bytes | None = None

    def check(self, headers: Headers, *, is_open: bool) -> None:
        """Check whom a request is for, whose page sent it and, unless it is open, its token.

        Another page must not reach the server through its reader's browser, also not by a name of
        its own that leads to this machine (DNS rebinding).

        Raises:
            HTTPException: 421, 403 or 401.
        """
        hosts = [_host_name(f"//{host}") for host in headers.getlist("host")]
        if len(hosts) != 1 or hosts[0] not in self.names:
            raise HTTPException(421, f"host not allowed: use {self._shown_names()}")
        if not {_host_name(origin) for origin in headers.getlist("origin")} <= self.names:
            raise HTTPException(403, "pages of other servers may not ask this one")
        if not is_open and not self._has_token(headers):
            raise HTTPException(
                401,
                "give the server's token: Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )

    def _has_token(self, headers: Headers) -> bool:
        if self.token_sha256 is None:
            return True
        given = headers.getlist("authorization")
        kind, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        digest = hashlib.sha256(token.strip().encode()).digest()
        # Of digests, so that the time tells neither letters nor length of the token.
        return hmac.compare_digest(digest, self.token_sha256) and kind.lower() == "bearer"

    def _shown_names(self) -> str:
        more = sorted(self.names - LOCAL_NAMES)
        return " or ".join(more or ("localhost", "127.0.0.1"))


def read_token(file: Path) -> bytes:
    """Return the SHA-256 of the token in a file that no other user can read.

    The file is this user's own with mode 600 or less, or root's with mode 640 or less, as
    PostgreSQL has it for keys (https://www.postgresql.org/docs/current/libpq-ssl.html).

    Raises:
        TokenError: it is not, or holds no token of 32 letters or more.
    """
    try:
        with file.open("rb") as opened:
            facts = os.fstat(opened.fileno())
            content = opened.read(TOKEN_FILE_BYTES + 1)
    except OSError as error:
        raise TokenError(f"--token-file {file}: {error.strerror}: {MAKE_ONE}") from None
    readable = 0o037 if facts.st_uid == 0 != os.geteuid() else 0o077
    if facts.st_uid not in (os.geteuid(), 0):
        raise TokenError(f"--token-file {file} is another user's: it has to be yours, or root's")
    if not stat.S_ISREG(facts.st_mode) or facts.st_mode & readable:
        raise TokenError(f"--token-file {file} can be read by others: chmod 600 {file}")
    token = content.decode("ascii", "replace").strip()
    if not TOKEN.fullmatch(token):
        raise TokenError(
            f"--token-file {file}: expected one token of 32 or more letters, digits and ._~+/-: "
            f"{MAKE_ONE}"
        )
    return hashlib.sha256(token.encode()).digest()


def _host_name(address: str) -> str:
    """Return the host name in an address, without its port; "" if there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
