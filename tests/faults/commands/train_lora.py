"""`astune train --method lora`, from a cache of frozen layers, with checkpoints within the epochs."""

from tests.faults.training import training_command

COMMAND = training_command("train_lora", "lora", "--cache-frozen")
