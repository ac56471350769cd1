"""The paper's experiments as data: tables in YAML, their runs, one JSON a run."""
