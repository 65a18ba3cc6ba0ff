"""The command `ergodica`: one thin file per verb, imported only when that verb is called.

A verb parses, calls the library, prints. What all verbs share (options, device, compilation cache, output, exit codes)
is in `ergodica.cli.common`, `ergodica.cli.session` and `ergodica.cli.output`; none of it imports JAX at the top level.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

from cyclopts import App

from ergodica import __version__
from ergodica.cli.failures import exit_code_of
from ergodica.cli.inputs import STDIN

__all__ = ["app", "main"]

WELCOME = """\
Ergodica: atomistic machine learning in JAX. Five things to do first:

  ergodica doctor                                does this machine compute right numbers?
  ergodica models                                which potentials come with the package
  ase build CH3CH2OH ethanol.xyz                 a molecule to play with; then
  ergodica predict ethanol.xyz                   its energy and forces
  ergodica relax ethanol.xyz -o relaxed.xyz      bring its atoms to rest
  ergodica md relaxed.xyz --time 1ps             let them move

'ergodica --help' lists every verb, 'ergodica VERB --help' its options.
"""

BUILD = "ase build CH3CH2OH ethanol.xyz && "
COPPER = "ase build -x fcc Cu Cu.xyz && "
VERBS = {
    "predict": ("Energy, forces, stress and per-atom energies of structures.", BUILD + "ergodica predict ethanol.xyz"),
    "evaluate": (
        "Errors of a model against the labels in a file.",
        BUILD + "ergodica predict ethanol.xyz -o labelled.xyz && ergodica evaluate labelled.xyz",
    ),
    "generate": (
        "Structures to label: prototypes, alloys and your own, varied.",
        "ergodica generate --elements Al Cu --limit 20 -o structures.extxyz",
    ),
    "label": (
        "Label structures with a teacher; resumable.",
        "ase build Cu -x fcc -a 3.6 cu.xyz && ergodica label cu.xyz --teacher emt -o labelled.extxyz",
    ),
    "select": (
        "Choose the structures worth a label.",
        "ergodica generate --elements Al Cu --limit 20 && ergodica select structures.extxyz -n 10 -o chosen.extxyz",
    ),
    "split": (
        "Split structures into sets that share no composition.",
        "ergodica generate --elements Al Cu --limit 20 && ergodica split structures.extxyz --fractions 0.9 0.1",
    ),
    "relax": ("Relax atoms and, with --cell, the cell.", BUILD + "ergodica relax ethanol.xyz -o relaxed.xyz"),
    "neb": (
        "Path of least energy and barrier between two minima (nudged elastic band).",
        'python -c \'from ase.build import bulk; from ase.io import write; a = bulk("Al", cubic=True) * 2; '
        'hole = a.positions[0].copy(); del a[0]; write("start.xyz", a); a.positions[0] = hole; '
        'write("end.xyz", a)\' && ergodica neb start.xyz end.xyz -m emt --relax-ends -o hop',
    ),
    "md": (
        "Molecular dynamics: nve, langevin, nose-hoover, csvr or npt.",
        BUILD + "ergodica md ethanol.xyz --time 1ps",
    ),
    "analyze": (
        "Trajectories: temperature, energies, g(r), diffusion, vibrations.",
        "ase build -x fcc -a 4.1 --repeat 4,4,4 Cu Cu.xyz && ergodica md Cu.xyz -m emt --temperature 2000 --timestep 2 "
        "--time 4ps --every 4 -o Cu.traj && ergodica analyze Cu.traj --skip 1ps -o Cu.png",
    ),
    "eos": (
        "Equation of state of crystals: equilibrium volume and bulk modulus.",
        COPPER + "ergodica eos Cu.xyz -m emt",
    ),
    "elastic": (
        "Elastic constants, moduli and stability of crystals of any symmetry.",
        COPPER + "ergodica elastic Cu.xyz -m emt",
    ),
    "phonons": (
        "Phonon bands, density of states, thermal functions, imaginary modes.",
        COPPER + "ergodica phonons Cu.xyz -m emt -o Cu-phonons",
    ),
    "quasiharmonic": (
        "Thermal expansion and free energies G(T, P) in the quasi-harmonic approximation.",
        COPPER + "ergodica quasiharmonic Cu.xyz -m emt -o Cu-expansion",
    ),
    "phase-diagram": (
        "Phase diagram of two polymorphs over temperature and pressure.",
        "ase build -x fcc Ag fcc.xyz && ase build -x hcp -a 2.9 Ag hcp.xyz && "
        "ergodica phase-diagram fcc.xyz hcp.xyz -m emt --p-max 20 --t-max 700 -o Ag",
    ),
    "sample": (
        "Conformers of a molecule in thermal equilibrium, with populations and error bars.",
        'ergodica sample "CC(O)C(=O)O" --n 1000 --temperature 300 -o lactic-acid',
    ),
    "path": (
        "Likely structures between two of a molecule, out of its sampler.",
        "ergodica path data/peptides/hairpin.pdb data/peptides/helix.pdb -m hairpin -o folding",
    ),
    "density": (
        "Where an atom is upon a slab, with sites, populations and free energies.",
        "ase build -x fcc111 Cu slab.xyz && ergodica density slab.xyz --species O -o O-on-Cu",
    ),
    "train": ("Train a model as a TOML file says.", "ergodica train train.toml"),
    "finetune": (
        "Go on training a model with your own data.",
        "ergodica finetune visnet-rmd17-ethanol data.xyz -o runs/mine",
    ),
    "data-efficiency": (
        "What more structures would bring, fine-tuned and from scratch.",
        "ergodica data-efficiency visnet-rmd17-ethanol train.xyz --test test.xyz -o runs/efficiency",
    ),
    "ensemble": (
        "Join models of one architecture to one that knows its uncertainty.",
        "ergodica ensemble a.safetensors b.safetensors -o ensemble.safetensors",
    ),
    "calibrate": (
        "Turn the spread of a model into bounds of its error, on labelled structures.",
        "ergodica calibrate ensemble.safetensors labelled.xyz -o calibrated.safetensors",
    ),
    "active": (
        "Active learning: explore, select, label, train, again; as a TOML file says.",
        "ergodica active examples/active/copper.toml",
    ),
    "check": (
        "Invariances, finite differences, energy drift and dimer curves of a model.",
        "ergodica check visnet-rmd17-ethanol",
    ),
    "doctor": ("Versions, devices, compiler self-test and checksums of the weights.", "ergodica doctor"),
}
"""Verbs with one line and one example each; the root help must not import their modules."""

MODELS = {
    "list": ("list_", "Models that come with the package.", "ergodica models"),
    "show": ("show", "The card of a model.", "ergodica models show visnet-rmd17-ethanol"),
    "import": (
        "import_",
        "Convert a checkpoint of ViSNet, M3GNet (MatterSim) or Geoformer to a model file; nothing in it is ever run.",
        "ergodica models import visnet.pt -o visnet.safetensors --kwargs '{\"hidden_channels\": 128}'",
    ),
    "add": (
        "add",
        "Add D3 dispersion, a repulsive core or point charges to a model.",
        "ergodica models add m3gnet-elements --d3 pbe --core -o m3gnet-d3.safetensors",
    ),
}
"""The verbs of `ergodica models`: function, one line, one example."""

WATER = "ase build H2O water.xyz && "
DFT = {
    "minimize": (
        "dft",
        "Orbital-free DFT: the density of least energy, forces and dipole of molecules.",
        WATER + "ergodica dft minimize water.xyz --functional ofdft-water",
    ),
    "ks": ("dft", "Kohn-Sham DFT of the same molecules with PySCF.", WATER + "ergodica dft ks water.xyz"),
    "labels": (
        "dft_labels",
        "Densities, energies and gradients to train a functional with; resumable.",
        WATER + "ergodica dft labels water.xyz -o labels.h5",
    ),
    "evaluate": (
        "dft_labels",
        "Errors of a functional against Kohn-Sham, after minimisation.",
        WATER + "ergodica dft labels water.xyz -o labels.h5 && ergodica dft evaluate labels.h5 -f ofdft-water",
    ),
    "scan": (
        "dft",
        "Energies along a dihedral angle, Kohn-Sham's beside them.",
        "ase build H2O2 hp.xyz && ergodica dft scan hp.xyz --dihedral 2 0 1 3 -f tf+vw/5 --points 3",
    ),
}
"""The verbs of `ergodica dft`: module, one line, one example."""


def _make_app() -> App:
    root = App(name="ergodica", help="Atomistic machine learning in JAX.", version=__version__, help_format="plaintext")
    root.suppress_keyboard_interrupt = False  # Ctrl-C gets its sentence from `exit_code_of`, like everything else
    root.help_prologue = "Example: " + BUILD + "ergodica predict ethanol.xyz"
    for verb, (line, example) in VERBS.items():
        module = verb.replace("-", "_")
        root.command(f"ergodica.cli.{module}:{module}", name=verb, help=line, help_prologue=f"Example: {example}")
    models = App(name="models", help="What ships, its card, and conversion of upstream checkpoints.")
    models.help_prologue = "Example: ergodica models"
    for verb, (function, line, example) in MODELS.items():
        models.command(f"ergodica.cli.models:{function}", name=verb, help=line, help_prologue=f"Example: {example}")
    root.command(models)
    dft = App(name="dft", help="Orbital-free density functional theory, and Kohn-Sham's beside it.")
    dft.help_prologue = f"Example: {DFT['minimize'][2]}"
    for verb, (module, line, example) in DFT.items():
        dft.command(f"ergodica.cli.{module}:{verb}", name=verb, help=line, help_prologue=f"Example: {example}")
    root.command(dft)
    return root


app = _make_app()


def _warned(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Ergodica's own warnings in one line, others as they are."""
    own = category is UserWarning and "ergodica" in filename
    text = f"ergodica: warning: {message}\n" if own else warnings.formatwarning(message, category, filename, lineno)
    print(text, end="", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Returns:
        the exit code: 0 done, 1 the work failed, 2 bad input or usage, 130 interrupted.
    """
    tokens = [STDIN if token == "-" else token for token in (sys.argv[1:] if argv is None else argv)]
    if not tokens:
        print(WELCOME, end="")
        return 0
    if tokens[0] == "models" and (len(tokens) == 1 or (tokens[1][0] == "-" and tokens[1] not in ("-h", "--help"))):
        tokens.insert(1, "list")  # a bare `models` answers the obvious question
    with warnings.catch_warnings():
        warnings.showwarning = _warned
        return exit_code_of(lambda: app(tokens, exit_on_error=False, print_error=False, result_action="return_value"))
