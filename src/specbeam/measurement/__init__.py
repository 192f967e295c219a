"""Measuring: ranking quality, acceptance and time, and the records they are kept in."""
