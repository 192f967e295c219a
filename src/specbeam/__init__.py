"""Speculative decoding for generative recommendation: a library, and the pipeline that reproduces AtSpeed with it."""

__version__ = "0.1.0"
