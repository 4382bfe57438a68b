"""Several nodes on one database: frames on a bus, the other nodes, and presence and limits over all of them.

The store decides, and the bus only hurries: it may drop, double, delay or reorder anything. See docs/design/cluster.md.
"""
