"""The summary page of a run: one HTML file with all in it, read without network, made from results without torch."""
