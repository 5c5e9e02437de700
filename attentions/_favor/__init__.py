"""FAVOR+ and other kernel attention: features, projections, and the loop over chunks."""

from lra_bench.attentions._favor.attention import kernel_attention
from lra_bench.attentions._favor.features import FeatureMap, Features

__all__ = ["FeatureMap", "Features", "kernel_attention"]
