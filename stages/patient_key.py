"""Write a check value of KNEE_PATIENT_KEY: records that another key made are made anew.

DVC does not see the environment. So this stage runs every time, and ingest depends on its output.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from knee.intake import patients
from knee.run import command, parameters
from knee.storage import artifacts


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage writes."""

    check_out: Path = command.flag("text file of the check value, which does not tell the key")


def run(_: parameters.Params, paths: Paths) -> None:
    """Write the check value of the key in the environment."""
    check = patients.key_check(patients.key_from_environment())
    artifacts.write_text(paths.check_out, f"{check}\n")


main = command.stage("patient_key", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
