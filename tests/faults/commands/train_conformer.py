"""`astune train --method conformer`, which trains inside of the layers, and so without a cache of them."""

from tests.faults.training import training_command

COMMAND = training_command("train_conformer", "conformer")
