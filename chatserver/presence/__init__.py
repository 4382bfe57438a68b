"""Who is online, and who is sent which changes of that."""
