"""An ASGI application on this machine's own address, until the process is told to end."""

from __future__ import annotations

import signal
import sys
from typing import Any, Final

from stages.serving import limits

ADDRESS: Final = "127.0.0.1"


def run(application: Any, port: int) -> None:
    """Serve `application` on `ADDRESS`; its log has addresses and statuses, never a body.

    After SIGINT it returns, after SIGTERM it ends by SystemExit: callers clean up either way.
    """
    import uvicorn

    # uvicorn stops serving, then sends itself the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        application,
        host=ADDRESS,
        port=port,
        workers=1,
        limit_concurrency=limits.CONNECTIONS,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=10,
    )
