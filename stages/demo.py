r"""Show a page for one image on http://127.0.0.1:8501, to this machine alone.

python -m stages.demo [--model models:/NAME@champion|models:/NAME/VERSION|FOLDER] [--port 8501]

Drop a PNG, JPEG or DICOM file: prediction set, probabilities, Grad-CAM, and what speaks against the
answer. Without --model the champion of params.yaml's registered model is asked. The page is part of
stages.serve's server; this command has another port.
"""

from __future__ import annotations

import functools

from knee.serving import local

main = functools.partial(local.main, "demo", __doc__, 8501)

if __name__ == "__main__":
    raise SystemExit(main())
