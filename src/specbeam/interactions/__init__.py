"""Own interactions: files of orders or reviews, which of them count, and their split, to a raw data set.

Files are read a line at a time (rows), what they hold is checked (values) and kept as numbers (table); filters and
splits are functions of whole tables; read is the stage. Knows nothing of models.
"""

READING = "reading.json"
"""What was read, what was dropped and why, where the borders of the split lie, and that nothing leaks across them."""
