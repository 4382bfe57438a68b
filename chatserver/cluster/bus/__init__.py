"""What carries frames between nodes: PostgreSQL or Valkey."""
