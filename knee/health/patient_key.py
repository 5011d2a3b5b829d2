"""Check of the key that the records' patients are hashed with."""

from __future__ import annotations

from collections.abc import Sequence

from knee.health.project import Output
from knee.health.result import Result
from knee.intake import patients


def check_patient_key(outputs: Sequence[Output]) -> Result:
    """Check that the records are of the key that is set now."""
    written = [one.path for one in outputs if one.stage == "check" and one.path.is_file()]
    key = patients.key_from_environment()
    for file in written:
        try:
            patients.check_key(file, key)
        except patients.KeyCheckError:
            found = f"the records are of another {patients.KEY_VARIABLE} than the one that is set"
            remedy = "set the records' key, or run `dvc repro`, which makes records of this one"
            return Result("fault", found, remedy)
    kind = "your own" if key != patients.PUBLIC_KEY.encode() else "the public one"
    return Result("ok", f"the key of patients' hashes is {kind}")
