"""Opening a network: gradients, exponents, fixed points, cycles, bifurcations, relevance, roles of units.

Every analysis takes any cell, works on a float64 copy of it (weights, flags and gradients of the original stay as they
are), and returns a small frozen result that draws itself: `result.plot("figure.png")` or `result.plot(axes)`.
"""
