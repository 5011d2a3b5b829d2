"""What the doctor checks: machine, versions, cache, store of runs."""
