"""What we claim about speed and memory, with peers in the same run: ``python -m benchmarks NAME``. Not in the wheel."""
