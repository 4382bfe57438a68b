"""Jobs in the background, and when they run: maintenance, retention, erasures, notifications, rows in batches."""
