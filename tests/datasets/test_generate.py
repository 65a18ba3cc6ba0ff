"""The stream of structures: deterministic, restartable, of every kind asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.io import write

from ergodica.datasets.generate import Stream, generate
from ergodica.datasets.recipe import (
    PrototypeOptions,
    Recipe,
    StructureOptions,
    VariantOptions,
    WalkOptions,
    read_recipe,
)
from ergodica.datasets.variants import acceptable
from ergodica.errors import InputError, WorkFailed
from ergodica.files import read_structures

SMALL = Recipe(elements=("Al", "Cu", "O"), prototypes=PrototypeOptions(ionic=10, metallic=10, alloys=5), limit=12)


def everything(recipe):
    stream = Stream(recipe)
    return [system for place in range(len(stream)) for system in stream(place)]


def test_the_seed_defines_every_structure():
    first, again = everything(SMALL), everything(SMALL)
    assert len(first) == len(again) > 20
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        assert a.info == b.info
    other = everything(Recipe(elements=("Al", "Cu", "O"), prototypes=SMALL.prototypes, limit=12, seed=1))
    assert any(len(a) != len(b) or not np.array_equal(a.numbers, b.numbers) for a, b in zip(first, other, strict=False))


def test_structures_are_of_the_elements_asked_for_and_keep_their_distance():
    for system in everything(SMALL):
        assert set(system.numbers) <= {13, 29, 8}
        assert acceptable(system.to_ase(), SMALL.variants.min_distance)
        assert {"source", "kind", "start"} <= set(system.info)


def test_every_element_meets_every_elemental_prototype():
    recipe = Recipe(elements=("Fe", "U"), prototypes=PrototypeOptions(ionic=0, metallic=0, alloys=0),
                    variants=VariantOptions(number=0))  # fmt: skip
    pairs = {(system.info["prototype"], int(system.numbers[0])) for system in everything(recipe)}
    assert len(pairs) == 26


@pytest.mark.parametrize(
    "kind", ["strained", "compressed", "expanded", "rattled", "rattled-compressed", "vacancy", "slab"]
)
def test_only_the_kinds_with_weight_are_made(kind):
    recipe = Recipe(elements=("Al", "Cu"), variants=VariantOptions(number=2, weights={kind: 1.0}), limit=4)
    assert {system.info["kind"] for system in everything(recipe)} == {"start", kind}


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    whole, torn = tmp_path / "whole.extxyz", tmp_path / "torn.extxyz"
    count = generate(SMALL, whole)

    class Killed(BaseException):
        pass

    def kill(done, _):
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        generate(SMALL, torn, kill)
    with torn.open("a") as file:  # what a kill in the middle of a write leaves
        file.write('8\nLattice="1 0 0')
    with torn.with_suffix(".recipe.jsonl").open("a") as file:
        file.write('{"done": 6, "by')
    assert generate(SMALL, torn) == count == len(read_structures(torn))
    assert torn.read_bytes() == whole.read_bytes()
    assert generate(SMALL, torn) == count, "a finished run is left alone"


def test_a_longer_limit_goes_on_and_another_recipe_is_refused(tmp_path):
    path = tmp_path / "some.extxyz"
    short = generate(Recipe(elements=("Al", "Cu"), limit=3), path)
    assert generate(Recipe(elements=("Al", "Cu"), limit=6), path) > short
    with pytest.raises(InputError, match="another recipe"):
        generate(Recipe(elements=("Al",), limit=3), path)


def test_own_structures_are_varied_and_substituted(tmp_path):
    write(tmp_path / "salt.xyz", bulk("NaCl", "rocksalt", a=5.64), format="extxyz")
    none = PrototypeOptions(elemental=False, ionic=0, metallic=0, alloys=0)
    recipe = Recipe(prototypes=none, structures=StructureOptions((str(tmp_path / "salt.xyz"),), 3))
    found = everything(recipe)
    assert {system.info["source"] for system in found} == {"user", "substituted"}
    assert len({tuple(system.numbers) for system in found if system.info["kind"] == "start"}) > 1
    with pytest.raises(InputError, match="makes nothing"):
        len(Stream(Recipe(prototypes=none)))


def test_own_ions_keep_their_charge(tmp_path):
    hydroxide = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1})
    write(tmp_path / "ion.xyz", hydroxide, format="extxyz")
    none = PrototypeOptions(elemental=False, ionic=0, metallic=0, alloys=0)
    found = everything(Recipe(prototypes=none, structures=StructureOptions((str(tmp_path / "ion.xyz"),), 0)))
    assert len(found) > 1 and {system.charge for system in found} == {-1.0}


@pytest.mark.parametrize("vacuum", [None, 5.0])
def test_films_and_molecules_are_varied_like_crystals(tmp_path, vacuum):
    film = fcc111("Cu", (2, 2, 2), vacuum=vacuum)
    film.info.clear()
    write(tmp_path / "own.xyz", [film, molecule("H2O")], format="extxyz")
    none = PrototypeOptions(elemental=False, ionic=0, metallic=0, alloys=0)
    recipe = Recipe(prototypes=none, structures=StructureOptions((str(tmp_path / "own.xyz"),), 0),
                    variants=VariantOptions(number=12))  # fmt: skip
    found = everything(recipe)
    assert {system.info["kind"] for system in found} == {"start", "strained", "rattled", "vacancy"}
    for system in found:
        assert system.pbc.tolist() in ([True, True, False], [False, False, False])


def test_elements_of_unknown_size_are_told(tmp_path):
    write(tmp_path / "po.xyz", bulk("Po", "sc", a=3.4), format="extxyz")
    with pytest.raises(InputError, match="holds Po"):
        len(Stream(Recipe(structures=StructureOptions((str(tmp_path / "po.xyz"),)))))


def test_dynamics_gives_frames_apart_in_time_and_stops_where_it_explodes():
    walks = WalkOptions("emt", share=1.0, temperatures=(300.0,), pressures=(0.0,), frames=2, every=5)
    options = {"elements": ("Cu",), "prototypes": PrototypeOptions(("fcc",), ionic=0, metallic=0, alloys=0)}
    variants = VariantOptions(number=0, max_atoms=4)
    found = everything(Recipe(**options, variants=variants, walks=walks))
    frames = [system for system in found if system.info["kind"] == "walk"]
    assert len(frames) == 2 and frames[0].info["temperature_K"] == 300
    assert 0.01 < np.abs(frames[0].positions - frames[1].positions).max() < 1
    hot = WalkOptions("emt", share=1.0, temperatures=(1e6,), pressures=(0.0,), timestep=20.0, frames=5, every=1)
    assert len(everything(Recipe(**options, variants=variants, walks=hot))) < 6


@pytest.mark.parametrize(
    ("toml", "hint"),
    [
        ('elements = ["Al", "Xx"]', "Xx"),
        ('elements = ["Po"]', "Po"),
        ("[prototypes]\nionik = 3", "did you mean 'ionic'"),
        ("[variants]\nstrain = 0.7", "strain=0.7"),
        ("[variants]\npressure = [10.0, 1.0]", "smaller first"),
        ("[variants.weights]\nshaken = 1.0", "shaken"),
        ("[walks]\ntemperatures = [-1.0]", "temperatures"),
        ("seed = = 1", "not valid TOML"),
    ],
)
def test_bad_recipes_are_told_in_one_sentence(tmp_path, toml, hint):
    path = tmp_path / "recipe.toml"
    path.write_text(toml)
    with pytest.raises(InputError, match=hint.replace("[", r"\[")) as found:
        read_recipe(path)
    assert "\n" not in str(found.value)


def test_the_example_shows_the_defaults():
    path = Path(__file__).parents[2] / "examples" / "flywheel" / "recipe.toml"
    assert read_recipe(path) == Recipe()


def test_missing_recipe_unknown_prototype_and_wrong_output(tmp_path):
    with pytest.raises(InputError, match="no recipe"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(InputError, match="no prototype 'fct'"):
        len(Stream(Recipe(prototypes=PrototypeOptions(("fct",)))))
    with pytest.raises(InputError, match=r"\.extxyz"):
        generate(SMALL, tmp_path / "a.cif")
    with pytest.raises(WorkFailed, match="Could not write"):
        generate(SMALL, "/proc/nowhere/a.extxyz")
