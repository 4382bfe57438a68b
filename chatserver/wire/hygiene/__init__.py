"""Rules for texts, names and secrets from outside."""
