"""Sources: what a place shows, turned into a Deployment."""
