"""Lists over HTTP: requests are searched in batches by one thread that owns the models."""
