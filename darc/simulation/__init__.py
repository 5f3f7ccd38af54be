"""The fake telescope: what surrounds the system at an observatory, for tests, demo and training."""
