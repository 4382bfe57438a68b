"""Engine, threads and transactions: how the store reaches its database."""
