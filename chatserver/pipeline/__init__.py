"""From a command to its answer: lanes, where a lone message waits for others; takes, transactions, outcomes."""
