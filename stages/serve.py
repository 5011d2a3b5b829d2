r"""Serve a trained model on http://127.0.0.1:5001, only to this machine unless --host says more.

POST /invocations, GET /ping, /health, /version and /metrics, and a page for images. docs/serving.md
has examples. A model of synthetic images answers about those images only.
"""

from __future__ import annotations

import functools

from knee.serving import local

main = functools.partial(local.main, "serve", __doc__, 5001)

if __name__ == "__main__":
    raise SystemExit(main())
