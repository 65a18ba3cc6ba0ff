"""Weights of the published programs, translated name by name into configurations and parameters."""

from ergodica.potentials.upstream.geoformer import is_geoformer, translate_geoformer
from ergodica.potentials.upstream.m3gnet import is_m3gnet, translate_m3gnet
from ergodica.potentials.upstream.reader import Translated
from ergodica.potentials.upstream.visnet import translate_visnet

__all__ = [
    "Translated",
    "is_geoformer",
    "is_m3gnet",
    "translate_geoformer",
    "translate_m3gnet",
    "translate_visnet",
]
