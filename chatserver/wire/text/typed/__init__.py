"""Lines that people type, as commands."""
