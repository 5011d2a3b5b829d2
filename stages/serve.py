r"""Serve a trained model on http://127.0.0.1:5001, to this machine alone.

python -m stages.serve [--model models:/NAME@champion|models:/NAME/VERSION|FOLDER] [--port 5001]

Without --model the champion of params.yaml's registered model is served: POST /invocations, GET
/ping, /health and /version, and a page for one image. docs/serving.md has examples.
"""

from __future__ import annotations

import functools

from knee.serving import local

main = functools.partial(local.main, "serve", __doc__, 5001)

if __name__ == "__main__":
    raise SystemExit(main())
