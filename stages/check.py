"""Check, before anything takes long, what DVC does not see: it runs at the start of every run.

That is every parameter, what a run reads (DVC, which hashes data.path itself, hangs at a named
pipe in it), and the key of patients' hashes, KNEE_PATIENT_KEY in the environment: ingest depends
on a check value of it, so that records which another key made are made anew.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from knee.classifier.net import design
from knee.intake import inputs, patients
from knee.run import command, parameters
from knee.storage.artifacts import write_json


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage writes; the parameters say what it reads, which DVC must not hash yet."""

    checked_out: Path = command.flag("JSON file: the check value of the patient key")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Check the paths of `settings`; what earlier stages make need not be there yet."""
    for name in settings.model.backbones:
        design.check_weights(settings.weights, name)
    data = settings.data
    if data.generators or data.downloads:
        inputs.check_made("data.path", Path(data.path), data.name)
    else:
        inputs.check("data.path", Path(data.path))
        inputs.check("data.sheet", Path(data.sheet))
        inputs.check("data.bone_masks", Path(data.bone_masks))
    inputs.check("split.keep", Path(settings.split.keep))
    check = patients.key_check(patients.key_from_environment())
    write_json(paths.checked_out, {"patient_key": check})


main = command.stage("check", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
