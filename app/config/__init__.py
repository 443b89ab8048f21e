"""The configuration: what stands in the graph (Graph) and how it decides (Policy). Strict and frozen.

A config file is a Ray Serve config file, so that `serve run FILE` and `serve deploy FILE` need nothing else:

    applications:
      - import_path: graphs.chat:build
        args: {...}                     # Graph: models, placements, pools. A change rebuilds the graph.
        deployments:
          - name: Gateway
            user_config: {...}          # Policy: stages, thresholds, tiers, prices. Reaches running replicas.

Unknown keys are errors, and what does not fit together is refused before any replica starts.
"""

from app.config.base import ConfigError, Strict, choose
from app.config.cache import CachePolicy
from app.config.graph import Accelerator, FakePool, Graph, Pool, Port, Scale, Split, State, UpstreamPool, VllmPool
from app.config.load import Config, check, load_file, parse_graph, parse_policy
from app.config.policy import (
    EMBEDDING,
    MODERATION,
    Admit,
    Embeddings,
    Generate,
    Guard,
    Moderate,
    Moderations,
    Policy,
    Prices,
    Scrub,
    Tier,
)
from app.config.stage_order import BEFORE, PAIRS, REQUIRED, STAGES, check_order

__all__ = [
    "BEFORE",
    "EMBEDDING",
    "MODERATION",
    "PAIRS",
    "REQUIRED",
    "STAGES",
    "Accelerator",
    "Admit",
    "CachePolicy",
    "Config",
    "ConfigError",
    "Embeddings",
    "FakePool",
    "Generate",
    "Graph",
    "Guard",
    "Moderate",
    "Moderations",
    "Policy",
    "Pool",
    "Port",
    "Prices",
    "Scale",
    "Scrub",
    "Split",
    "State",
    "Strict",
    "Tier",
    "UpstreamPool",
    "VllmPool",
    "check",
    "check_order",
    "choose",
    "load_file",
    "parse_graph",
    "parse_policy",
]
