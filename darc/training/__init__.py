"""Training of the networks that classify candidates; nothing of it is needed on a node."""
