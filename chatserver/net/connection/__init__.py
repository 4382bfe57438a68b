"""One connection and its life: reading, writing, time limits, and its end."""
