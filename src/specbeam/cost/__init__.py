"""What a run costs, predicted from finished ones: hours, storage and wall time (docs/scale.md). Imports no torch."""
