"""Figures and tables, drawn from record files alone: no torch, no models, the same bytes for the same records."""
