"""Opening a network: gradients, exponents, fixed points, cycles, bifurcations, relevance, roles of units.

Every analysis takes any cell, works on a float64 copy of it (weights, flags and gradients of the original stay as they
are), and returns a small frozen result that draws itself: `result.plot("figure.png")` or `result.plot(axes)`.

| question | call |
|---|---|
| how far back do gradients reach? | `gradients.jacobian_products(cell, xs)`, `gradients.lstm_direct_path(cell, xs)` |
| is it chaotic, periodic, at rest? | `lyapunov.lyapunov_exponents(cell, x)` |
| where can it rest, how stably? | `fixed_points.fixed_points(cell, starts, x)` |
| which rhythm, do pushes fade, what shifts its phase? | `limit_cycles.limit_cycle(cell, x)` |
| where do rests and rhythms appear as a number changes? | `bifurcation.continue_branch(family, s, a, b)` |
| over which drives does it oscillate? | `sweep.sweep_input(cell, xs, values)` |
| does it forget how it began? | `sensitivity.follow_push(cell, x)` |
| where is the error surface steep or stiff? | `cliff.error_surface`, `curvature.hessian_spectrum(cell, xs, loss)` |
| which input, when, does an answer rest on? | `relevance.layerwise_relevance`, `integrated_gradients`, `occlusion` |
| which units carry what, in how many dimensions? | `units.unit_roles(activity, quantities)`, `units.dimensionality` |
| are two networks alike? | `similarity.compare_dynamics([a, b])` |
| what do gates, cells and units do over time? | `plots.courses`, `plots.raster`, `plots.portrait` |

`scripts/analyse.py` runs them over one network and writes a report.

>>> import torch
>>> from rnn.analysis.fixed_points import fixed_points
>>> from rnn.models import make_cell
>>> cell = make_cell("elman", 1, 2)
>>> found = fixed_points(cell, torch.zeros(1, 2), torch.tensor([0.5]))
>>> bool((found.q < 1e-20).all())
True
"""
