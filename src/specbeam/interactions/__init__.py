"""Own interactions: files of orders or reviews, which of them count, and their split, to a raw data set.

Files are read a line at a time (rows), what they hold is checked (values) and kept as numbers (table); filters and
splits are functions of whole tables; read is the stage. Knows nothing of models.
"""

USERS = "users.parquet"
"""user (int64, from 0, as in the text files less 1), key (string: what the user is called in the interactions)."""
ITEMS = "items.parquet"
"""item (int64, from 0, as in the text files less 1), key (string), text (string or null: what describes it)."""
READING = "reading.json"
"""What was read, what was dropped and why, where the borders of the split lie, and that nothing leaks across them."""
