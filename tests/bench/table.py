"""What was measured, as rows: printed, and drawn."""

import dataclasses


@dataclasses.dataclass
class Row:
    what: str
    figure: str
    against: str
    ratio: float | None = None
    sense: str = ""  # "at most" or "at least"; "": no goal
    goal: float | None = None
    note: str = ""

    def reached(self):
        if self.goal is None or self.ratio is None:
            return None
        return self.ratio <= self.goal if self.sense == "at most" else self.ratio >= self.goal

    def cells(self):
        sign = {"at most": "≤", "at least": "≥"}.get(self.sense, "")
        goal = f"{sign} {self.goal:.3g}" if sign else ""
        return (self.what, self.figure, self.against,
                "" if self.ratio is None else f"{self.ratio:.2f}", goal,
                {None: "", True: "yes", False: "NO"}[self.reached()])


HEAD = ("what", "figure", "against", "ratio", "goal", "reached")


def markdown(rows):
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |"
             for line in cells]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, *([""] if notes else []), *notes])
