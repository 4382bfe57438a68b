"""Everything that is kept: tables, statements, threads. Gives values, never rows; knows no sockets."""
