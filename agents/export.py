"""A policy or a cell as a step with its state as input and output: for ONNX, and for a runner of numpy alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrize

from agents.policies import RecurrentPolicy
from agents.runs import write_atomically
from agents.spaces import leaves, rebuild
from rnn.cell import Cell

__all__ = ["CellStep", "PolicyStep", "export_numpy", "export_onnx", "step_inputs"]


class CellStep(nn.Module):
    """One step of a cell, `(x, *state) -> (y, *state)`, with the tensors of the state side by side."""

    def __init__(self, cell: Cell):
        super().__init__()
        self.cell = cell
        self.inputs = cell.input_size
        self.names = [f"state{k}" for k in range(len(leaves(cell.initial_state(1))))]

    def fresh(self) -> list[Tensor]:
        """The state of a fresh episode."""
        return [part.detach().clone() for part in leaves(self.cell.initial_state(1))]

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        y, after = self.cell(x, rebuild(self.cell.initial_state(1), list(state)))
        return (y, *leaves(after))


class PolicyStep(nn.Module):
    """One greedy step of a recurrent policy, `(obs, *state) -> (action, *state)`, in the environment's units."""

    def __init__(self, policy: RecurrentPolicy):
        super().__init__()
        self.policy = policy
        self.inputs = policy.observation_size
        self.names = [f"state{k}" for k in range(len(self.fresh()))]

    def fresh(self) -> list[Tensor]:
        """The state of a fresh episode: the actor's cell, and the code of the last action where it is fed back."""
        state = self.policy.initial_state(1)
        parts = [part.detach().clone() for part in leaves(state.actor)]
        return [*parts, state.previous] if self.policy.previous_action else parts

    def forward(self, obs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        policy, parts = self.policy, list(state)
        previous = parts.pop() if policy.previous_action else obs[:, :0]
        encoded = policy._encode(policy.features(obs, previous))
        inner = rebuild(policy.actor_cell.initial_state(1), parts)
        y, after = policy.actor_cell(policy.encoder(encoded), inner)
        choice, space = policy.head(policy.actor(y)).mode(), policy.head.space
        if isinstance(space, spaces.Box):
            coded = choice.clamp(-1, 1)  # once for action and code: the ONNX of two equal clamps does not load
            action = policy.head.middle + policy.head.reach * coded
        else:
            coded = policy.head.code(choice)
            action = choice + (int(space.start) if isinstance(space, spaces.Discrete) else 0)
        code = [coded] if policy.previous_action else []
        return (action, *leaves(after), *code)


def step_inputs(step: CellStep | PolicyStep) -> tuple[Tensor, ...]:
    """Zeros of the shape of an input, and a fresh state, in the precision of the step."""
    like = next(step.parameters(), torch.zeros(()))
    return (like.new_zeros(1, step.inputs), *step.fresh())


def export_onnx(step: CellStep | PolicyStep, path: str | os.PathLike[str]) -> Path:
    """Write a step as ONNX, inputs `x, state0 ...`, outputs `y, next_state0 ...`, one row.

    In the precision of the step: oscillators of neurons amplify what another order of operations rounds, and follow
    torch over hundreds of steps only as `step.double()`.

    Raises:
        ImportError: onnx and onnxscript are not installed.
    """
    try:
        import onnx  # noqa: F401 (is it there?)
        import onnxscript  # noqa: F401 (is it there?)
    except ImportError as error:
        raise ImportError("ONNX needs onnx and onnxscript: pip install 'salamander-lab[export]'") from error
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    constrained = any(parametrize.is_parametrized(module) for module in step.modules())
    with torch.no_grad():
        torch.onnx.export(
            _folded(step) if constrained else step.eval(),
            step_inputs(step),
            str(file),
            input_names=["x", *step.names],
            output_names=["y", *(f"next_{name}" for name in step.names)],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return file


def export_numpy(step: CellStep | PolicyStep, folder: str | os.PathLike[str]) -> Path:
    """Write a step for `agents.numpy_runner`: the operations of one row in order, and the arrays they use.

    Raises:
        ValueError: an operation that the runner does not know.
    """
    from agents.numpy_runner import OPERATIONS

    step = step.eval()
    with torch.no_grad():
        graph = make_fx(step)(*step_inputs(step))
    graph.graph.eliminate_dead_code()
    arrays: dict[str, np.ndarray] = {}
    known: dict[str, Any] = {}  # what does not depend on inputs is computed now
    lines: list[dict[str, Any]] = []
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            known[node.name] = getattr(graph, node.target).detach()
        elif node.op == "call_function":
            if all(parent.name in known for parent in node.all_input_nodes):
                known[node.name] = node.target(*_known(node.args, known), **_known(node.kwargs, known))
                continue
            name = str(node.target)
            if name not in OPERATIONS:
                raise ValueError(f"the numpy runner does not know {name}; add it to agents.numpy_runner.OPERATIONS")
            lines.append({"out": node.name, "op": name, "args": _plain(node.args), "kwargs": _plain(node.kwargs)})
        elif node.op == "output":
            outputs = _plain(node.args[0])
    read = json.dumps([lines, outputs])
    for name, value in known.items():
        if f'{{"node": "{name}"}}' in read:
            arrays[name] = value.numpy()
    inputs = [node.name for node in graph.graph.nodes if node.op == "placeholder"]
    for k, part in enumerate(step.fresh()):
        arrays[f"fresh.{k}"] = part.numpy()
    out = Path(folder)
    program = {"inputs": inputs, "outputs": outputs, "states": len(step.names), "lines": lines}
    write_atomically(out / "program.json", (json.dumps(program) + "\n").encode())
    with (out / "arrays.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return out


def _folded(step: CellStep | PolicyStep) -> nn.Module:
    """The step's operations with what does not depend on inputs (a constrained weight) computed beforehand."""
    graph = make_fx(step.eval())(*step_inputs(step))
    known: dict[str, Any] = {}
    for node in list(graph.graph.nodes):
        if node.op == "get_attr":
            known[node.name] = getattr(graph, node.target).detach()
        elif node.op == "call_function" and all(parent.name in known for parent in node.all_input_nodes):
            value = node.target(*_known(node.args, known), **_known(node.kwargs, known))
            known[node.name] = value
            if isinstance(value, Tensor):
                graph.register_buffer(f"folded_{node.name}", value.contiguous())
                with graph.graph.inserting_before(node):
                    constant = graph.graph.get_attr(f"folded_{node.name}")
                known[constant.name] = value
                node.replace_all_uses_with(constant)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _known(value: Any, known: dict[str, Any]) -> Any:
    return torch.fx.node.map_arg(value, lambda node: known[node.name])


def _plain(value: Any) -> Any:
    """Arguments as JSON: a node becomes {"node": name}."""
    if isinstance(value, torch.fx.Node):
        return {"node": value.name}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in ("device", "pin_memory", "layout")}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
