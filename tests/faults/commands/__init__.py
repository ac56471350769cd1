"""Commands that are killed: one file each, with a `COMMAND`."""
