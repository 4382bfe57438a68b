"""What people type, as commands."""
