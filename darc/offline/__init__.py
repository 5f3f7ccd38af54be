"""Processing after an observation: steps as functions, and the plan that says which are to be done."""
