"""A policy or a cell as a step with its state as input and output: for ONNX, and for a runner of numpy alone."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from agents.double_forms import DOUBLE_FORMS
from agents.policies import RecurrentPolicy
from agents.runs import write_atomically
from agents.spaces import leaves, rebuild
from rnn.cell import Cell

__all__ = ["CellStep", "DoubleStep", "PolicyStep", "Step", "export_numpy", "export_onnx", "step_inputs"]


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
            coded = policy.head.code(choice).to(obs.dtype)
            action = choice + (int(space.start) if isinstance(space, spaces.Discrete) else 0)
        code = [coded] if policy.previous_action else []
        return (action, *leaves(after), *code)


class DoubleStep(nn.Module):
    """A copy of a step in double precision inside: its state is double, its input and output stay single.

    For steps that pile up or amplify rounding (a cell whose activity grows, oscillators of neurons), which two programs
    in single precision do not follow to the same digits.
    """

    def __init__(self, step: CellStep | PolicyStep):
        super().__init__()
        self.step = copy.deepcopy(step).double()
        self.inputs, self.names = step.inputs, step.names

    def fresh(self) -> list[Tensor]:
        """The state of a fresh episode."""
        return self.step.fresh()

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        y, *after = self.step(x.double(), *state)
        return (y.float() if y.is_floating_point() else y, *after)


Step = CellStep | PolicyStep | DoubleStep


def step_inputs(step: Step) -> tuple[Tensor, ...]:
    """Zeros of the shape of an input, and a fresh state, in the precision of the step."""
    like = next(step.parameters(), torch.zeros(()))
    x = like.new_zeros(1, step.inputs)
    return (x.float() if isinstance(step, DoubleStep) else x, *step.fresh())


def export_onnx(step: Step, path: str | os.PathLike[str]) -> Path:
    """Write a step as ONNX, inputs `x, state0 ...`, outputs `y, next_state0 ...`, one row, in the step's precision.

    What does not depend on inputs is computed by torch beforehand: other programs round a table of wavelengths or a
    decay per step in another way, and an oscillator adds that up over hundreds of steps.

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
    double = any(part.dtype == torch.float64 for part in step_inputs(step))
    graph = _folded(step, DOUBLE_FORMS if double else None)
    if double:
        _keep_digits(graph)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter about its own parts
        torch.onnx.export(
            graph,
            step_inputs(step),
            str(file),
            input_names=["x", *step.names],
            output_names=["y", *(f"next_{name}" for name in step.names)],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return file


def export_numpy(step: Step, folder: str | os.PathLike[str]) -> Path:
    """Write a step for `agents.numpy_runner`: the operations of one row in order, and the arrays they use.

    Raises:
        ValueError: an operation that the runner does not know.
    """
    from agents.numpy_runner import OPERATIONS

    graph = _folded(step)
    arrays: dict[str, np.ndarray] = {}
    lines: list[dict[str, Any]] = []
    inputs: list[str] = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            inputs.append(node.name)
        elif node.op == "get_attr":
            arrays[node.name] = getattr(graph, node.target).detach().numpy()
        elif node.op == "call_function":
            name = str(node.target)
            if name not in OPERATIONS:
                raise ValueError(f"the numpy runner does not know {name}; add it to agents.numpy_runner.OPERATIONS")
            lines.append({"out": node.name, "op": name, "args": _plain(node.args), "kwargs": _plain(node.kwargs)})
        elif node.op == "output":
            outputs = _plain(node.args[0])
    for k, part in enumerate(step.fresh()):
        arrays[f"fresh.{k}"] = part.numpy()
    out = Path(folder)
    program = {"inputs": inputs, "outputs": outputs, "states": len(step.names), "lines": lines}
    write_atomically(out / "program.json", (json.dumps(program) + "\n").encode())
    with (out / "arrays.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return out


@torch.no_grad()
def _folded(step: Step, decompositions: Mapping[Any, Callable[..., Tensor]] | None = None) -> fx.GraphModule:
    """The step's operations, with what does not depend on inputs (a constrained weight) computed beforehand."""
    graph = make_fx(step.eval(), decomposition_table=decompositions)(*step_inputs(step))
    known: dict[str, Any] = {}
    for node in list(graph.graph.nodes):
        if node.op == "get_attr":
            known[node.name] = getattr(graph, node.target).detach()
        elif node.op == "call_function" and all(parent.name in known for parent in node.all_input_nodes):
            value = node.target(*_known(node.args, known), **_known(node.kwargs, known))
            known[node.name] = value
            if isinstance(value, Tensor):
                constant = _constant(graph, node, f"folded_{node.name}", value.contiguous())
                known[constant.name] = value
                node.replace_all_uses_with(constant)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _keep_digits(graph: fx.GraphModule) -> None:
    """Numbers in operations become tensors in double precision: torch's exporter writes numbers in single precision."""
    for node in list(graph.graph.nodes):
        packet = getattr(node.target, "overloadpacket", None)
        if packet is None or not hasattr(packet, "Tensor"):
            continue
        for place, value in enumerate(node.args):
            if isinstance(value, float):
                name = f"number_{node.name}_{place}"
                node.update_arg(place, _constant(graph, node, name, torch.tensor(value, dtype=torch.float64)))
                node.target = packet.Tensor
    graph.recompile()


def _constant(graph: fx.GraphModule, before: fx.Node, name: str, value: Tensor) -> fx.Node:
    graph.register_buffer(name, value)
    with graph.graph.inserting_before(before):
        return graph.graph.get_attr(name)


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
