"""Internal coordinates: bond lengths, angles and dihedral angles along a tree of bonds, and back to positions.

Every atom but the first three is placed by a distance to its parent, an angle with its grandparent and a dihedral
angle. The first child of a parent turns about the bond behind it; its brothers are placed by the angle that they keep
from it, so that all but one dihedral angle about a bond are stiff (Chang, Potter and Gilson 2003,
doi:10.1021/jp027149c). The volume element is ∏ r² ∏ sin θ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError

__all__ = ["Tree", "distant", "internal", "log_volume", "placed", "tree"]


@dataclass(frozen=True)
class Tree:
    """In which order atoms are placed, and by which others.

    Attributes:
        atoms: all, in order.
        references: parent, grandparent and the third atom of each from the fourth on.
        proper: whether that dihedral angle turns about a bond, from the fourth atom on.
    """

    atoms: tuple[int, ...]
    references: tuple[tuple[int, int, int], ...]
    proper: tuple[bool, ...]

    @property
    def levels(self) -> list[list[int]]:
        """Places in `references`, grouped: those of a group need no atom of their own group."""
        ready = dict.fromkeys(self.atoms[:3], 0)
        for atom, known in zip(self.atoms[3:], self.references, strict=True):
            ready[atom] = 1 + max(ready[one] for one in known)
        groups: list[list[int]] = [[] for _ in range(max(ready.values()))]
        for place, atom in enumerate(self.atoms[3:]):
            groups[ready[atom] - 1].append(place)
        return groups


def tree(count: int, bonds: Sequence[tuple[int, int]]) -> Tree:
    """The tree of one molecule; of a ring, the bond that would close it is left out.

    Args:
        count: of atoms.
        bonds: pairs of atoms.

    Raises:
        InputError: fewer than four atoms, or several molecules.
    """
    near: list[list[int]] = [[] for _ in range(count)]
    for one, other in bonds:
        near[one].append(other)
        near[other].append(one)
    if count < 4:
        raise InputError("Internal coordinates need at least four atoms.")
    root, parent = _start(near)
    atoms, above = [root, parent], {parent: root}
    references: list[tuple[int, int, int]] = []
    proper: list[bool] = []
    eldest: dict[int, int] = {root: parent}
    queue = [parent, root]
    while queue:
        at = queue.pop(0)
        behind = above.get(at, parent)  # the root looks to its first neighbour
        for other in sorted(near[at], key=lambda atom: (len(near[atom]) == 1, atom)):
            if other in atoms:
                continue
            atoms.append(other)
            above[other] = at
            queue.append(other)
            if len(atoms) > 3:
                turns = at not in eldest or (at == root and eldest[at] == parent)
                third = _third(at, behind, eldest, above, turns)
                references.append((at, behind, third))
                proper.append(turns)
            if at not in eldest or eldest[at] == parent:
                eldest[at] = other
    if len(atoms) < count:
        raise InputError("The bonds do not hold all atoms together: internal coordinates are those of one molecule.")
    return Tree(tuple(atoms), tuple(references), tuple(proper))


def distant(plan: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of atoms more than three bonds apart along the tree."""
    first, second, *rest = plan.atoms
    parents = {second: first, plan.atoms[2]: second} | {
        atom: known[0] for atom, known in zip(rest[1:], plan.references, strict=True)
    }
    away = np.zeros((len(plan.atoms),) * 2, int)
    for place, atom in enumerate(plan.atoms[1:], 1):
        before = list(plan.atoms[:place])
        away[atom, before] = away[before, atom] = away[parents[atom], before] + 1
    one, other = np.nonzero(np.triu(away > 3))
    return one, other


