"""What observers see of an observation: the results of all beams, combined and told."""
