"""Recommenders that a target has to beat, rated on the same test users: counts of item pairs, and SASRec."""
