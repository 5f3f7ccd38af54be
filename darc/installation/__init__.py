"""Installation of a node: the site's file, the service, and the check of all that a night needs."""
