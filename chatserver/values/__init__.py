"""Values that pass between parts: commands, answers, events, errors. They import nothing else of the server."""
