"""Who is online, and which sessions are notified of changes."""
