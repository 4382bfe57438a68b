"""General parts that know nothing of chat."""
