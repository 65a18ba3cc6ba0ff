"""Active learning: a model explores, a teacher labels where it is uncertain, and the model learns from that."""

from __future__ import annotations

from ergodica.active.loop import ActiveResult, Round, learn_actively
from ergodica.active.options import ActiveConfig, read_active_config

__all__ = ["ActiveConfig", "ActiveResult", "Round", "learn_actively", "read_active_config"]
