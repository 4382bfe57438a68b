"""Several nodes on one database: what each tells the others over a bus, and what it does about what they tell.

The store decides, and the bus only hurries: it may drop, double, delay or reorder anything. See docs/architecture.md.
"""
