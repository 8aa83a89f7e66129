# SPDX-License-Identifier: Apache-2.0
"""Small plots as SVG: groups of bars, and lines."""

COLOURS = ("#999", "#06c", "#c60", "#090", "#909")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 240, 70, 50, 60


def _scale(most):
    """(end, step) of an axis with some lines."""
    step = 10 ** (len(str(int(max(most, 1)))) - 1)
    while most / step > 6:
        step *= 2
    while most / step < 3:
        step /= 2
    return step * (int(most / step) + 1), step


def _frame(title, names, most):
    end, step = _scale(most)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{TOP + HEIGHT + BOTTOM}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>', f'<text x="{LEFT}" y="20" font-size="14">{title}</text>']
    value = 0
    while value <= end:
        y = TOP + HEIGHT * (1 - value / end)
        out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        value += step
    for i, name in enumerate(names):
        x = LEFT + i * 110
        out.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{COLOURS[i]}"/><text x="{x + 15}" y="39">{name}</text>')
    return out, end


def bars(title, groups, series):
    """series: {name: a value for each group}"""
    out, end = _frame(title, series, max((max(v) for v in series.values()), default=1))
    room = WIDTH / len(groups)
    bar = room * 0.7 / len(series)
    for g, group in enumerate(groups):
        for k, values in enumerate(series.values()):
            high = HEIGHT * values[g] / end
            x = LEFT + g * room + room * 0.15 + k * bar
            out.append(f'<rect x="{x:.1f}" y="{TOP + HEIGHT - high:.1f}" width="{bar - 2:.1f}" height="{high:.1f}" fill="{COLOURS[k]}"/>'
                       f'<text x="{x + bar / 2:.1f}" y="{TOP + HEIGHT - high - 3:.1f}" text-anchor="middle" font-size="10">{values[g]:.0f}</text>')
        out.append(f'<text x="{LEFT + (g + 0.5) * room:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{group}</text>')
    return "\n".join([*out, "</svg>", ""])


def lines(title, below, series):
    """series: {name: [(x, y), ...]}"""
    points = [p for line in series.values() for p in line]
    out, end = _frame(title, series, max(y for _, y in points))
    far = max(x for x, _ in points)
    for x in sorted({x for x, _ in points}):
        out.append(f'<text x="{LEFT + WIDTH * x / far:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{x:g}</text>')
    for k, line in enumerate(series.values()):
        path = " ".join(f"{LEFT + WIDTH * x / far:.1f},{TOP + HEIGHT * (1 - y / end):.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[k]}" stroke-width="2"/>')
    out.append(f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 42}" text-anchor="middle">{below}</text>')
    return "\n".join([*out, "</svg>", ""])
