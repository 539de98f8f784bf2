"""The table as a drawing: a bar a row, how much of its goal it takes."""

import html

WIDTH, LINE, LEFT, BAR = 1000, 22, 470, 360
LIMIT = 1.5  # of the goal; what takes more is cut


def share(row):
    """1 is the goal, less is better."""
    if row.goal is None or row.ratio is None:
        return None
    if row.sense == "at least":
        return row.goal / row.ratio if row.ratio else LIMIT
    if row.goal == 0:
        return 0 if row.ratio == 0 else LIMIT
    return row.ratio / row.goal


def text(x, y, words, **attributes):
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x}" y="{y}"{more}>{html.escape(words)}</text>'


def bar(row, y):
    part = share(row)
    cut = min(part, LIMIT)
    colour = "#4a7" if part <= 1 else "#c54"
    return "\n".join((
        text(LEFT - 8, y + 14, row.what, text_anchor="end"),
        f'<rect x="{LEFT}" y="{y + 3}" width="{BAR * cut / LIMIT:.1f}" height="{LINE - 7}" '
        f'fill="{colour}"/>',
        text(LEFT + BAR + 8, y + 14, row.figure)))


def svg(rows):
    rows = [row for row in rows if share(row) is not None]
    height = LINE * (len(rows) + 3)
    goal = LEFT + BAR / LIMIT
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        text(8, 16, "dsec: how much of each goal is used; shorter is better",
             font_weight="bold"),
        *(bar(row, LINE * (i + 1) + 8) for i, row in enumerate(rows)),
        f'<line x1="{goal:.1f}" x2="{goal:.1f}" y1="{LINE}" y2="{height - LINE}" stroke="#333" '
        'stroke-dasharray="4 3"/>',
        text(f"{goal:.1f}", height - 6, "the goal", text_anchor="middle"),
        "</svg>\n"))
