"""Neighbour lists: one layout (`ergodica.system.Neighbors`), two builders.

On the host, `find_edges` answers for every kind of cell, `VerletList` keeps a list with a skin along a trajectory, and
`pack` lays edges out densely. On the device, `list_neighbors` does it all inside `jit`.
"""

from ergodica.neighbors.device import Found, Grid, list_neighbors, plan_grid
from ergodica.neighbors.host import Edges, VerletList, find_edges, find_pairs
from ergodica.neighbors.layout import Capacity, capacity_for, dense_neighbors, pack, round_up

__all__ = [
    "Capacity",
    "Edges",
    "Found",
    "Grid",
    "VerletList",
    "capacity_for",
    "dense_neighbors",
    "find_edges",
    "find_pairs",
    "list_neighbors",
    "pack",
    "plan_grid",
    "round_up",
]
