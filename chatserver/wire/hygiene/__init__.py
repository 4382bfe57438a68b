"""What text, names and secrets may consist of."""
