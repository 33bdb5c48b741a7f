"""Where SMP is found on a BLE device: one service with one characteristic (docs/smp.md#links)."""

from __future__ import annotations

SMP_SERVICE = "8d53dc1d-1db7-4cd3-868b-8a527460aa84"
SMP_CHARACTERISTIC = "da2e7828-fbce-4e01-ae9e-261174997c48"
