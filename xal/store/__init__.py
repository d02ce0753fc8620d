"""The ledger (a database) and the artefacts (files) of a run."""
