"""What people are shown, as text."""
