"""The steps of one observation's processing, from triggers to pictures."""
