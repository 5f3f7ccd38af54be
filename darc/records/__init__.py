"""What processes write down for their successors: what was decided, intended, sent and switched."""
