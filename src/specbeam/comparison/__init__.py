"""What differs between two runs, and how their results moved (`specbeam diff`)."""
