"""All sections of params.yaml together."""

from __future__ import annotations

import dataclasses

from stages.parameters.data import Audit, Data, Ingest, Oversample, Sample, Split, Validate
from stages.parameters.evidence import Caution, Compare, CrossValidate, Evaluate, Explain, Register
from stages.parameters.training import Embed, Head, Model, Train


@dataclasses.dataclass(frozen=True)
class Params:
    """The whole of params.yaml."""

    weights: str  # none | imagenet | a folder with <backbone>.h5
    data: Data
    sample: Sample
    ingest: Ingest
    validate: Validate
    split: Split
    audit: Audit
    oversample: Oversample
    embed: Embed
    model: Model
    head: Head
    train: Train
    cross_validate: CrossValidate
    caution: Caution
    evaluate: Evaluate
    explain: Explain
    compare: Compare
    register: Register
