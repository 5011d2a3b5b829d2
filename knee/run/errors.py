"""The root of all errors that a command answers with one line instead of a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Something that the user can mend: the message names the file or key and what to do."""
