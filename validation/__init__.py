"""Whether the numbers are right: comparisons with independent references; see `validation.run`."""
