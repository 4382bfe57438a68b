"""From a command in a lane to its answer: takes, transactions, outcomes."""
