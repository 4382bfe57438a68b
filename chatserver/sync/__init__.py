"""In step with the database: the lease, changes by other processes, entries whose answer was lost."""
