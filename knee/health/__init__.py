"""The doctor's checks: DVC's storage, the store of runs, space, weights, the machine."""
