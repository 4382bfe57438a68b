"""The bus, which carries frames between nodes: PostgreSQL or Valkey."""