def _start(near: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Two bonded atoms, both with other neighbours if there are such: the first with as few of them as possible."""
    inner = [atom for atom in range(len(near)) if len(near[atom]) > 1]
    pairs = [(one, other) for one in inner for other in near[one] if len(near[other]) > 1]
    if not pairs:
        middle = inner[0] if inner else 0
        return near[middle][0], middle
    heavy = lambda atom: sum(len(near[other]) > 1 for other in near[atom])  # noqa: E731
    return min(pairs, key=lambda pair: (heavy(pair[0]), -heavy(pair[1]), pair))


def _third(at: int, behind: int, eldest: dict[int, int], above: dict[int, int], turns: bool) -> int:
    """The atom that a dihedral angle is measured from: the eldest brother, or what lies behind the bond."""
    if not turns:
        return eldest[at]
    if behind in above and above[behind] != at:
        return above[behind]
    return eldest[behind]


Scalars = Float[Array, "*B M"]


def internal(plan: Tree, positions: Float[Array, "*B N 3"]) -> tuple[Scalars, Scalars, Scalars]:
    """Lengths (N - 1, Å), angles (N - 2) and dihedral angles (N - 3, rad) in the order of the tree."""
    first, second, third, *rest = plan.atoms
    parents, grandparents, others = (list(column) for column in zip(*plan.references, strict=True))
    ends, turning = [second, third, *rest], [third, *rest]
    towards = [_hinge(plan)[0], *parents]
    from_parent = positions[..., turning, :] - positions[..., towards, :]
    behind = positions[..., [_hinge(plan)[1], *grandparents], :] - positions[..., towards, :]
    lengths = jnp.linalg.norm(positions[..., ends, :] - positions[..., [first, *towards], :], axis=-1)
    angles = jnp.arctan2(
        jnp.linalg.norm(jnp.cross(from_parent, behind), axis=-1), jnp.sum(from_parent * behind, axis=-1)
    )
    axis = behind[..., 1:, :]
    beyond = positions[..., others, :] - positions[..., grandparents, :]
    one, other = jnp.cross(from_parent[..., 1:, :], axis), jnp.cross(beyond, axis)
    sine = jnp.sum(jnp.cross(one, other) * axis, axis=-1) / jnp.linalg.norm(axis, axis=-1)
    return lengths, angles, jnp.arctan2(sine, jnp.sum(one * other, axis=-1))


def _hinge(plan: Tree) -> tuple[int, int]:
    """Parent and grandparent of the third atom."""
    first, second, *_ = plan.atoms
    return second, first


def placed(plan: Tree, lengths: Scalars, angles: Scalars, dihedrals: Scalars) -> Float[Array, "*B N 3"]:
    """Positions with the first atom at the origin, the second on the x axis and the third in the xy plane."""
    count, zero = len(plan.atoms), jnp.zeros_like(lengths[..., 0])
    _, second, third = plan.atoms[:3]
    out = jnp.stack([lengths[..., 0], zero, zero], axis=-1)
    away = lengths[..., 1, None] * jnp.stack([-jnp.cos(angles[..., 0]), jnp.sin(angles[..., 0]), zero], axis=-1)
    places = jnp.zeros((count + 1, *zero.shape, 3)).at[second].set(out).at[third].set(out + away)
    rows, references, atoms = _waves(plan)

    def values(of: Scalars) -> Float[Array, "L M *B"]:
        return jnp.concatenate([jnp.moveaxis(of, -1, 0), jnp.ones((1, *zero.shape))])[rows]

    def place(places: Array, wave: Any) -> tuple[Array, None]:
        known, here, *where = wave
        return places.at[here].set(_placed(*(places[column] for column in known.T), *where)), None

    waves = references, atoms, values(lengths[..., 2:]), values(angles[..., 1:]), values(dihedrals)
    return jnp.moveaxis(jax.lax.scan(place, places, waves)[0][:count], 0, -2)


def _waves(plan: Tree) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the coordinates, references and atoms of all levels, alike in width: what fills up is one atom too many.

    A loop over them compiles in the same time however long the chain is; unrolled it took minutes for thirty atoms.
    """
    width, spare = max(map(len, plan.levels)), len(plan.references)
    rows = np.array([level + [spare] * (width - len(level)) for level in plan.levels])
    first, second, third = plan.atoms[:3]
    references = np.array([*plan.references, (second, first, third)])[rows]
    return rows, references, np.array([*plan.atoms[3:], len(plan.atoms)])[rows]


def _placed(
    parent: Array, grandparent: Array, other: Array, length: Array, angle: Array, dihedral: Array
) -> Float[Array, "M *B 3"]:
    """Atoms at a length from the parent, an angle with the grandparent and a dihedral angle with the third atom."""
    back = grandparent - parent
    back = back / jnp.linalg.norm(back, axis=-1, keepdims=True)
    normal = jnp.cross(other - grandparent, back)
    normal = normal / jnp.linalg.norm(normal, axis=-1, keepdims=True)
    side = jnp.cross(back, normal)
    sine = jnp.sin(angle)[..., None]
    ahead = jnp.cos(angle)[..., None] * back
    turned = sine * (jnp.cos(dihedral)[..., None] * side + jnp.sin(dihedral)[..., None] * normal)
    return parent + length[..., None] * (ahead + turned)


def log_volume(lengths: Scalars, angles: Scalars) -> Float[Array, "*B"]:
    """ln of the volume in space of a unit of volume in these coordinates, orientation and place left out, Å^(3N-6)."""
    return 2 * jnp.sum(jnp.log(lengths), axis=-1) + jnp.sum(jnp.log(jnp.sin(angles)), axis=-1)
