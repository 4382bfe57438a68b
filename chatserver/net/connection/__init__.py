"""One connection and its life: reading, writing, limits of time, and its end."""
