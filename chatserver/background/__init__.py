"""Jobs in the background: maintenance, retention, erasures, notifications, and rows that are written in batches."""
