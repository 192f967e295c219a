"""Training the draft to agree with the target: one objective for each kind of verification, and its baselines."""
