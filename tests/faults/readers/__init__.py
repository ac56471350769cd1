"""One file for each thing that reads what comes from elsewhere; each has a `READER`, found by its file."""
