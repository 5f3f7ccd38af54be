"""The commands of `darc`, a module per subject; each has a `run` that returns the exit code."""
