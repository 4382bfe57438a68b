"""Jobs in the background: maintenance, retention, erasures, and rows that are written in batches."""
