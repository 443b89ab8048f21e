"""Draw the configured graph: as a tree for the terminal, as Mermaid for documents."""

from __future__ import annotations

from itertools import pairwise

from app.config import Config, Port, VllmPool
from app.config.ports import ports_of
from app.config.stage_order import running


def where(port: Port) -> str:
    """`inline`, or the size of its deployment."""
    if port.placement == "inline":
        return "inline"
    scale = port.deployment
    count = scale.autoscaling_config or scale.num_replicas
    replicas = f"{count['min_replicas']}-{count['max_replicas']}" if isinstance(count, dict) else str(count)
    return f"x{replicas}, {_share(scale.num_cpus, scale.num_gpus)}"


def _share(cpus: float, gpus: float) -> str:
    return f"{gpus:g} GPU" if gpus else f"{cpus:g} CPU"


def lines(config: Config) -> list[tuple[int, str]]:
    """The graph as (depth, text), top down in the order a call passes."""
    graph, policy = config.graph, config.policy
    out = [(0, "call")]
    for stage in running(policy):
        ports = [p for p in ports_of(stage) if p in graph.ports]
        asked = "; ".join(f"{p}: {graph.ports[p].adapter} ({where(graph.ports[p])})" for p in ports)
        out.append((1, f"{stage}  {asked}".rstrip()))
        if stage == "generate":
            for tier, settings in sorted(policy.tiers.items(), key=lambda pair: pair[1].min_complexity):
                out.append((2, f"{tier}  (complexity >= {settings.min_complexity:g})"))
                for name in settings.pools:
                    pool = graph.pools[name]
                    split = ", prefill/decode split" if isinstance(pool, VllmPool) and pool.split else ""
                    out.append((3, f"{name}: {pool.model_id} [{pool.kind}, {pool.region}{split}]"))
    out.append((0, "answer"))
    return out


def mermaid(config: Config) -> str:
    """The graph as a Mermaid flowchart."""
    graph, policy = config.graph, config.policy
    stages = running(policy)
    out = ["flowchart LR", "  client([client]) --> " + stages[0], "  subgraph Gateway", "    direction LR"]
    out += [f"    {a} --> {b}" for a, b in pairwise(stages)]
    out += ["  end", f"  {stages[-1]} --> answer([answer])"]
    for stage in stages:
        for port in ports_of(stage):
            if port == "ledger":
                out.append(f"  {stage} -.-> ledger[(ledger)]")
            elif port in graph.ports:
                out.append(
                    f'  {stage} -.-> {port}["{port}<br/>{graph.ports[port].adapter}, {where(graph.ports[port])}"]'
                )
    for tier, settings in policy.tiers.items():
        for name in settings.pools:
            pool = graph.pools[name]
            out.append(f'  generate == {tier} ==> {_id(name)}["{name}<br/>{pool.model_id}"]')
    return "\n".join(out) + "\n"


def _id(name: str) -> str:
    return "pool_" + "".join(c if c.isalnum() else "_" for c in name)
