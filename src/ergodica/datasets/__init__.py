"""The data flywheel: generate structures, select those worth a label, let a teacher label them, train, and again.

It stands above potentials, dynamics and training and below the command line; none of those imports it.
"""

from __future__ import annotations

from ergodica.datasets.agreement import Agreement, Tolerance, compare
from ergodica.datasets.generate import Stream, generate
from ergodica.datasets.journal import Outcome
from ergodica.datasets.labels import label
from ergodica.datasets.partition import partition
from ergodica.datasets.recipe import Recipe, read_recipe
from ergodica.datasets.selection import choose, disagreement
from ergodica.datasets.teachers import TEACHERS, Teacher

__all__ = [
    "TEACHERS",
    "Agreement",
    "Outcome",
    "Recipe",
    "Stream",
    "Teacher",
    "Tolerance",
    "choose",
    "compare",
    "disagreement",
    "generate",
    "label",
    "partition",
    "read_recipe",
]
