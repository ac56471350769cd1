"""The recipe, the training loop and the metrics. Nothing is imported here: the command line reads ``config`` without loading torch."""
