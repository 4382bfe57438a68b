"""Settings: their tables, and the file and the command line that they come from."""
