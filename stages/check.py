"""Check all parameters, and what a run reads, before anything takes long.

Without this a wrong parameter is found by the stage that uses it, and DVC, which hashes data.path
itself, hangs at a named pipe in it. DVC runs this when any parameter changes, `make repro` each
time.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from knee.classifier.net import design
from knee.intake import inputs
from knee.run import command, parameters
from knee.storage.artifacts import write_json


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage writes; the parameters say what it reads, which DVC must not hash yet."""

    checked_out: Path = command.flag("JSON file, the same after every check that found no fault")


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
    write_json(paths.checked_out, {"checked": True})


main = command.stage("check", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
