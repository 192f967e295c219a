"""Beam search and speculative decoding over a tree of tokens that share one prompt."""
