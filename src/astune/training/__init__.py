"""Recipe, loop, metrics. Nothing is imported here: the command line reads ``config`` without loading torch."""
