"""Identifiers of items, learned from what is known of them: embeddings, residual quantisation, collisions, a report.

items' texts, a table of vectors, or co-occurrence -> embeddings -> codes, one a level -> <a_12><b_3>...
"""

EMBEDDINGS = "embeddings.safetensors"
"""One vector an item, by the item's number."""
ITEMS = "items.parquet"
"""Items of own data: `item` (from 0), `key` (as the user's files name it), `text` if there is one."""
