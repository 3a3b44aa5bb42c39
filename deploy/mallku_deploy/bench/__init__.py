"""How quick a gateway answers: how it is measured, what is asked, and where it is played."""

from __future__ import annotations

from mallku_deploy.bench.measure import (
    Call,
    CpuMeter,
    Figures,
    Load,
    Run,
    Spread,
    drive,
    summarize,
)

__all__ = ["Call", "CpuMeter", "Figures", "Load", "Run", "Spread", "drive", "summarize"]
