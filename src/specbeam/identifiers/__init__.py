"""Identifiers of items, learned from what is known of them: embeddings, residual quantisation, collisions, a report.

Data flow: items' texts, a table of vectors, or co-occurrence -> embeddings -> codes, one a level -> `<a_12><b_3>`...
"""

TENSOR = "embeddings"
"""Name of the vectors in their file: float32 [items, width]."""
