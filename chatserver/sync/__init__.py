"""In step with the database: the lease, changes by other processes, entries that an answer or the bus has lost."""
