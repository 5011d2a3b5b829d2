"""The limits of one request; every limit of serving stands here."""

from __future__ import annotations

from typing import Final

BODY_BYTES: Final = 32 << 20  # base64 of a 24 MB file: a 12-bit image of 12 megapixels
FILE_BYTES: Final = 24 << 20  # of one uploaded file
MEGAPIXELS: Final = 64.0  # of one image, as in stages.predict
IMAGES: Final = 16  # in one request
BODY_SECONDS: Final = 30.0  # until the whole body has to be here
DRAIN_SECONDS: Final = 5.0  # in which the rest of a body that is too large may pass
ANSWER_SECONDS: Final = 120.0  # until the answer has to be there
CONNECTIONS: Final = 32  # at once, and with them the bodies in memory; further ones get 503
EXPLAIN_SECONDS: Final = 60.0  # for one Grad-CAM map
