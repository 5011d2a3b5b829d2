r"""Show a page for images on http://127.0.0.1:8501, to this machine only.

Drop PNG, JPEG or DICOM files: prediction set, probabilities, Grad-CAM, and what speaks against the
answer. The page is part of stages.serve's server; this command has another port. A model of
synthetic images answers about those images only.
"""

from __future__ import annotations

import functools

from knee.serving import local

main = functools.partial(local.main, "demo", __doc__, 8501)

if __name__ == "__main__":
    raise SystemExit(main())
