"""Ordered delivery: every subscriber of a room is sent its entries as seq, seq+1, seq+2, ..., each once."""
