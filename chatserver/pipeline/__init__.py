"""From a command in a lane to its answer: batches, handlers, outcomes."""
